"""Fakes of the outside services: real HTTP servers with scripted failures."""
