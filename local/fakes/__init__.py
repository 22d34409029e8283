"""Fakes of the outside services: real HTTP servers with scripted failures."""

# Those of a stack, in the order in which their one process names its ports.
FAKES = ("slack", "meta", "google_ads", "tiktok", "linkedin")
