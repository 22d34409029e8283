"""The local stack: a real Postgres, a PostgREST-compatible API and fakes for outside services.

Everything here is for a developer's machine and for tests; nothing of it is deployed.
"""
