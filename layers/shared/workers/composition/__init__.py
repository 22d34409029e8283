"""Puts the workers together, one module per function, so that each imports what it needs."""
