"""An action that is running can be stopped once, and one that needs what is in use is refused."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from server.console.acting import (
    BusyError,
    CarryOut,
    Confirmation,
    InThread,
    Run,
    Scope,
    StoppedError,
)
from server.console.actions import ACTIONS
from server.console.answers.actions import Acceptance
from server.console.long_actions import READ_PAST, RESTORE, RETENTION
from server.console.project import Project
from tests.integration.archive_bucket import DAY, NEXT_DAY
from tests.integration.processes import LONG
from tests.integration.test_archive import bucket  # noqa: F401 - a fixture
from tests.integration.test_restore import table
from tests.server.console.conftest import Console
from tests.server.console.test_actions import (
    _settings,  # noqa: F401 - a fixture
    asked,
    ended_as,
    send,
    sql,
)
from tests.server.console.test_retention import restorable  # noqa: F401 - a fixture
from workers.clock import SystemClock, utc_now


def begin(console: Console, carry_out: CarryOut) -> str:
    """The key of an action that runs."""
    key = str(uuid4())
    act = Confirmation(key, "same", key, {}, "Ada", "s")
    work = InThread(lambda *_: Scope("same", {}), carry_out)
    assert work.act(console.project, "examine", act) is Acceptance.BEGUN
    return key


def until_stopped(project: Project, arguments: Any, run: Run) -> dict[str, int]:
    """An action that ends once it is stopped."""
    run.report({"subjects": 2})
    run.clock.sleep(LONG)
    raise StoppedError("Check again for the rest.")


def stops(console: Console) -> list[Any]:
    """The records of stops: the action, who, outcome, numbers and error."""
    return sql(
        console,
        "select subject, who, outcome, touched, error from console_actions where action = 'stop'",
    )


def test_a_running_action_is_stopped_as_confirmed(console: Console) -> None:
    key = begin(console, until_stopped)
    link = f"/actions/confirm/stop?action_id={key}"
    assert link in console.page(f"/actions/{key}")
    first, second = (asked(console, "stop", action_id=key) for _ in range(2))
    assert sql(console, "select outcome from console_actions") == [(None,)], "asking does nothing"
    answer = send(console, "stop", first)
    assert answer.headers["location"] == f"/actions/{first['key']}"
    assert ended_as(console, key) == ["stopped", {"subjects": 2}, "Check again for the rest."]
    assert stops(console) == [(key, "Ada", "done", {"actions_stopped": 1}, None)]
    page = console.page(f"/actions/{key}")
    assert 'data-outcome="stopped"' in page
    assert link not in page
    assert ">stopped</span>" in console.page("/actions")
    # sent again, and from another page
    assert send(console, "stop", first).headers["location"].endswith("?again")
    answer = send(console, "stop", second)
    assert (answer.status_code, "It has ended." in answer.text) == (409, True)
    assert 'data-refused="stale"' in answer.text
    assert len(stops(console)) == 1


def test_an_action_that_is_being_stopped_is_not_stopped_again(console: Console) -> None:
    may_end = threading.Event()

    def slow_to_stop(project: Project, arguments: Any, run: Run) -> dict[str, int]:
        run.clock.sleep(LONG)
        may_end.wait(LONG)
        return {"subjects": 3}

    key = begin(console, slow_to_stop)
    forms = [asked(console, "stop", action_id=key) for _ in range(2)]
    assert send(console, "stop", forms[0]).status_code == 303
    page = console.page(f"/actions/{key}")
    assert ("It stops once" in page, "confirm/stop" in page) == (True, False)
    answer = send(console, "stop", forms[1])
    assert (answer.status_code, "Someone has stopped it" in answer.text) == (409, True)
    may_end.set()
    # it had only one step left
    assert ended_as(console, key) == ["done", {"subjects": 3}, None]
    assert stops(console) == [(key, "Ada", "done", {"actions_stopped": 1}, None)]


def test_an_action_that_ended_before_it_was_stopped_stays_as_it_ended(console: Console) -> None:
    may_end = threading.Event()

    def carry_out(project: Project, arguments: Any, run: Run) -> dict[str, int]:
        may_end.wait(LONG)
        return {"subjects": 3}

    class _EndsMeanwhile(Project):
        """The action ends once the stop has begun."""

        def answer(self, function: str, **arguments: Any) -> Any:
            found = super().answer(function, **arguments)
            if function == "begin_console_action":
                may_end.set()
                ended_as(console, key)
            return found

    key = begin(console, carry_out)
    project = _EndsMeanwhile(console.project._settings, console.project._database)
    project.running = console.project.running
    stop = Confirmation(str(uuid4()), "running", key, {"action_id": key}, "Bob", "s")
    assert ACTIONS["stop"].work.act(project, "stop", stop) is Acceptance.DONE
    assert ended_as(console, key)[0] == "done"
    why = "It ended by itself just before."
    assert stops(console) == [(key, "Bob", "failed", {"actions_stopped": 0}, why)]


def test_what_this_console_does_not_carry_out_is_not_stopped(console: Console) -> None:
    key = begin(console, until_stopped)
    form = asked(console, "stop", action_id=key)
    project = Project(console.project._settings, console.project._database)
    stop = Confirmation(form["key"], "running", key, {"action_id": key}, "Bob", "s")
    assert ACTIONS["stop"].work.act(project, "stop", stop) is Acceptance.STALE
    assert "Another console" in " ".join(
        ACTIONS["stop"].work.scope(project, "stop", {"action_id": key}).remarks
    )
    assert "There is no such action" in console.page(f"/actions/confirm/stop?action_id={uuid4()}")
    assert console.client.get("/actions/confirm/stop?action_id=x").status_code == 400
    assert send(console, "stop", form).status_code == 303
    assert ended_as(console, key)[0] == "stopped"


def stop_at_first_report() -> tuple[Run, list[Mapping[str, int]]]:
    """A run that is stopped once it reports, and what it reports."""
    clock, reports = SystemClock(), []

    def report(numbers: Mapping[str, int]) -> None:
        reports.append(numbers)
        clock.stop()

    return Run(report, clock), reports


def test_a_backfill_that_is_stopped_releases_the_account_and_continues(synced: Console) -> None:
    ((connection,),) = sql(
        synced, "select id::text from platform_connections where platform = 'tiktok'"
    )
    days = {"connection_id": connection, "since": "2025-06-01", "until": "2025-12-31"}
    run, reports = stop_at_first_report()
    with pytest.raises(StoppedError):
        READ_PAST.carry_out(synced.project, days, run)
    read = reports[-1]["days_read"]
    assert 0 < read < 214
    query = (
        "select count(*) from metric_days where platform = 'tiktok' "
        "and date between '2025-06-01' and '2025-12-31'"
    )
    assert sql(synced, query) == [(read,)], "what was read stays"
    held = "select count(*) from metric_accounts where leased_until > now()"
    assert sql(synced, held) == [(0,)]
    numbers = READ_PAST.carry_out(synced.project, days, Run(lambda _: None, SystemClock()))
    assert (numbers["days_read"], sql(synced, query)) == (214, [(214,)])


def test_retention_that_is_stopped_releases_its_lease_and_continues(console: Console) -> None:
    now = {"as_of": utc_now().isoformat()}
    run, reports = stop_at_first_report()
    with pytest.raises(StoppedError):
        RETENTION.carry_out(console.project, now, run)
    assert reports[-1]["rows_archived"] > 0
    held = "select count(*) from worker_leases where name = 'retention' and expires_at > now()"
    assert sql(console, held) == [(0,)]
    RETENTION.carry_out(console.project, now, Run(lambda _: None, SystemClock()))


def test_a_restore_that_is_stopped_keeps_what_it_restored(
    restorable: tuple[Console, list[str]],  # noqa: F811 - the fixture
) -> None:
    console, rows = restorable
    days = {"since": f"{DAY}", "until": f"{NEXT_DAY}"}
    run, reports = stop_at_first_report()
    with pytest.raises(StoppedError):
        RESTORE.carry_out(console.project, days, run)
    assert len(table(console.stack)) == reports[-1]["rows_restored"] > 0
    RESTORE.carry_out(console.project, days, Run(lambda _: None, SystemClock()))
    assert table(console.stack) == rows


@pytest.mark.usefixtures("_settings")
def test_a_doctor_that_is_stopped_says_so(console: Console) -> None:
    clock = SystemClock()
    clock.stop()
    run = Run(lambda _: None, clock)
    for arguments in ({}, {"channel": "C0CREATIVE0"}):
        with pytest.raises(StoppedError):
            ACTIONS["examine"].work.carry_out(console.project, arguments, run)  # type: ignore[attr-defined]
        assert "Someone stopped the doctor" in console.page("/doctor")


# --- refused, since what it needs is in use ---


@pytest.mark.parametrize(("name", "more"), [("examine", {}), ("test_post", {"channel": "C0X"})])
def test_the_doctor_is_refused_while_it_runs(
    console: Console, monkeypatch: pytest.MonkeyPatch, name: str, more: dict[str, str]
) -> None:
    examination = console.project.examination
    form = asked(console, name, **more)
    assert examination._claim()
    answer = send(console, name, form)
    assert (answer.status_code, 'data-refused="busy"' in answer.text) == (409, True)
    assert sql(console, "select 1 from console_actions") == []
    # it begins between the question and the action
    with monkeypatch.context() as patched:
        patched.setattr(type(examination), "is_running", False)
        assert send(console, name, form).status_code == 303
        assert send(console, name, form).headers["location"].endswith("?again")
    outcome, touched, error = ended_as(console, form["key"])
    assert (outcome, touched) == ("busy", {})
    assert "already running" in error
    assert ">refused: busy</span>" in console.page(f"/actions/{form['key']}")
    assert send(console, name, form).headers["location"].endswith("?again"), "while it is busy"


def test_what_a_worker_does_right_now_is_refused_as_busy(synced: Console) -> None:
    run = Run(lambda _: None, SystemClock())
    sql(
        synced,
        "insert into worker_leases (name, holder, renewed_at, expires_at) values "
        "('retention', gen_random_uuid(), now(), now() + interval '1 minute') "
        "on conflict (name) do update set holder = excluded.holder, "
        "expires_at = excluded.expires_at returning 1",
    )
    with pytest.raises(BusyError):
        RETENTION.carry_out(synced.project, {"as_of": utc_now().isoformat()}, run)
    ((connection,),) = sql(
        synced,
        "update metric_accounts account set leased_until = now() + interval '1 minute' "
        "from platform_connections connection where connection.platform = 'tiktok' "
        "and account.platform = connection.platform returning connection.id::text",
    )
    days = {"connection_id": connection, "since": "2026-01-01", "until": "2026-01-02"}
    with pytest.raises(BusyError):
        READ_PAST.carry_out(synced.project, days, run)
