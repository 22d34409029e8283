"""The connected ad accounts: what each platform says of them, and what their syncs need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Final

from workers.answers import Answer
from workers.clock import Clock
from workers.database import Database
from workers.doctor.sections import of_error
from workers.errors import ConnectionCredentialsError, WorkerError
from workers.findings import Finding, failed, ok, warning
from workers.metrics.platforms import PLATFORMS, find_platform
from workers.metrics.platforms.fetching import OutOfTime, Reader, Session
from workers.metrics.platforms.protocol import Connection
from workers.redaction import redact
from workers.settings import Settings

AT_ONCE: Final = 8
# Of one sync, where none has told yet.
USUAL_REQUESTS: Final = 5
NEARLY_ALL: Final = 0.8
# Of an account's total, what may be missing: rounded amounts do not add up to the cent.
TOLERANCE: Final = Decimal("0.001")
LEAST_DIFFERENCE: Final = Decimal("0.05")


def check_connections(
    rows: Sequence[Mapping[str, Any]],
    settings: Settings,
    clock: Clock,
    deadline: float,
    random_fraction: Callable[[], float],
) -> Iterator[Finding]:
    """Every active connection, several at the same moment."""
    if not rows:
        yield warning(
            "no ad account is connected: there is nothing to sync",
            "Connect one in the dashboard, or with `python -m workers.operate connections add`",
        )
        return

    def check(row: Mapping[str, Any]) -> list[Finding]:
        try:
            with Session() as session:
                return list(_connection(row, settings, session, clock, deadline, random_fraction))
        except Exception as error:  # noqa: BLE001 - of one account: the others matter as well
            return [
                failed(
                    f"{row['platform']}, {row['account_id']}: could not be looked at: "
                    f"{type(error).__name__}: {redact(str(error))}",
                    "Look at its row in platform_connections",
                )
            ]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for findings in pool.map(check, rows):
            yield from findings
    yield from check_allowances(rows)


def check_allowances(rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """What the syncs of a day need, against what the platform's lowest access level allows."""
    needs: Counter[str] = Counter()
    for row in rows:
        platform = find_platform(row["platform"])
        if platform is not None:
            syncs = 1440 / max(1, min(int(row["sync_frequency"]), 1440))
            needs[platform.name] += round(syncs * (row["requests"] or USUAL_REQUESTS))
    for name, needed in sorted(needs.items()):
        allowance = PLATFORMS[name].daily_allowance
        if allowance is None:
            continue
        allowed, level = allowance
        text = f"{name}: the syncs need some {needed} requests a day; {level} allows {allowed}"
        if needed > allowed * NEARLY_ALL:
            yield warning(
                text,
                "Raise sync_frequency (minutes) of its connections, or apply for higher access",
            )
        else:
            yield ok(text)


def check_mappings(database: Database) -> Iterator[Finding]:
    """The ids that requests name: what nothing can match, and numbers that may be rounded."""
    keys = [key for platform in PLATFORMS.values() for key in platform.mapping_keys.values()]
    try:
        odd = database.call("odd_ad_mappings", mapping_keys=keys)
    except WorkerError as error:
        yield of_error("the ids that requests name", error)
        return
    for one in odd["examples"]:
        where = f"request {one['request_id']}: {one['mapping_key']} {one['value']!r}"
        if one["problem"] == "rounded":
            yield warning(
                f"{where} is a number that JavaScript cannot hold exactly: if a page wrote it, its "
                "last digits may be wrong",
                "Compare it with the platform, and store it as text",
            )
        else:
            yield warning(
                f"{where} matches nothing",
                "Correct it: an id is digits; several are a list, or have commas in between",
            )
    if odd["count"] > len(odd["examples"]):
        yield warning(f"{odd['count']} such values in all", "Correct these, then run it again")
    elif not odd["count"]:
        yield ok("every id that a request names can be one")


def _connection(
    row: Mapping[str, Any],
    settings: Settings,
    session: Session,
    clock: Clock,
    deadline: float,
    random_fraction: Callable[[], float],
) -> Iterator[Finding]:
    connection = Connection.from_answer(Answer("doctor_report", row))
    name = f"{connection.platform}, {connection.account_name or connection.account_id}"
    kind = find_platform(connection.platform)
    if kind is None:
        yield failed(
            f"{name}: there is no platform {connection.platform!r}",
            f"Correct platform_connections.platform; there are: {', '.join(PLATFORMS)}",
        )
        return
    secrets = connection.secrets
    try:
        platform = kind.open(connection, settings)
        secrets += platform.secrets
        reader = Reader(platform, session, clock, deadline, random_fraction)
        for finding in platform.check(reader.fetch_json):
            yield Finding(finding.level, f"{name}: {finding.text}", finding.fix)
    except ConnectionCredentialsError as error:
        yield failed(
            of_error(name, error, secrets).text,
            "Connect the account anew: a new token in platform_connections.credentials is tried "
            "by itself",
        )
    except WorkerError as error:
        yield of_error(name, error, secrets)
    except OutOfTime:
        yield warning(f"{name}: there was no time to look", "Run the doctor again")
    if row["parked"]:
        yield failed(
            f"{name} is parked: {row['parked']}",
            "Store other credentials, or `python -m workers.operate connections release "
            f"{connection.id}`",
        )
    elif row["last_status"] == "failed":
        yield warning(f"{name}: its last sync failed: {row['last_error']}", "See above")
    yield from check_totals(name, row)
    unread = row["unread_days"] or {}
    if unread:
        newest = max(unread)
        yield warning(
            f"{name}: {len(unread)} days could not be read, the newest is {newest}: "
            f"{unread[newest]}",
            "They are tried again by themselves; at once after `python -m workers.operate "
            f"connections release {connection.id}`",
        )


def check_totals(name: str, row: Mapping[str, Any]) -> Iterator[Finding]:
    """What the last sync read against the account's total, and the reports that it did without."""
    for report, problem in sorted((row["reports_left_out"] or {}).items()):
        yield warning(
            f"{name}: the report {report} could not be read: {problem}",
            "Give the token's app the permission for it, or leave it if you do not use it",
        )
    difference, total = Decimal(row["total_difference"] or 0), Decimal(row["spend_total"] or 0)
    if abs(difference) > max(abs(total) * TOLERANCE, LEAST_DIFFERENCE):
        days = ", ".join(sorted(row["days_that_differ"] or {}))
        yield warning(
            f"{name}: the account spent {difference:f} other than what was read by ad and campaign "
            f"(of {total:f} in all), on {days}",
            "Something spends that no report named, or was restated meanwhile: compare these "
            "days with the platform's own screen",
        )
