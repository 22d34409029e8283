"""Rows for tests: configs, notifications, requests and channels, one short call each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

# Long past, so that no test depends on the day on which it runs.
NOW = datetime.fromisoformat("2025-03-11T12:00:00+00:00")


@dataclass
class Agency:
    """Writes rows through a superuser's connection, as the dashboard would."""

    connection: psycopg.Connection[Any]

    def _insert(self, table: str, **values: Any) -> str:
        columns = ", ".join(values)
        places = ", ".join(f"%({name})s" for name in values)
        row = self.connection.execute(
            f"insert into {table} ({columns}) values ({places}) returning id",  # noqa: S608
            values,
        ).fetchone()
        assert row is not None
        return str(row["id"])

    def user(self, slack_id: str | None = None) -> str:
        user_id = self._insert("auth.users", id=self._new_id())
        self._insert("profiles", id=user_id, slack_id=slack_id)
        return user_id

    def request(self, request_type: str = "creative", **values: Any) -> str:
        return self._insert("requests", title="Spring launch", request_type=request_type, **values)

    def channel(
        self,
        channel_id: str,
        request_type: str | None = None,
        events: list[str] | None = None,
    ) -> None:
        self._insert(
            "slack_connected_channels",
            channel_id=channel_id,
            request_type=request_type,
            notification_types=None if events is None else Jsonb(events),
        )

    def config(self, channel_id: str | None = None, **values: Any) -> str:
        values = {
            "entity_type": "request",
            "event_type": "status_change",
            "template": "{{title}}",
            **values,
        }
        return self._insert("notification_config", channel_id=channel_id, **values)

    def notification(self, config_id: str | None, data: Any = None, **values: Any) -> str:
        values = {"entity_id": self._new_id(), "entity_type": "request", **values}
        return self._insert(
            "notification_queue",
            config_id=config_id,
            event_data=None if data is None else Jsonb(data),
            **values,
        )

    def _new_id(self) -> str:
        row = self.connection.execute("select gen_random_uuid() as id").fetchone()
        assert row is not None
        return str(row["id"])

    def queued(self, notification_id: str) -> dict[str, Any]:
        """The notification's row."""
        row = self.connection.execute(
            "select * from notification_queue where id = %s", (notification_id,)
        ).fetchone()
        assert row is not None
        return dict(row)

    def deliveries(self, notification_id: str | None = None) -> list[dict[str, Any]]:
        """The delivery log, of one notification or of all, by destination."""
        return [
            dict(row)
            for row in self.connection.execute(
                "select * from notification_deliveries "
                "where %(id)s::uuid is null or notification_id = %(id)s::uuid "
                "order by destination, created_at",
                {"id": notification_id},
            )
        ]

    def parked(self) -> dict[str, str]:
        """The parked destinations, with the code of each."""
        return {
            row["destination"]: row["park_code"]
            for row in self.connection.execute(
                "select * from slack_destinations where parked_at is not null order by 1"
            )
        }

    def stopped(self) -> str | None:
        """The code for which all delivery is stopped."""
        row = self.connection.execute(
            "select stop_code from slack_workspace where stopped_at is not null"
        ).fetchone()
        return None if row is None else str(row["stop_code"])

    def unrouted(self) -> list[dict[str, Any]]:
        """What waits for a destination, oldest first."""
        return [
            dict(row)
            for row in self.connection.execute(
                "select * from notification_unrouted order by due_at"
            )
        ]
