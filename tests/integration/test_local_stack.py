"""The local stack's processes: how they start and fail, and that none outlives its parent."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from local.services import data_api, postgres
from local.services.tether import Tether, TetherError
from local.stack import Stack
from tests.integration.processes import (
    PATIENCE,
    children_of,
    communicate,
    eventually,
    is_running,
    leftovers,
    python,
)

HELD_STACK = """
import signal
from local.stack import Stack
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts without it
with Stack(progress=lambda what, seconds: print(what, flush=True)) as running:
    print(running.tether_pid, flush=True)
    signal.pause()
"""


def read_until_started(process: subprocess.Popen[str]) -> int:
    """The supervisor's pid, which comes after the lines of progress."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().isdigit():
            return int(line)
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_process_that_started_it(
    scratch: Path, number: signal.Signals
) -> None:
    with python(scratch, "-c", HELD_STACK) as process:
        supervisor = read_until_started(process)
        family = {supervisor, *children_of(supervisor)}
        assert len(family) >= 4  # the supervisor, Postgres, the data API, the fakes
        assert leftovers(scratch)
        process.send_signal(number)
        process.communicate()
    eventually(lambda: not any(map(is_running, family)), "processes are left")
    eventually(lambda: not leftovers(scratch), "a directory is left")


def test_nothing_outlives_a_process_killed_while_starting(scratch: Path) -> None:
    with python(scratch, "-c", HELD_STACK) as process:
        assert process.stdout is not None
        assert "Postgres 17" in process.stdout.readline()
        (supervisor,) = children_of(process.pid)
        family = {supervisor, *children_of(supervisor)}
        process.kill()
        process.communicate()
    eventually(lambda: not any(map(is_running, family)), "processes are left")
    eventually(lambda: not leftovers(scratch), "a directory is left")


def test_a_failed_start_is_explained_and_leaves_nothing(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("POSTGREST", "none")  # with a PostgREST the script is not started
    monkeypatch.setattr(data_api, "SCRIPT", data_api.SCRIPT.with_name("missing.mjs"))
    with pytest.raises(TetherError, match=r"(?s)data-api ended .*missing\.mjs"), Stack():
        pass
    assert leftovers(scratch) == []


BROKEN_MIGRATION = """
import sys
from pathlib import Path
from local.services import postgres
from local.__main__ import main
postgres.MIGRATIONS = Path(sys.argv[1])
sys.exit(main(["up"]))
"""


def test_a_broken_migration_is_named_and_leaves_nothing(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "1_fine.sql").write_text("create table fine (id int);")
    (tmp_path / "2_broken.sql").write_text("create tabel broken (id int);")
    with python(scratch, "-c", BROKEN_MIGRATION, str(tmp_path)) as process:
        out, err = communicate(process)
    assert (process.returncode, out) == (1, "")
    assert 'syntax error at or near "tabel"' in err
    assert "2_broken.sql" in err
    assert "Traceback" not in err
    assert list(scratch.iterdir()) == []


def test_a_temporary_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TetherError, match="ended unexpectedly"):
        Tether(tmp_path / "missing")


def test_an_end_within_is_an_end_of_all(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    family: set[int] = set()

    def fail_within() -> None:
        with Stack(seed=False) as running:
            family.update({running.tether_pid}, children_of(running.tether_pid))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_within()
    assert len(family) >= 4
    assert not any(map(is_running, family))
    assert leftovers(scratch) == []


def test_a_child_that_ignores_its_signal_is_killed() -> None:
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True);"
        " signal.pause()"
    )
    with Tether() as tether:
        child = tether.start("stubborn", [sys.executable, "-c", stubborn], env={})
        child.wait_until(lambda: "on" in child.output() or None, PATIENCE)
        assert child.stop() == -signal.SIGKILL
        with pytest.raises(TetherError, match="No such file"):
            tether.start("missing", ["/no/such/program"], env={})
        failing = tether.start("failing", [sys.executable, "-c", "raise SystemExit('oh')"], env={})
        with pytest.raises(TetherError, match="status 1: oh"):
            failing.wait_until(lambda: None, PATIENCE)


def test_a_port_that_was_taken_in_the_meantime(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, Tether() as tether:
        taken = other.getsockname()[1]
        ports = iter([taken, taken, postgres._free_port()])
        monkeypatch.setattr(postgres, "_free_port", lambda: next(ports))
        server = postgres.start(tether)
        assert server.port != taken
        assert server.create_database("one")
