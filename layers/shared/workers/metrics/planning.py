"""Every ten minutes: which connections are due, leased and sent to the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from workers.database import Database
from workers.metrics.orders import SyncOrder

# How long a planned connection is nobody else's. A message lives no longer in the queue, so
# that a lost one, a crash or a throttle costs at most this much time.
LEASE_SECONDS = 1500
# The longest that one sync takes: the timeout of its function.
SYNC_SECONDS = 300


class Outbox(Protocol):
    """Where planned syncs go."""

    def send(self, bodies: Sequence[str]) -> list[int]:
        """Sends each body; returns the indices of those that could not be sent."""
        ...


@dataclass(frozen=True)
class Plan:
    """What came of a pass, for its summary. `left` are due, but will be planned later, when
    those `in_flight` are done; `orphans` are logs of killed syncs that were closed."""

    planned: int
    unsent: int
    in_flight: int
    left: int
    orphans: int

    def summary(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def plan_syncs(
    database: Database, outbox: Outbox, names: Mapping[str, str], concurrency: int
) -> Plan:
    """Leases what is due and hands it over, at most as much as `concurrency` syncs side by
    side get done within a lease.

    `names` maps every name of a platform to its main one. Raises the workers' errors when
    database or queue are out of reach; what was leased by then is planned again after the lease.
    """
    found = database.call(
        "plan_metric_syncs",
        platforms=dict(names),
        concurrency=concurrency,
        lease=f"{LEASE_SECONDS} seconds",
        longest=f"{SYNC_SECONDS} seconds",
    )
    orders = [SyncOrder(one["connection_id"], one["token"]) for one in found["planned"]]
    unsent = _send(database, outbox, orders)
    return Plan(
        planned=len(orders) - len(unsent),
        unsent=len(unsent),
        in_flight=found["in_flight"],
        left=found["left"] + len(unsent),
        orphans=found["orphans"],
    )


def _send(database: Database, outbox: Outbox, orders: list[SyncOrder]) -> list[int]:
    """Which orders could not be sent; their connections can be planned again at once."""
    unsent = list(range(len(orders)))
    try:
        unsent = outbox.send([order.body() for order in orders]) if orders else []
    finally:
        if unsent:
            database.call("drop_metric_plans", tokens=[orders[index].token for index in unsent])
    return unsent
