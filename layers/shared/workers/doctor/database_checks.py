"""What the database's own report tells: migrations, clock, access, configs, policies, runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from workers.answers import Answer
from workers.database import Database
from workers.doctor.health import assess
from workers.doctor.sections import of_error
from workers.errors import WorkerError
from workers.findings import Finding, failed, ok, warning
from workers.retention.hazards import read_hazards
from workers.retention.policies import read_policies

# The newest migration that this code needs.
SCHEMA_VERSION: Final = "20261124001300"
# What a new project has as "Max rows".
USUAL_MAX_ROWS: Final = 1000
# AWS refuses signatures that are five minutes off; long before that, leases are wrong.
MOST_SKEW_SECONDS: Final = 60.0

# Columns that nobody but the server key may read.
_SECRET_COLUMNS: Final = {
    "platform_connections": "credentials",
    "profiles": "slack_access_token",
}
# Tables with which the public key could make the workers do something.
_STEERING_TABLES: Final = (
    "notification_queue",
    "notification_config",
    "platform_connections",
    "slack_connected_channels",
    "retention_policies",
)


def check_version(version: str) -> Iterator[Finding]:
    """Whether the migrations are those that this code needs."""
    if version < SCHEMA_VERSION:
        yield failed(
            f"the database's migrations are at {version}, the workers need {SCHEMA_VERSION}",
            "Apply them: `.venv/bin/python -m workers.operate migrate`",
        )
    elif version > SCHEMA_VERSION:
        yield warning(
            f"the database's migrations ({version}) are newer than the workers ({SCHEMA_VERSION})",
            "Deploy the workers of the same version: `make deploy`",
        )
    else:
        yield ok(f"the migrations are applied ({version})")


def check_clock(database_now: str, local_now: datetime) -> Iterator[Finding]:
    """Whether this machine and the database agree about the time."""
    skew = (local_now - datetime.fromisoformat(database_now)).total_seconds()
    if abs(skew) > MOST_SKEW_SECONDS:
        ahead = "ahead of" if skew > 0 else "behind"
        yield failed(
            f"this machine's clock is {abs(skew):.0f} s {ahead} the database's",
            "Set the clock by NTP; AWS refuses requests of a clock that is minutes off",
        )
    else:
        yield ok("this machine and the database agree about the time")


def check_row_cap(database: Database) -> Iterator[Finding]:
    """Where the data API cuts what it returns as a table, without saying so.

    https://docs.postgrest.org/en/stable/references/configuration.html#db-max-rows
    """
    try:
        rows = len(database.call("generated_rows", wanted=USUAL_MAX_ROWS + 1))
    except WorkerError as error:
        yield of_error("the data API's row cap", error)
        return
    if rows < USUAL_MAX_ROWS:
        yield warning(
            f"the data API returns at most {rows} rows (Max rows). The workers are not affected; "
            "the dashboard's pages and scripts see no more of any table, without a warning",
            "In Supabase, Project Settings, Data API, set Max rows to 1000 unless it is meant so",
        )
    else:
        cut = "more than 1000" if rows > USUAL_MAX_ROWS else f"at most {rows}"
        yield ok(f"the data API returns {cut} rows of a table; the workers are never cut")


def check_access(report: Mapping[str, Any]) -> Iterator[Finding]:
    """What the public key, or any signed-in user, can read or write that it should not."""
    found = False
    for table, column in _SECRET_COLUMNS.items():
        roles = [
            role for role, access in report["access"][table].items() if column in access["columns"]
        ]
        if roles:
            found = True
            yield failed(
                f"{table}.{column} can be read {_with(roles)}",
                "Run this SQL (pages that read other columns by name keep working; one that "
                "reads * must name them):\n" + _hide(table, column, roles, report),
            )
    for table, column in _SECRET_COLUMNS.items():
        for view in report["views"][table]:
            found = True
            yield failed(
                f"the view {view['view']} reads {table}.{column}, and can be read "
                f"{_with([view['role']])}",
                "If it shows the credentials, run this SQL (it then asks for the reader's own "
                f"rights):\nalter view {view['view']} set (security_invoker = true);",
            )
    for table in _STEERING_TABLES:
        writes = report["access"][table]["anon"]["writes"]
        if writes:
            found = True
            yield failed(
                f"{table} can be written with the public key alone: {', '.join(writes)}",
                "Run this SQL (the dashboard's pages write as signed-in users):\n"
                f"revoke insert, update, delete on public.{table} from anon;",
            )
    signed_in = [
        table for table in _STEERING_TABLES if report["access"][table]["authenticated"]["writes"]
    ]
    if signed_in:
        yield warning(
            f"any signed-in user can write {', '.join(signed_in)}",
            "If only some of them may, turn on row-level security with a policy for these",
        )
    if not found:
        yield ok("the public key reaches neither credentials nor what steers the workers")


def check_parked(parked: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """What stands still because Slack refuses it, from what list_parked returns."""
    for row in parked:
        if row["config_id"] is not None:
            continue  # check_configs tells of those
        if row["destination"] is None:
            yield failed(
                f"all delivery stands still: {row['reason']}",
                "Mend what it says; it goes on by itself with the first post that Slack takes",
            )
        else:
            yield failed(
                f"{row['destination']} is parked, and {row['waiting']} notifications wait for it: "
                f"{row['reason']}",
                f"Mend what it says; one message is tried there at {row['next_probe']}, or by the "
                f"next run after `python -m workers.operate parked release {row['destination']}`",
            )


def check_configs(configs: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Whether each active notification config has somewhere to go."""
    for config in configs:
        name = f"notification config {config['event_type']} ({config['id']})"
        if config["unrouted"]:
            yield failed(
                f"{name} has notifications with nowhere to go: {config['unrouted']}",
                "Add what it says: the worker looks again within ten minutes. Or end them: "
                "`python -m workers.operate skip ID`",
            )
        elif config["channel_id"] is None and config["user_id"] and not config["slack_id"]:
            yield failed(
                f"{name} is for a person without a slack_id",
                "Set profiles.slack_id of that person",
            )
        elif not (config["channel_id"] or config["user_id"] or config["has_route"]):
            yield failed(
                f"{name} has neither channel nor person, and no connected channel takes it",
                "Set its channel_id, or connect a channel in slack_connected_channels",
            )
    if not configs:
        yield warning(
            "there is no active notification config: nothing will be delivered",
            "Activate one in the dashboard",
        )
    else:
        yield ok(f"{len(configs)} active notification configs looked at")


