"""What the database reports: migrations, clock, access, configs, policies, runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final, assert_never

from workers.answers import Answer, read_wholes
from workers.database import Database
from workers.doctor.health import WorkerHealth, assess
from workers.doctor.report import Access, Config, Parked
from workers.doctor.sections import of_error
from workers.errors import WorkerError
from workers.findings import Finding, failed, ok, warning
from workers.retention.hazards import Hazard
from workers.retention.policies import read_policies

# The newest migration that this code needs.
SCHEMA_VERSION: Final = "20261124001300"
# "Max rows" of a new project.
USUAL_MAX_ROWS: Final = 1000
# AWS refuses signatures that are five minutes off; long before that, leases go wrong.
MOST_SKEW_SECONDS: Final = 60.0

# Columns that only the server key may read.
_SECRET_COLUMNS: Final = {
    "platform_connections": "credentials",
    "profiles": "slack_access_token",
}
# Tables through which the public key could control the workers.
_CONTROLLING_TABLES: Final = (
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
            "Set the clock by NTP; AWS refuses requests if the clock is minutes off",
        )
    else:
        yield ok("this machine and the database agree about the time")


def check_row_cap(database: Database) -> Iterator[Finding]:
    """How many rows of a table the data API returns before it truncates silently.

    https://docs.postgrest.org/en/stable/references/configuration.html#db-max-rows
    """
    try:
        function = "generated_rows"
        answer = database.call(function, wanted=USUAL_MAX_ROWS + 1)
        rows = len(read_wholes(function, answer))
    except WorkerError as error:
        yield of_error("the data API's row cap", error)
        return
    if rows < USUAL_MAX_ROWS:
        yield warning(
            f"the data API returns at most {rows} rows (Max rows). The workers are not affected; "
            "the dashboard's pages and scripts see no more of any table, without a warning",
            "In Supabase, Project Settings, Data API, set Max rows to 1000, unless it is intended",
        )
    else:
        cut = "more than 1000" if rows > USUAL_MAX_ROWS else f"at most {rows}"
        yield ok(f"the data API returns {cut} rows of a table; the workers are never affected")


def check_access(access: Access) -> Iterator[Finding]:
    """What the public key, or any signed-in user, can read or write although it should not."""
    found = False
    for table, column in _SECRET_COLUMNS.items():
        roles = [role for role, own in access.tables[table].items() if column in own.columns]
        if roles:
            found = True
            yield failed(
                f"{table}.{column} can be read {_with(roles)}",
                "Run this SQL (pages that read other columns by name keep working; one that "
                "reads * must name them):\n" + _hide(table, column, roles, access),
            )
    for table, column in _SECRET_COLUMNS.items():
        for one in access.views[table]:
            found = True
            yield failed(
                f"the view {one.view} reads {table}.{column}, and can be read {_with([one.role])}",
                "If it shows the credentials, run this SQL (it then checks the reader's own "
                f"rights):\nalter view {one.view} set (security_invoker = true);",
            )
    for table in _CONTROLLING_TABLES:
        writes = access.tables[table]["anon"].writes
        if writes:
            found = True
            yield failed(
                f"{table} can be written with the public key alone: {', '.join(writes)}",
                "Run this SQL (the dashboard's pages write as signed-in users):\n"
                f"revoke insert, update, delete on public.{table} from anon;",
            )
    signed_in = [
        table for table in _CONTROLLING_TABLES if access.tables[table]["authenticated"].writes
    ]
    if signed_in:
        yield warning(
            f"any signed-in user can write {', '.join(signed_in)}",
            "If only some of them may, turn on row-level security with a policy for these",
        )
    if not found:
        yield ok("the public key reaches neither credentials nor what controls the workers")


def check_parked(parked: Sequence[Parked]) -> Iterator[Finding]:
    """What is stopped because Slack refuses it."""
    for one in parked:
        if one.config_id is not None:
            continue  # check_configs reports those
        if one.destination is None:
            yield failed(
                f"all delivery is stopped: {one.reason}",
                "Fix what it says; delivery resumes with the first post that Slack accepts",
            )
        else:
            yield failed(
                f"{one.destination} is parked, and {one.waiting} notifications wait for it: "
                f"{one.reason}",
                f"Fix what it says; one message is tried there at {one.next_probe}, or by the "
                f"next run after `python -m workers.operate parked release {one.destination}`",
            )


def check_configs(configs: Sequence[Config]) -> Iterator[Finding]:
    """Whether each active notification config has a destination."""
    for config in configs:
        name = f"notification config {config.event_type} ({config.id})"
        if config.unrouted:
            yield failed(
                f"{name} has notifications with nowhere to go: {config.unrouted}",
                "Add what is missing: the worker checks again within ten minutes. Or end them: "
                "`python -m workers.operate skip ID`",
            )
        elif config.channel_id is None and config.user_id and not config.slack_id:
            yield failed(
                f"{name} is for a person without a slack_id",
                "Set profiles.slack_id of that person",
            )
        elif not (config.channel_id or config.user_id or config.has_route):
            yield failed(
                f"{name} has neither a channel nor a person, and no connected channel takes it",
                "Set its channel_id, or connect a channel in slack_connected_channels",
            )
    if not configs:
        yield warning(
            "there is no active notification config: nothing will be delivered",
            "Activate one in the dashboard",
        )
    else:
        yield ok(f"{len(configs)} active notification configs checked")


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
                f"than active_retention_days ({policy.active_days}), although both count from the "
                "same day",
                "Set archive_retention_days to the total number of days that rows are kept",
            )
        else:
            yield ok(
                f"{policy.entity_type} is kept {policy.active_days} days, and "
                f"{policy.archive_days} in all"
            )
    if not policies:
        yield warning(
            "there is no retention policy: nothing is ever archived or purged",
            "Insert one per entity type into retention_policies, unless that is intended",
        )


def check_hazards(hazards: Sequence[Hazard]) -> Iterator[Finding]:
    """What the tables' own constraints and triggers do when retention takes rows."""
    for hazard in hazards:
        match hazard.level:
            case "stops":
                yield failed(hazard.text, hazard.fix)
            case "warns":
                yield warning(hazard.text, hazard.fix)
            case "notes":
                yield ok(hazard.text)
            case _:
                assert_never(hazard.level)


