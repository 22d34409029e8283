"""Every ten minutes: what requests say of their ads, and which accounts are due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from workers.database import Database
from workers.errors import ConfigurationError, CredentialsError, WorkerError
from workers.metrics.facts import Level
from workers.metrics.sync_requests import SyncRequest
from workers.redaction import redact
from workers.telemetry import logger

# How long a planned connection is nobody else's. A message lives no longer in the queue, so
# that a lost one, a crash or a throttle costs at most this much time.
LEASE_SECONDS = 1500
# The longest that one sync takes: the timeout of its function.
SYNC_SECONDS = 300
# Requests whose ads are looked at in one call.
LINK_REQUESTS = 5000
# Facts in one step of settling, and steps in one pass: what is left the next one does.
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
    """What came of a pass, for its summary. `left` are due, but will be planned later, when
    those `in_flight` are done; `orphans` are logs of killed syncs that were closed; `settled`
    are steps in which figures of requests with other ads were derived."""

    planned: int
    unsent: int
    in_flight: int
    left: int
    orphans: int
    settled: int

    def summary(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def plan_syncs(
    database: Database,
    outbox: Outbox,
    mapping_keys: MappingKeys,
    concurrency: int,
    figures: Sequence[str] = (),
) -> Plan:
    """Leases what is due and hands it over, at most as much as `concurrency` syncs side by
    side get done within a lease; before that, figures follow the ads that requests name now.

    `mapping_keys` has the keys of requests.metadata by the platform's main name and the level,
    `figures` are those to derive beyond the usual ones. Raises the
    workers' errors when database or queue are out of reach; what was leased by then is planned
    again after the lease.
    """
    settled = _follow_requests(database, mapping_keys, figures)
    found = database.call(
        "plan_metric_syncs",
        concurrency=concurrency,
        lease=f"{LEASE_SECONDS} seconds",
        longest=f"{SYNC_SECONDS} seconds",
    )
    sync_requests = [SyncRequest(**one) for one in found["planned"]]
    unsent = _send(database, outbox, sync_requests)
    return Plan(
        planned=len(sync_requests) - len(unsent),
        unsent=len(unsent),
        in_flight=found["in_flight"],
        left=found["left"] + len(unsent),
        orphans=found["orphans"],
        settled=settled,
    )


def refresh_links(database: Database, mapping_keys: MappingKeys) -> None:
    """What requests name now, whatever they named before."""
    keys = {platform: dict(levels) for platform, levels in mapping_keys.items()}
    after = None
    while True:
        after = database.call(
            "refresh_ad_links", mapping_keys=keys, after=after, most=LINK_REQUESTS
        )["after"]
        if after is None:
            return


def _follow_requests(database: Database, mapping_keys: MappingKeys, figures: Sequence[str]) -> int:
    """How many steps of settling were taken. Trouble with it keeps no account from its sync."""
    steps = 0
    try:
        refresh_links(database, mapping_keys)
        while steps < SETTLE_STEPS:
            if database.call("settle_ad_links", most=SETTLE_FACTS, chosen=list(figures))[
                "is_finished"
            ]:
                break
            steps += 1
    except (ConfigurationError, CredentialsError):
        raise
    except WorkerError as error:
        logger.warning(
            "The figures do not follow all changes of requests yet",
            extra={"action": "metrics_links", "code": error.code, "error": redact(str(error))},
        )
    return steps


def _send(database: Database, outbox: Outbox, sync_requests: list[SyncRequest]) -> list[int]:
    """Which sync requests could not be sent; their connections can be planned again at once."""
    unsent = list(range(len(sync_requests)))
    try:
        unsent = outbox.send([one.body() for one in sync_requests]) if sync_requests else []
    finally:
        if unsent:
            database.call(
                "drop_metric_plans", tokens=[sync_requests[index].token for index in unsent]
            )
    return unsent
