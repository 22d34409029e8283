"""The connected ad accounts: what each platform says about them, and what their syncs need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from enum import Enum
from typing import Final, assert_never

from workers.answers import Answer
from workers.clock import Clock
from workers.database import Database
from workers.doctor.report import Account
from workers.doctor.sections import of_error
from workers.errors import ConnectionCredentialsError, WorkerError
from workers.findings import Finding, failed, ok, warning
from workers.metrics.platforms import PLATFORMS, find_platform
from workers.metrics.platforms.fetching import OutOfTime, Reader, Session
from workers.redaction import redact
from workers.settings import Settings

AT_ONCE: Final = 8
# Requests of one sync, if none has counted them yet.
USUAL_REQUESTS: Final = 5
NEARLY_ALL: Final = 0.8
# The share of an account's total that may be missing: rounded amounts do not add up to the cent.
TOLERANCE: Final = Decimal("0.001")
LEAST_DIFFERENCE: Final = Decimal("0.05")


def check_connections(
    accounts: Sequence[Account],
    settings: Settings,
    clock: Clock,
    deadline: float,
    random_fraction: Callable[[], float],
) -> Iterator[Finding]:
    """Every active connection, several at the same time."""
    if not accounts:
        yield warning(
            "no ad account is connected: there is nothing to sync",
            "Connect one in the dashboard, or with `python -m workers.operate connections add`",
        )
        return

    def check(account: Account) -> list[Finding]:
        own = account.connection
        try:
            with Session() as session:
                return list(_account(account, settings, session, clock, deadline, random_fraction))
        except Exception as error:  # noqa: BLE001 - of one account: the others matter as well
            return [
                failed(
                    f"{own.platform}, {own.account_id}: could not be checked: "
                    f"{type(error).__name__}: {redact(str(error))}",
                    "Look at its row in platform_connections",
                )
            ]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for findings in pool.map(check, accounts):
            yield from findings
    yield from check_allowances(accounts)


def check_allowances(accounts: Sequence[Account]) -> Iterator[Finding]:
    """The requests of a day's syncs, against what the platform's lowest access level allows."""
    needs: Counter[str] = Counter()
    for account in accounts:
        platform = find_platform(account.connection.platform)
        if platform is not None:
            syncs = 1440 / max(1, min(account.sync_minutes, 1440))
            needs[platform.name] += round(syncs * (account.requests or USUAL_REQUESTS))
    for name, needed in sorted(needs.items()):
        allowance = PLATFORMS[name].daily_allowance
        if allowance is None:
            continue
        allowed, level = allowance
        text = f"{name}: the syncs use about {needed} requests a day; {level} allows {allowed}"
        if needed > allowed * NEARLY_ALL:
            yield warning(
                text,
                "Raise sync_frequency (minutes) of its connections, or apply for higher access",
            )
        else:
            yield ok(text)


def check_mappings(database: Database) -> Iterator[Finding]:
    """The ids that requests name: those that match nothing, and numbers that may be rounded."""
    keys = [key for platform in PLATFORMS.values() for key in platform.mapping_keys.values()]
    try:
        odd = Answer.of("odd_ad_mappings", database.call("odd_ad_mappings", mapping_keys=keys))
    except WorkerError as error:
        yield of_error("the ids that requests name", error)
        return
    examples, count = odd.inners("examples"), odd.whole("count")
    yield from map(_mapping, examples)
    if count > len(examples):
        yield warning(f"{count} such values in all", "Correct these, then run it again")
    elif not count:
        yield ok("every id in a request is well-formed")


class _Problem(Enum):
    """As odd_ad_mappings names them."""

    ROUNDED = "rounded"
    NO_ID = "no_id"


def _mapping(odd: Answer) -> Finding:
    value = odd.optional_text("value")
    where = f"request {odd.text('request_id')}: {odd.text('mapping_key')} {value!r}"
    problem = odd.choice("problem", _Problem)
    match problem:
        case _Problem.ROUNDED:
            return warning(
                f"{where} is a number that JavaScript cannot represent exactly: if a page wrote "
                "it, its last digits may be wrong",
                "Compare it with the platform, and store it as text",
            )
        case _Problem.NO_ID:
            return warning(
                f"{where} matches nothing",
                "Correct it: an id is digits; several are a list, or separated by commas",
            )
        case _:
            assert_never(problem)


def _account(
    account: Account,
    settings: Settings,
    session: Session,
    clock: Clock,
    deadline: float,
    random_fraction: Callable[[], float],
) -> Iterator[Finding]:
    connection = account.connection
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
            "Connect the account again: a new token in platform_connections.credentials is tried "
            "automatically",
        )
    except WorkerError as error:
        yield of_error(name, error, secrets)
    except OutOfTime:
        yield warning(f"{name}: not checked, for lack of time", "Run the doctor again")
    if account.parked:
        yield failed(
            f"{name} is parked: {account.parked}",
            "Store other credentials, or `python -m workers.operate connections release "
            f"{connection.id}`",
        )
    elif account.last_status == "failed":
        yield warning(f"{name}: its last sync failed: {account.last_error}", "See above")
    yield from check_totals(name, account)
    unread = account.unread_days
    if unread:
        newest = max(unread)
        yield warning(
            f"{name}: {len(unread)} days could not be read, the newest is {newest}: "
            f"{unread[newest]}",
            "They are retried automatically; immediately after `python -m workers.operate "
            f"connections release {connection.id}`",
        )


def check_totals(name: str, account: Account) -> Iterator[Finding]:
    """What the last sync read against the account's total, and the reports that it left out."""
    for report, problem in sorted(account.reports_left_out.items()):
        yield warning(
            f"{name}: the report {report} could not be read: {problem}",
            "Give the token's app the permission for it, or leave it if you do not use it",
        )
    difference, total = account.total_difference, account.spend_total
    if abs(difference) > max(abs(total) * TOLERANCE, LEAST_DIFFERENCE):
        days = ", ".join(account.days_that_differ)
        yield warning(
            f"{name}: the account's total differs by {difference:f} from what was read by ad and "
            f"campaign (total {total:f}), on {days}",
            "Something spends that no report named, or figures were restated meanwhile: compare "
            "these days with the platform's own reports",
        )
