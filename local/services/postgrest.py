"""Runs a real PostgREST over the stack's database, behind `postgrest_gateway.mjs`."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from local.services.node import Node
from local.services.readiness import announced_port
from local.services.tether import Child, Tether, TetherError

GATEWAY = Path(__file__).resolve().parent / "postgrest_gateway.mjs"
START_SECONDS = 60.0
PORT_ATTEMPTS = 5


def version(executable: Path) -> str:
    """Its name and version, as in "PostgREST 16.2". Raises TetherError if it does not run."""
    try:
        answer = subprocess.run(
            [executable, "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise TetherError(f"{executable} does not run as PostgREST: {error}") from error
    match = re.search(r"PostgREST [\w.-]+", answer.stdout)
    if match is None:
        raise TetherError(f"{executable} is not PostgREST: it printed {answer.stdout.strip()!r}")
    return match[0]


def start(
    tether: Tether, node: Node, executable: Path, environment: Mapping[str, str]
) -> tuple[str, Child]:
    """Start it and its gateway, and wait until they take requests.

    `environment` is the same as for `data_api.mjs`. Returns the gateway's base URL and process.
    Raises TetherError if they do not start.
    """
    name = version(executable)
    for attempt in range(1, PORT_ATTEMPTS + 1):
        port = _free_port()
        settings = configuration(environment, port)
        server = tether.start(f"postgrest-{attempt}", [executable], env=settings)
        gateway_environment = {**environment, "UPSTREAM": f"http://127.0.0.1:{port}", "NAME": name}
        command = [node.executable, GATEWAY]
        gateway = tether.start(f"postgrest-gateway-{attempt}", command, env=gateway_environment)
        try:
            return f"http://127.0.0.1:{_announced(gateway, server)}", gateway
        except TetherError:
            gateway.stop()
            # Another process may have taken the port before this one bound it.
            if "in use" not in server.output() or attempt == PORT_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def configuration(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """PostgREST's variables, with the values of hosted projects.

    https://docs.postgrest.org/en/stable/references/configuration.html
    """
    uri = environment["DATABASE_URL"]
    timeout = environment.get("STATEMENT_TIMEOUT")
    if timeout is not None:
        # set with the connection, it overrides the role's own
        uri += "?options=" + quote(f"-c statement_timeout={timeout}", safe="")
    return {
        "PATH": environment["PATH"],
        "PGRST_DB_URI": uri,
        "PGRST_DB_SCHEMAS": "public",
        "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_MAX_ROWS": environment["MAX_ROWS"],
        "PGRST_DB_POOL": environment["POOL"],
        "PGRST_JWT_SECRET": environment["JWT_SECRET"],
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(port),
    }


def _announced(gateway: Child, server: Child) -> int:
    """The gateway's port, once both are ready. Raises TetherError if either ends before."""

    def port() -> int | None:
        if (code := server.exit_code()) is not None:
            raise TetherError(f"PostgREST ended with status {code}: {server.output()[-2000:]}")
        return announced_port(gateway)

    return gateway.wait_until(port, START_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
