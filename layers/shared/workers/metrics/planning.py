"""Every ten minutes: which ads requests name, and which accounts are due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from workers.database import Database
from workers.errors import ConfigurationError, CredentialsError, WorkerError
from workers.metrics.answers import read_after, read_is_finished, read_planned
from workers.metrics.facts import Json, Level
from workers.metrics.sync_requests import SyncRequest
from workers.redaction import redact
from workers.telemetry import logger

# How long a planned account is reserved. A message lives no longer in the queue, so that a lost
# one, a crash or a throttle costs at most this much time.
LEASE_SECONDS = 1500
# The longest that one sync takes: the timeout of its function.
SYNC_SECONDS = 300
# Requests whose metadata is read in one call.
LINK_REQUESTS = 5000
# Facts in one step of settling, and steps in one pass: the next one does the rest.
SETTLE_FACTS = 15_000
SETTLE_STEPS = 40

MappingKeys = Mapping[str, Mapping[Level, str]]


class Outbox(Protocol):
    """Where planned syncs go."""

    def send(self, bodies: Sequence[str]) -> list[int]:
        """Sends each body; returns the indices of those that could not be sent."""
        ...


@dataclass(frozen=True)
class Plan:
    """The result of a pass, for its summary. `left` are due, but will be planned later, when
    those `in_flight` are done; `orphans` are logs of killed syncs that were closed; `settled`
    are steps in which figures were derived of requests whose ads changed."""

    planned: int
    unsent: int
    in_flight: int
    left: int
    orphans: int
    settled: int

    def summary(self) -> Json:
        """JSON-able."""
        return asdict(self)


def plan_syncs(
    database: Database,
    outbox: Outbox,
    mapping_keys: MappingKeys,
    concurrency: int,
    figures: Sequence[str] = (),
) -> Plan:
    """Leases accounts that are due and sends their sync requests, at most as many as `concurrency`
    parallel syncs finish within a lease; before that, derives the figures of requests whose ads
    changed.

    `mapping_keys` has the keys of requests.metadata by the platform's main name and the level,
    `figures` are those to derive beyond the usual ones. Raises the workers' errors when the
    database or the queue cannot be reached; what was leased by then is planned again after the
    lease.
    """
    settled = _follow_requests(database, mapping_keys, figures)
    found = read_planned(
        database.call(
            "plan_metric_syncs",
            concurrency=concurrency,
            lease=f"{LEASE_SECONDS} seconds",
            longest=f"{SYNC_SECONDS} seconds",
        )
    )
    unsent = _send(database, outbox, found.sync_requests)
    return Plan(
        planned=len(found.sync_requests) - len(unsent),
        unsent=len(unsent),
        in_flight=found.in_flight,
        left=found.left + len(unsent),
        orphans=found.orphans,
        settled=settled,
    )


def refresh_links(database: Database, mapping_keys: MappingKeys) -> None:
    """Makes the links match what requests name now."""
    keys = {platform: dict(levels) for platform, levels in mapping_keys.items()}
    after = None
    while True:
        after = read_after(
            "refresh_ad_links",
            database.call("refresh_ad_links", mapping_keys=keys, after=after, most=LINK_REQUESTS),
        )
        if after is None:
            return


def _follow_requests(database: Database, mapping_keys: MappingKeys, figures: Sequence[str]) -> int:
    """How many steps of settling were taken. A failure here keeps no account from its sync."""
    steps = 0
    try:
        refresh_links(database, mapping_keys)
        while steps < SETTLE_STEPS:
            step = database.call("settle_ad_links", most=SETTLE_FACTS, chosen=list(figures))
            if read_is_finished(step):
                break
            steps += 1
    except (ConfigurationError, CredentialsError):
        raise
    except WorkerError as error:
        logger.warning(
            "The figures do not reflect all changes of requests yet",
            extra={"action": "metrics_links", "code": error.code, "error": redact(str(error))},
        )
    return steps


def _send(
    database: Database, outbox: Outbox, sync_requests: Sequence[SyncRequest]
) -> Sequence[int]:
    """Which sync requests could not be sent; their accounts can be planned again immediately."""
    unsent: Sequence[int] = range(len(sync_requests))
    try:
        unsent = outbox.send([one.body() for one in sync_requests]) if sync_requests else []
    finally:
        if unsent:
            tokens = [sync_requests[index].token for index in unsent]
            database.call("drop_metric_plans", tokens=tokens)
    return unsent
