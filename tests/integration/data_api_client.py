"""One request to a running stack's data API, as its clients send it."""

from __future__ import annotations

from typing import Any

import httpx

from local.stack import Running


def ask(
    running: Running, path: str, key: str, bearer: str | None = None, body: Any = None
) -> httpx.Response:
    """One request as supabase-py sends it: the key in both headers, unless a user signed in."""
    headers = {"apikey": key, "Authorization": f"Bearer {bearer or key}"}
    with httpx.Client(trust_env=False, timeout=30, headers=headers) as client:
        url = f"{running.api_url}/rest/v1/{path}"
        return client.get(url) if body is None else client.post(url, json=body)
