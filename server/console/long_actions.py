"""Actions that take longer than a call: what they would affect, and how they are carried out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from server.console.acting import (
    Arguments,
    BusyError,
    InThread,
    NotDoneError,
    Run,
    Scope,
    StoppedError,
)
from server.console.answers.accounts import read_connections
from server.console.answers.retention import read_retention
from server.console.project import Project
from workers.doctor.checks import TEST_MESSAGE
from workers.metrics.windows import Window
from workers.retention.report import PolicyReport, RetentionReport

if TYPE_CHECKING:
    from workers.composition.restore import Restored

_DAY: Final = timedelta(days=1)
LEVELS: Final = ("failed", "warning", "ok")


def _fingerprint(state: object) -> str:
    return hashlib.sha256(json.dumps(state, default=str).encode()).hexdigest()[:32]


# --- the doctor ---


def _checks(project: Project, arguments: Arguments) -> Scope:
    """What the doctor checks; it changes no row."""
    connections = read_connections(project.answers("list_connections"))
    accounts = sum(one.is_active for one in connections)
    numbers = {"accounts_asked": accounts, "rows_changed": 0}
    if "channel" in arguments:
        numbers["messages_posted"] = 1
    return Scope("always", numbers)


def _examine(project: Project, arguments: Arguments, run: Run) -> Mapping[str, int]:
    found = project.examination.run(arguments.get("channel"), lambda: run.clock.is_stopped)
    if found is None:  # it began just now
        raise BusyError("The doctor is already running: its page shows it.")
    levels = [one.level for section in found.sections for one in section.findings]
    numbers = {
        "subjects": len(found.sections),
        **{f"found_{one}": levels.count(one) for one in LEVELS},
    }
    if "channel" not in arguments:
        _heed_stop(run, numbers)
        return numbers
    of_message = [
        one for section in found.sections if section.title == TEST_MESSAGE
        for one in section.findings
    ]  # fmt: skip
    problems = [one.text for one in of_message if one.level != "ok"]
    # the first finding is whether it was posted
    numbers["messages_posted"] = sum(one.level == "ok" for one in of_message[:1])
    _heed_stop(run, numbers)
    run.report(numbers)
    if problems or not of_message:
        raise NotDoneError("; ".join(problems) or "The doctor did not get to the test message.")
    return numbers


def _heed_stop(run: Run, numbers: Mapping[str, int]) -> None:
    if run.clock.is_stopped:
        run.report(numbers)
        raise StoppedError("Check again for the rest.")


EXAMINE: Final = InThread(_checks, _examine, is_busy=lambda project: project.examination.is_running)


# --- retention ---


def _due(project: Project, arguments: Arguments) -> Scope:
    """What was due when the page was opened. Two with the same fingerprint are of the same
    policies, after the same run, and of as many rows."""
    report = project.due_for_retention(_as_of(arguments))
    policies = [
        [row.json(name) for name in ("id", "active_days", "archive_days", "last_purged_at")]
        for row in read_retention(project.answer("console_retention")).rows
    ]
    bucket = project.settings.archive_bucket_name
    copies = (
        "ARCHIVE_BUCKET_NAME is not set here: no copy of deleted activity is kept."
        if bucket is None
        else f"A copy of deleted activity is kept in {bucket}."
    )
    numbers = _taken(report.policies)
    remarks = [
        f"{one.entity_type}: {one.archived:,} to archive, {one.purged:,} to delete"
        + "".join(f"; {text}" for text in (one.error, one.remark) if text)
        for one in report.policies
    ]
    return Scope(
        _fingerprint([policies, remarks]),
        numbers,
        (*remarks, copies),
        is_empty=not any(numbers.values()),
    )


def _as_of(arguments: Arguments) -> datetime:
    return datetime.fromisoformat(arguments["as_of"])


def _to_count(project: Project, arguments: Arguments) -> Scope:
    return Scope("always", {"rows_changed": 0})


def _carry_out(project: Project, arguments: Arguments, run: Run) -> Mapping[str, int]:
    so_far: dict[str, PolicyReport] = {}

    def progress(policy: PolicyReport) -> None:
        so_far[policy.entity_type] = policy
        run.report(_taken(so_far.values()))

    done = project.run_retention(progress, _as_of(arguments), run.clock)
    if done.outcome == "busy":
        raise BusyError("Another run is in progress: try again in a minute.")
    numbers = _taken(done.policies)
    if done.outcome != "complete":
        run.report(numbers)
        if done.outcome == "unfinished" and run.clock.is_stopped:
            raise StoppedError("The next run continues.")
        raise NotDoneError(f"It ended as {done.outcome}: {_errors(done)}")
    return numbers


def _count(project: Project, arguments: Arguments, run: Run) -> Mapping[str, int]:
    taken = _taken(project.dry_run_retention().policies)
    return {
        "rows_counted_to_archive": taken["rows_archived"],
        "rows_counted_to_purge": taken["rows_purged"],
    }


def _taken(reports: Iterable[PolicyReport]) -> dict[str, int]:
    found = list(reports)
    return {
        "rows_archived": sum(one.archived for one in found),
        "rows_purged": sum(one.purged for one in found),
    }


def _errors(report: RetentionReport) -> str:
    errors = [f"{one.entity_type}: {one.error}" for one in report.policies if one.error]
    return "; ".join(errors) or "the next run continues"


RETENTION: Final = InThread(_due, _carry_out)
RETENTION_DRY_RUN: Final = InThread(_to_count, _count)


# --- an account's past ---


def _window(arguments: Arguments) -> Window:
    return Window(date.fromisoformat(arguments["since"]), date.fromisoformat(arguments["until"]))


def _to_read(project: Project, arguments: Arguments) -> Scope:
    connections = read_connections(project.answers("list_connections"))
    known = any(one.id == arguments["connection_id"] for one in connections)
    days = _window(arguments).width if known else 0
    return Scope("always", {"days_to_read": days}, is_empty=not days)


def _read(project: Project, arguments: Arguments, run: Run) -> Mapping[str, int]:
    asked = _window(arguments)
    read = 0

    def progress(window: Window, days_left: int) -> None:
        nonlocal read
        read = asked.width - days_left
        run.report({"days_read": read})

    ended = project.read_past(arguments["connection_id"], asked, progress, run.clock)
    if ended is None:
        raise BusyError(
            "The account is being synced right now, or its sync was killed within the last five "
            "minutes: try again then."
        )
    counts = ended.counts
    not_kept = (ended.not_kept_until or asked.since - _DAY) - asked.since + _DAY
    numbers = {
        "days_read": read,
        "days_not_kept": not_kept.days,
        "rows_read": counts["rows"],
        "figures_created": counts["figures_created"],
        "figures_updated": counts["figures_updated"],
    }
    if ended.status != "success":
        run.report(numbers)
        if ended.is_out_of_time and run.clock.is_stopped:
            raise StoppedError("The same days, read again, continue where it stopped.")
        code = f" ({ended.code})" if ended.code else ""
        raise NotDoneError(
            f"The sync ended as {ended.status}{code}; the account's page says why. The same days, "
            "read again, continue where it stopped."
        )
    return numbers


READ_PAST: Final = InThread(_to_read, _read)


# --- the cold archive ---


def _stored(project: Project, arguments: Arguments) -> Scope:
    view, days = project.archive, _window(arguments)
    found = [] if view is None else view.days(days.since, days.until)
    numbers = {
        "objects": sum(one.objects for one in found), "bytes": sum(one.size for one in found),
    }  # fmt: skip
    return Scope(_fingerprint(numbers), numbers, is_empty=not numbers["objects"])


def _restore(project: Project, arguments: Arguments, run: Run) -> Mapping[str, int]:
    def numbers(done: Restored) -> dict[str, int]:
        return {"rows_read": done.read, "rows_restored": done.restored}

    def progress(day: date, so_far: Restored) -> None:
        run.report(numbers(so_far))
        if run.clock.is_stopped:
            raise StoppedError("What was restored stays; restore the same days for the rest.")

    days = _window(arguments)
    done = project.restore(days.since, days.until, progress)
    run.report(numbers(done))
    if done.missed or done.refused:
        problems = [f"left out: {error}" for error in done.missed]
        problems += [f"refused by the table: {one.rows} rows: {one.reason}" for one in done.refused]
        raise NotDoneError("; ".join(problems))
    return numbers(done)


RESTORE: Final = InThread(_stored, _restore)
