"""One request to a running stack's data API, as its clients send it."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from local.stack import Running

# In seconds, of one answer, however busy the machine is: on its first table the API loads much.
PATIENCE = 300.0


def local_client(**options: Any) -> httpx.Client:
    """For a server on this machine. It trusts nobody: to read the usual certificates takes longer
    than what a test asks."""
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.Client(verify=nobody, trust_env=False, timeout=PATIENCE, **options)


def ask(
    running: Running, path: str, key: str, bearer: str | None = None, body: Any = None
) -> httpx.Response:
    """One request as supabase-py sends it: the key in both headers, unless a user signed in."""
    headers = {"apikey": key, "Authorization": f"Bearer {bearer or key}"}
    with local_client(headers=headers) as client:
        url = f"{running.api_url}/rest/v1/{path}"
        return client.get(url) if body is None else client.post(url, json=body)
