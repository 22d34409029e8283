"""Starts the data API of a stack: `data_api.mjs` in Node, on a free port."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path

from local.control import Control, direct
from local.services.keys import Keys
from local.services.node import Node
from local.services.readiness import announced_port
from local.services.tether import Child, Tether

SCRIPT = Path(__file__).resolve().parent / "data_api.mjs"
START_SECONDS = 60.0


def start(
    tether: Tether,
    node: Node,
    database_url: str,
    keys: Keys,
    *,
    pool: int = 10,
    statement_timeout: str = "8s",
) -> tuple[str, Child]:
    """Start the API over one database and wait until it takes requests.

    Returns its base URL and the process. `pool` is its number of database connections,
    `statement_timeout` that of service_role. Raises TetherError when it does not come up.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "DATABASE_URL": database_url,
        "PORT": "0",
        "JWT_SECRET": keys.jwt_secret,
        "SUPABASE_SECRET_KEY": keys.secret,
        "SUPABASE_PUBLISHABLE_KEY": keys.publishable,
        "POOL": str(pool),
        "STATEMENT_TIMEOUT": statement_timeout,
        "LITE_TELEMETRY": "0",
        "DO_NOT_TRACK": "1",
    }
    child = tether.start("data-api", [node.executable, SCRIPT], env=environment, cwd=SCRIPT.parent)
    port = child.wait_until(lambda: announced_port(child), START_SECONDS)
    return f"http://127.0.0.1:{port}", child


def reload_schema(base_url: str) -> None:
    """Make the API forget what it knows of the tables, after they were made anew."""
    Control(base_url).call("POST", "/reload")


def takes_key(base_url: str, key: str) -> bool:
    """Whether the API at this address is there and is the one that this key is for."""
    request = urllib.request.Request(f"{base_url}/rest/v1/", headers={"apikey": key})
    try:
        with direct.open(request, timeout=10) as answer:
            return "swagger" in json.load(answer)  # the description of the API
    except (OSError, ValueError):
        return False