def check_workers(found: WorkerHealth, off: Collection[str]) -> Iterator[Finding]:
    """Whether each worker succeeded recently, except for those that are switched off."""
    for name, worker in assess(found, off).workers.items():
        match worker.status:
            case "off":
                yield ok(f"{name} is switched off")
            case "healthy":
                last = worker.succeeded_at
                yield ok(
                    f"{name} last succeeded at {last.isoformat()}"
                    if last
                    else f"{name} is not due yet"
                )
            case "unhealthy" if found.first_run_at is None:
                yield warning(f"{name} has not run yet", "Deploy it: `make deploy`")
            case "unhealthy":
                why = worker.last_error or worker.last_outcome
                yield failed(
                    f"{name}: {worker.reason}{f' (last: {why})' if why else ''}",
                    "Is it deployed with ScheduleState ENABLED? Its log says why it failed: "
                    "`sam logs --tail`",
                )
            case _:
                assert_never(worker.status)
    if found.queue.dead:
        yield warning(
            f"{found.queue.dead} notifications are dead",
            "Look at them: `python -m workers.operate dead list`",
        )


def _with(roles: Sequence[str]) -> str:
    return "with the public key alone" if "anon" in roles else "by every signed-in user"


def _hide(table: str, column: str, roles: Sequence[str], access: Access) -> str:
    """SQL that revokes one column and leaves the others."""
    lines = [f"revoke select on public.{table} from {', '.join(roles)};"]  # noqa: S608 - for people
    for role in roles:
        rest = [one for one in access.tables[table][role].columns if one != column]
        if rest:
            names = ", ".join(f'"{one}"' for one in rest)
            lines.append(f"grant select ({names}) on public.{table} to {role};")
    return "\n".join(lines)