def check_policies(policies: Sequence[Answer]) -> Iterator[Finding]:
    """Whether the retention policies can be carried out."""
    read, refused = read_policies(policies)
    for one in refused:
        yield failed(
            f"a retention policy for {one.entity_type} is not carried out: {one.reason}",
            f"Correct or delete row {one.id} of retention_policies",
        )
    for policy in read:
        if policy.remark:
            yield warning(
                f"{policy.entity_type}: {policy.remark}",
                "Keep one row per entity type in retention_policies",
            )
        elif policy.archive_days < policy.active_days:
            yield warning(
                f"{policy.entity_type}: archive_retention_days ({policy.archive_days}) is less "
                f"than active_retention_days ({policy.active_days}), though both count from the "
                "same day",
                "Set archive_retention_days to the days that rows are kept in all",
            )
        else:
            yield ok(
                f"{policy.entity_type} is kept {policy.active_days} days, and "
                f"{policy.archive_days} in all"
            )
    if not policies:
        yield warning(
            "there is no retention policy: nothing is ever archived or purged",
            "Insert one per entity type into retention_policies, if that is not wanted",
        )


def check_hazards(rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """What the tables' own rules do when retention takes rows."""
    for hazard in read_hazards(rows):
        if hazard.level == "stops":
            yield failed(hazard.text, hazard.fix)
        elif hazard.level == "warns":
            yield warning(hazard.text, hazard.fix)
        else:
            yield ok(hazard.text)


def check_workers(found: Mapping[str, Any], off: Collection[str]) -> Iterator[Finding]:
    """Whether each worker did its work lately, but for those that are switched off."""
    for name, worker in assess(found, off).body["workers"].items():
        if worker["status"] == "off":
            yield ok(f"{name} is switched off")
        elif worker["status"] == "healthy":
            last = worker["lastProcessedAt"]
            yield ok(f"{name} did its work last at {last}" if last else f"{name} is not due yet")
        elif found["first_run_at"] is None:
            yield warning(f"{name} has not run yet", "Deploy it: `make deploy`")
        else:
            why = worker.get("lastError") or worker.get("lastOutcome")
            yield failed(
                f"{name}: {worker['reason']}{f' (last: {why})' if why else ''}",
                "Is it deployed with ScheduleState ENABLED? Its log says why it failed: "
                "`sam logs --tail`",
            )
    if found["dead"]:
        yield warning(
            f"{found['dead']} notifications are dead",
            "Look at them: `python -m workers.operate dead list`",
        )


def _with(roles: Sequence[str]) -> str:
    return "with the public key alone" if "anon" in roles else "by every signed-in user"


def _hide(table: str, column: str, roles: Sequence[str], report: Mapping[str, Any]) -> str:
    """SQL that takes the one column away and leaves the others."""
    lines = [f"revoke select on public.{table} from {', '.join(roles)};"]  # noqa: S608 - for people
    for role in roles:
        rest = [one for one in report["access"][table][role]["columns"] if one != column]
        if rest:
            names = ", ".join(f'"{one}"' for one in rest)
            lines.append(f"grant select ({names}) on public.{table} to {role};")
    return "\n".join(lines)
