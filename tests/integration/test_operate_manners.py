"""The command's manners: Ctrl-C, closed pipes, odd texts from the database, narrow terminals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import LocalStack
from tests.integration.test_operate import run
from workers.operate.__main__ import INTERRUPTED, PIPE_CLOSED
from workers.operate.output import width_of
from workers.retention.run import Retention

__all__ = ["run"]

Run = Callable[..., tuple[int, str]]

ODD = "a\x1b[31mred\x9b2J\u202eevil\u200b\r\nnext\x07\x7f 漢字 é"


def odd_rows(stack: LocalStack) -> None:
    """Texts of the database that a terminal would take for commands."""
    stack.connection.execute(
        "update platform_connections set account_name = %s;", (ODD.replace("\x00", ""),)
    )
    stack.connection.execute(
        "insert into metric_sync_logs (platform_connection_id, status, start_time, error_message) "
        "select id, 'failed', now(), %s from platform_connections limit 1",
        (ODD * 20,),
    )
    stack.connection.execute("update notification_queue set last_error = %s", (ODD,))
    stack.connection.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, error_class, "
        "error) values ('notifications', now(), now(), 'failed', false, %s, %s)",
        (ODD, ODD),
    )


LISTS = (
    ("connections", "list"), ("syncs", "list"), ("queue", "list"), ("status",), ("doctor",),
    ("dead", "list"),
)  # fmt: skip


@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_no_control_character_of_the_database_reaches_the_terminal(
    run: Run, stack: LocalStack, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...],
    form: tuple[str, ...],
) -> None:  # fmt: skip
    odd_rows(stack)
    _, text = run(*arguments, *form)
    for said in (text, capsys.readouterr().err):
        for character in "\x1b\x9b\u202e\u200b\r\x07\x7f":
            assert character not in said
    if form:
        json.loads(text)


@pytest.mark.parametrize("arguments", LISTS[:4], ids=" ".join)
def test_eighty_columns_suffice(run: Run, stack: LocalStack, arguments: tuple[str, ...]) -> None:
    odd_rows(stack)
    _, text = run(*arguments)
    assert text
    assert max(map(width_of, text.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [
        ("connections", "release", "00000000-0000-4000-8000-000000000000", "--all"),
        ("connections", "add", "meta", "1", "--every", "0"),
        ("connections", "add", "meta", "1", "--every", "-5"),
        ("retention", "--dry-run", "--yes"),
        ("queue", "list", "--limit", "0"),
        ("syncs", "list", "--limit", "99999999999999999999"),
        ("syncs", "list", "--status", "done"),
    ],
    ids=" ".join,
)
def test_contradictory_or_impossible_arguments_are_refused(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_list_says_that_there_is_more(
    run: Run, stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text = run("queue", "list", "--limit", "3", "--json")
    assert len(json.loads(text)) == 3
    assert "There are more than these 3: use --limit" in capsys.readouterr().err
    _, text = run("queue", "list", "--limit", "500", "--json")
    assert len(json.loads(text)) > 3
    assert "more than these" not in capsys.readouterr().err


def test_ctrl_c_ends_in_one_line_and_releases_the_lease(
    run: Run, stack: LocalStack, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    loop = Retention._loop

    def interrupted(self: Retention, *arguments: object) -> int:
        held = stack.connection.execute(
            "select expires_at > now() from worker_leases where name = 'retention'"
        ).fetchone()
        assert held == (True,)
        raise KeyboardInterrupt

    monkeypatch.setattr(Retention, "_loop", interrupted)
    assert run("retention", "--yes")[0] == INTERRUPTED
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("Interrupted.")
    assert "Traceback" not in said
    held = stack.connection.execute(
        "select expires_at > now() from worker_leases where name = 'retention'"
    ).fetchone()
    assert held == (False,)
    monkeypatch.setattr(Retention, "_loop", loop)
    assert run("retention", "--yes")[0] == 0


def test_ctrl_c_in_a_backfill_frees_the_account(
    run: Run, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = stack.connection.execute(
        "select id from platform_connections where platform = 'meta'"
    ).fetchone()
    assert row is not None
    arguments = ("backfill", str(row[0]), "--since", "2026-01-01", "--until", "2026-01-10")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("workers.metrics.sync.Reader.account", interrupted)
        assert run(*arguments)[0] == INTERRUPTED
    status, text = run(*arguments)
    assert (status, text.split(":")[0]) == (0, "success")


def test_a_closed_pipe_ends_it_silently(stack: LocalStack, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workers.operate", "queue", "list", "--json"]
    environment = {
        **stack.environment(),
        "PYTHONPATH": str(Path(__file__).parents[2] / "layers" / "shared"),
    }
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert process.wait() in (PIPE_CLOSED, -signal.SIGPIPE)
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_an_unknown_error_is_a_sentence(
    run: Run, stack: LocalStack, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def broken(*_: object, **__: object) -> None:
        raise KeyError(f"no {stack.running.keys.secret}")

    monkeypatch.setattr("workers.database.Database.call", broken)
    assert run("connections", "list") == (1, "")
    said = capsys.readouterr().err
    assert "A bug in this program, KeyError" in said
    assert stack.running.keys.secret not in said


def test_retention_by_command_is_a_run_like_any_other(run: Run, stack: LocalStack) -> None:
    assert run("retention", "--yes")[0] == 0
    row = stack.connection.execute("select worker, outcome, succeeded from worker_runs").fetchall()
    assert row == [("retention", "complete", True)]
    assert run("retention", "--dry-run")[0] == 0
    row = stack.connection.execute(
        "select outcome, succeeded from worker_runs order by ended_at desc limit 1"
    ).fetchall()
    assert row == [("dry_run", False)]


def test_status_shows_who_is_healthy_and_what_waits(run: Run, stack: LocalStack) -> None:
    status, text = run("status")
    assert status == 1, "no worker has run yet"
    assert "no successful run yet" in text or "unhealthy" in text
    stack.connection.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded) "
        "select name, now(), now(), 'done', true "
        "from unnest(array['notifications', 'metrics_sync', 'retention']) name"
    )
    status, text = run("status", "--json")
    found = json.loads(text)
    assert (status, found["status"], len(found["runs"])) == (0, "healthy", 3)
    assert run("status")[0] == 0


def test_the_latest_syncs_are_listed(run: Run, stack: LocalStack) -> None:
    assert run("syncs", "list") == (0, "No ad account has been synced yet.\n")
    stack.connection.execute(
        "insert into metric_sync_logs (platform_connection_id, status, start_time, end_time) "
        "select id, case platform when 'meta' then 'failed' else 'success' end, "
        "now() - interval '1 minute', now() from platform_connections"
    )
    _, text = run("syncs", "list", "--json")
    assert len(json.loads(text)) == 4
    _, text = run("syncs", "list", "--status", "failed", "--json")
    assert [one["platform"] for one in json.loads(text)] == ["meta"]
