"""One request to a running stack's data API, as its clients send it."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from local.stack import Running

# Seconds to wait for an answer on a busy machine; the first request for a table loads much.
PATIENCE = 300.0


def local_client(**options: Any) -> httpx.Client:
    """A client for servers on this machine. It trusts no certificates, because reading the usual
    ones takes longer than a test's request."""
    trusting_none = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.Client(verify=trusting_none, trust_env=False, timeout=PATIENCE, **options)


def ask(
    running: Running, path: str, key: str, bearer: str | None = None, body: Any = None
) -> httpx.Response:
    """One request as supabase-py sends it: the key in both headers, unless a user signed in."""
    headers = {"apikey": key, "Authorization": f"Bearer {bearer or key}"}
    with local_client(headers=headers) as client:
        url = f"{running.api_url}/rest/v1/{path}"
        return client.get(url) if body is None else client.post(url, json=body)
