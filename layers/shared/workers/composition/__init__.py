"""Assembles the workers, one module per function, so that each imports only what it needs."""
