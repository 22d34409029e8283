"""What a run has to tell the database, gathered for the next bulk call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.notifications.claims import Notification
from workers.notifications.lanes import Work
from workers.notifications.outcomes import Outcome


@dataclass(frozen=True)
class Told:
    """An outcome on its way to the database; `posted_at` in seconds by the run's clock."""

    work: Work
    outcome: Outcome
    posted_at: float | None


@dataclass
class Record:
    """The changing part of one call of `record_notification_progress`."""

    told: list[Told] = field(default_factory=list)
    finished: list[Notification] = field(default_factory=list)
    parks: list[dict[str, str | None]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    resumed: bool = False

    def __bool__(self) -> bool:
        return bool(self.told or self.finished or self.parks or self.released or self.resumed)

    def park(self, config_id: str, code: str, reason: str, destination: str | None) -> None:
        """Have a config wait; `destination` is what refused it, to be asked again later."""
        self.parks.append(
            {"config_id": config_id, "code": code, "reason": reason, "destination": destination}
        )

    def stop(self, code: str, reason: str) -> None:
        """Have all delivery wait."""
        self.parks.append({"config_id": None, "code": code, "reason": reason, "destination": None})

    def before(self, later: Record) -> Record:
        """Both in one, this one's first."""
        return Record(
            self.told + later.told,
            self.finished + later.finished,
            self.parks + later.parks,
            self.released + later.released,
            self.resumed or later.resumed,
        )

    def arguments(self, starting: Sequence[Work], now: float) -> dict[str, Any]:
        """The call's arguments, with the works that are to be announced."""
        return {
            "outcomes": [
                told.outcome.as_row(
                    told.work.delivery.id,
                    told.work.notification.token,
                    None if told.posted_at is None else now - told.posted_at,
                )
                for told in self.told
            ],
            "starting": [
                {"id": work.delivery.id, "token": work.notification.token} for work in starting
            ],
            "finished": [{"id": done.id, "token": done.token} for done in self.finished],
            "parks": self.parks,
            "released": self.released,
            "resumed": self.resumed,
        }
