"""Starts the data API of a stack: PostgREST if it is installed, else `data_api.mjs` in Node.

PostgREST is searched for on PATH; the variable POSTGREST names another file, or is `none` for the
local one. `docs/data-api.md` lists their differences.
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
# The default of hosted projects ("Max rows").
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
    """Start the API over one database and wait until it accepts requests.

    Returns its base URL and its process. `database_url` is a superuser's. `pool` is the number of
    database connections, `statement_timeout` that of service_role (by default the database's),
    `max_rows` the most rows of a result. `local_only` never uses PostgREST. Raises TetherError if
    it does not start.
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
    """The PostgREST that `start` uses, or None for the local one.

    Raises TetherError if POSTGREST does not name a program.
    """
    named = environment.get("POSTGREST", "")
    if named == "none":
        return None
    found = shutil.which(named or "postgrest", path=environment.get("PATH", os.defpath))
    if found is None and named:
        raise TetherError(f"POSTGREST is {named!r}, which is not an executable program")
    return Path(found).resolve() if found else None


def description() -> str:
    """What `start` uses, as in "Data API: PostgREST 16.2" or "Data API: local"."""
    executable = chosen()
    return f"Data API: {postgrest.version(executable) if executable else 'local'}"


def reload_schema(base_url: str) -> None:
    """Make the API re-read the schema, after the tables were recreated."""
    Control(base_url).call("POST", "/reload")


def accepts_key(base_url: str, key: str) -> bool:
    """Whether an API at this address accepts this key."""
    request = urllib.request.Request(f"{base_url}/rest/v1/", headers={"apikey": key})
    try:
        with direct.open(request, timeout=START_SECONDS) as answer:  # it may still be loading
            return "swagger" in json.load(answer)  # the API's description
    except (OSError, ValueError):
        return False


def _as_authenticator(database_url: str) -> str:
    """The same database as the role that the API connects as, which gets a password for that.

    The password is derived from the superuser's, so all APIs over one server use the same.
    """
    parts = urlsplit(database_url)
    secret = (parts.password or "").encode()
    password = hmac.new(secret, ROLE.encode(), hashlib.sha256).hexdigest()
    statement = sql.SQL("alter role {} password {}")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(ROLE), sql.Literal(password)))
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{ROLE}:{password}@{place}").geturl()
