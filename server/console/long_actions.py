"""The actions that take longer than a call: what they would touch, and how they are done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from server.console.acting import Arguments, NotDoneError, Scope, Tell, UnderWay
from server.console.project import Project
from workers.metrics.windows import Window
from workers.retention.report import PolicyReport, RetentionReport

if TYPE_CHECKING:
    from workers.composition.restore import Restored

LEVELS: Final = ("failed", "warning", "ok")


def _fingerprint(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, default=str).encode()).hexdigest()[:32]


# --- the doctor ---


def _questions(project: Project, arguments: Arguments) -> Scope:
    """Of the doctor, who changes no row."""
    accounts = [one for one in project.call("list_connections") if one["state"] != "inactive"]
    numbers = {"accounts_asked": len(accounts), "rows_changed": 0}
    if "channel" in arguments:
        numbers["messages_posted"] = 1
    return Scope("always", numbers)


def _examine(project: Project, arguments: Arguments, tell: Tell) -> Mapping[str, int]:
    found = project.examination.run(arguments.get("channel"))
    if found is None:
        raise NotDoneError("The doctor is looking already: its page shows it.")
    levels = [one["level"] for section in found.sections for one in section["findings"]]
    return {
        "subjects": len(found.sections),
        **{f"found_{one}": levels.count(one) for one in LEVELS},
    }


EXAMINE: Final = UnderWay(_questions, _examine)


# --- retention ---


def _due(project: Project, arguments: Arguments) -> Scope:
    """Two are of the same policies, after the same run."""
    report = project.due_for_retention()
    policies = [
        [row.get(name) for name in ("id", "active_days", "archive_days", "last_purged_at")]
        for row in project.call("console_retention")["policies"]
    ]
    bucket = project.settings.archive_bucket_name
    copies = (
        "ARCHIVE_BUCKET_NAME is not set here: no copy of what is deleted is kept."
        if bucket is None
        else f"A copy of deleted activity is kept in {bucket}."
    )
    numbers = _taken(report.policies)
    remarks = [
        f"{one.entity_type}: {one.archived:,} to archive, {one.purged:,} to delete"
        + "".join(f"; {said}" for said in (one.error, one.remark) if said)
        for one in report.policies
    ]
    return Scope(
        _fingerprint(policies), numbers, (*remarks, copies), is_empty=not any(numbers.values())
    )


def _to_count(project: Project, arguments: Arguments) -> Scope:
    return Scope("always", {"rows_changed": 0})


def _carry_out(project: Project, arguments: Arguments, tell: Tell) -> Mapping[str, int]:
    so_far: dict[str, PolicyReport] = {}

    def progress(report: PolicyReport) -> None:
        so_far[report.entity_type] = report
        tell(_taken(so_far.values()))

    report = project.carry_out_retention(progress, dry_run=False)
    if report.outcome == "busy":
        raise NotDoneError("Another run is at it: try again in a minute.")
    numbers = _taken(report.policies)
    if report.outcome != "complete":
        tell(numbers)
        raise NotDoneError(f"It is {report.outcome}: {_errors(report)}")
    return numbers


def _count(project: Project, arguments: Arguments, tell: Tell) -> Mapping[str, int]:
    report = project.carry_out_retention(lambda one: None, dry_run=True)
    taken = _taken(report.policies)
    return {
        "rows_counted_to_archive": taken["rows_archived"],
        "rows_counted_to_purge": taken["rows_purged"],
    }


def _taken(reports: Any) -> dict[str, int]:
    found = list(reports)
    return {
        "rows_archived": sum(one.archived for one in found),
        "rows_purged": sum(one.purged for one in found),
    }


def _errors(report: RetentionReport) -> str:
    told = [f"{one.entity_type}: {one.error}" for one in report.policies if one.error]
    return "; ".join(told) or "the next run goes on"


RETENTION: Final = UnderWay(_due, _carry_out)
RETENTION_DRY_RUN: Final = UnderWay(_to_count, _count)


# --- an account's past ---


def _window(arguments: Arguments) -> Window:
    return Window(date.fromisoformat(arguments["since"]), date.fromisoformat(arguments["until"]))


def _to_read(project: Project, arguments: Arguments) -> Scope:
    known = any(row["id"] == arguments["connection_id"] for row in project.call("list_connections"))
    days = _window(arguments).width if known else 0
    return Scope("always", {"days_to_read": days}, is_empty=not days)


def _read(project: Project, arguments: Arguments, tell: Tell) -> Mapping[str, int]:
    asked = _window(arguments)
    read = 0

    def progress(window: Window, days_left: int) -> None:
        nonlocal read
        read = asked.width - days_left
        tell({"days_read": read})

    report = project.read_past(arguments["connection_id"], asked, progress)
    if report is None:
        raise NotDoneError("The account is being synced right now: try again in a minute.")
    counts = report.counts
    numbers = {
        "days_read": read,
        "rows_read": counts["rows"],
        "figures_created": counts["figures_created"],
        "figures_updated": counts["figures_updated"],
    }
    if report.status != "success":
        tell(numbers)
        why = f" ({report.code})" if report.code else ""
        raise NotDoneError(f"It ended as {report.status}{why}: the same days go on from here.")
    return numbers


READ_PAST: Final = UnderWay(_to_read, _read)


# --- the cold archive ---


def _stored(project: Project, arguments: Arguments) -> Scope:
    view, days = project.archive, _window(arguments)
    found = [] if view is None else view.days(days.since, days.until)
    numbers = {
        "objects": sum(one.objects for one in found), "bytes": sum(one.size for one in found),
    }  # fmt: skip
    return Scope(_fingerprint(numbers), numbers, is_empty=not numbers["objects"])


def _restore(project: Project, arguments: Arguments, tell: Tell) -> Mapping[str, int]:
    def numbers(done: Restored) -> dict[str, int]:
        return {"rows_read": done.read, "rows_restored": done.restored}

    days = _window(arguments)
    done = project.restore(days.since, days.until, lambda day, so_far: tell(numbers(so_far)))
    tell(numbers(done))
    if done.missed or done.refused:
        told = [f"left out: {error}" for error in done.missed]
        told += [f"refused by the table: {one.rows} rows: {one.reason}" for one in done.refused]
        raise NotDoneError("; ".join(told))
    return numbers(done)


RESTORE: Final = UnderWay(_stored, _restore)
