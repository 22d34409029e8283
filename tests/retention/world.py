"""Retention runs over a real database, as of a fixed day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.conftest import Api
from tests.database.agency import NOW, Agency
from tests.notifications.virtual_time import VirtualClock
from tests.recycling import empty
from workers.database import Database
from workers.retention.run import ColdStore, Retention

TABLES = (
    "activity_log, archived_activity_log, notification_queue, notification_config, "
    "metric_sync_logs, platform_connections, ad_metrics, metric_days, metric_ledger, "
    "retention_policies, retention_progress, worker_leases"
)
PLENTY = 800.0
# The functions that use the current time; the others are given cutoffs.
TIMED = {
    "list_retention_policies", "take_worker_lease", "renew_worker_lease",
    "complete_retention_policies", "record_retention_progress", "purge_worker_runs",
}  # fmt: skip


class TimedDatabase(Database):
    """Passes the virtual time to the functions that use it, and keeps the calls."""

    def __init__(self, url: str, key: str, clock: VirtualClock) -> None:
        super().__init__(url, key)
        self._clock = clock
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, function: str, **arguments: Any) -> Any:
        self.calls.append((function, arguments))
        if function in TIMED:
            arguments["as_of"] = self._clock.as_of().isoformat()
        return super().call(function, **arguments)


class World:
    """Old rows of every kind, and runs over them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.connection: psycopg.Connection[Any] = psycopg.connect(
            api.database_url, autocommit=True, row_factory=dict_row
        )
        empty(self.connection, TABLES)
        self.agency = Agency(self.connection)
        self.clock = VirtualClock(NOW, lambda now: None)
        self.database = TimedDatabase(api.url, api.keys.secret, self.clock)

    def close(self) -> None:
        self.database.close()
        empty(self.connection, TABLES)
        self.connection.close()

    def policy(self, entity_type: str, active: int, archive: int) -> str:
        row = self.connection.execute(
            "insert into retention_policies "
            "(entity_type, active_retention_days, archive_retention_days) values (%s, %s, %s) "
            "returning id",
            (entity_type, active, archive),
        ).fetchone()
        assert row is not None
        return str(row["id"])

    def activity(
        self, count: int, created_at: datetime | None, table: str = "activity_log"
    ) -> None:
        """`count` rows, a second apart, from `created_at` backwards; null: without a time."""
        self.connection.execute(
            f"insert into {table} (id, entity_type, entity_id, action, details, created_at) "  # noqa: S608
            "select gen_random_uuid(), 'request', gen_random_uuid(), 'edited', "
            "jsonb_build_object('number', number, 'text', 'Ünïcode \"quoted\" ' || number, "
            "'exact', 12345678901234567890.123456789), "
            "%s::timestamptz - number * interval '1 second' "
            "from generate_series(0, %s - 1) number",
            (created_at, count),
        )

    def run(
        self,
        seconds: float = PLENTY,
        cold: ColdStore | None = None,
        as_of: datetime | None = None,
    ) -> dict[str, Any]:
        """One run's summary."""
        retention = Retention(self.database, self.clock, cold, as_of=as_of)
        return retention.run(self.clock.now() + seconds).summary()

    def dry_run(self) -> dict[str, Any]:
        return Retention(self.database, self.clock).dry_run().summary()

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self.connection.execute(query.encode(), values)]

    def count(self, table: str) -> int:
        (row,) = self.rows(f"select count(*) as count from {table}")  # noqa: S608
        return int(row["count"])

    def take_snapshot(self, tables: Sequence[str]) -> None:
        """Keeps a copy of tables for `difference`."""
        for table in tables:
            self.connection.execute(f"drop table if exists snapshot_{table}")
            self.connection.execute(
                f"create table snapshot_{table} as select * from {table}"  # noqa: S608
            )

    def drop_snapshot(self, tables: Sequence[str]) -> None:
        for table in tables:
            self.connection.execute(f"drop table if exists snapshot_{table}")


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def of(summary: dict[str, Any], entity_type: str) -> dict[str, Any]:
    """What a run reported about one type."""
    (one,) = [one for one in summary["policies"] if one["entity_type"] == entity_type]
    return dict(one)
