"""Starts the data API of a stack: PostgREST where somebody has it, else `data_api.mjs` in Node.

PostgREST is looked for on PATH; the variable POSTGREST names another file, or is `none` for the
local one. `docs/data-api.md` says in what they differ.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from local.control import Control, direct
from local.services import postgrest
from local.services.keys import Keys
from local.services.node import Node
from local.services.readiness import announced_port
from local.services.tether import Child, Tether, TetherError

SCRIPT = Path(__file__).resolve().parent / "data_api.mjs"
START_SECONDS = 60.0
# Of hosted projects ("Max rows"), unless somebody changes it.
MAX_ROWS = 1000
ROLE = "authenticator"


def start(
    tether: Tether,
    node: Node,
    database_url: str,
    keys: Keys,
    *,
    pool: int = 10,
    statement_timeout: str | None = None,
    max_rows: int = MAX_ROWS,
    local_only: bool = False,
) -> tuple[str, Child]:
    """Start the API over one database and wait until it takes requests.

    Returns its base URL and the process that serves there. `database_url` is that of a superuser.
    `pool` is the number of database connections, `statement_timeout` that of service_role (as the
    database has it unless given), `max_rows` what no result has more rows than. `local_only` leaves
    PostgREST alone. Raises TetherError when it does not come up.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "ADMIN_URL": database_url,
        "DATABASE_URL": _as_authenticator(database_url),
        "PORT": "0",
        "JWT_SECRET": keys.jwt_secret,
        "SUPABASE_SECRET_KEY": keys.secret,
        "SUPABASE_PUBLISHABLE_KEY": keys.publishable,
        "POOL": str(pool),
        "MAX_ROWS": str(max_rows),
        "LITE_TELEMETRY": "0",
        "DO_NOT_TRACK": "1",
    }
    if statement_timeout is not None:
        environment["STATEMENT_TIMEOUT"] = statement_timeout
    executable = None if local_only else chosen()
    if executable is not None:
        return postgrest.start(tether, node, executable, environment)
    child = tether.start("data-api", [node.executable, SCRIPT], env=environment, cwd=SCRIPT.parent)
    port = child.wait_until(lambda: announced_port(child), START_SECONDS)
    return f"http://127.0.0.1:{port}", child


def chosen(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The PostgREST that `start` takes, or None for the local one.

    Raises TetherError when POSTGREST names no program.
    """
    named = environment.get("POSTGREST", "")
    if named == "none":
        return None
    found = shutil.which(named or "postgrest", path=environment.get("PATH", os.defpath))
    if found is None and named:
        raise TetherError(f"POSTGREST is {named!r}, and that is not a program that can be run")
    return Path(found).resolve() if found else None


def description() -> str:
    """What `start` takes, as in "Data API: PostgREST 16.2" or "Data API: local"."""
    executable = chosen()
    return f"Data API: {postgrest.version(executable) if executable else 'local'}"


def reload_schema(base_url: str) -> None:
    """Make the API forget what it knows of the tables, after they were made anew."""
    Control(base_url).call("POST", "/reload")


def takes_key(base_url: str, key: str) -> bool:
    """Whether the API at this address is there and is the one that this key is for."""
    request = urllib.request.Request(f"{base_url}/rest/v1/", headers={"apikey": key})
    try:
        with direct.open(request, timeout=START_SECONDS) as answer:  # it may still have to load
            return "swagger" in json.load(answer)  # the description of the API
    except (OSError, ValueError):
        return False


def _as_authenticator(database_url: str) -> str:
    """The same database for the role that the API has its sessions as, which is let in with it.

    Its password follows from the superuser's: every API over one server comes to the same.
    """
    parts = urlsplit(database_url)
    secret = (parts.password or "").encode()
    password = hmac.new(secret, ROLE.encode(), hashlib.sha256).hexdigest()
    statement = sql.SQL("alter role {} password {}")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(ROLE), sql.Literal(password)))
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{ROLE}:{password}@{place}").geturl()
