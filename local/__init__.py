"""The local stack: a real Postgres, a PostgREST-compatible API and fakes for outside services.

All of this is for development and tests; none of it is deployed.
"""
