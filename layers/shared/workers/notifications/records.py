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
    resumed: bool = False

    def __bool__(self) -> bool:
        return bool(self.told or self.finished or self.parks or self.resumed)

    def pause(self, config_id: str | None, code: str, reason: str) -> None:
        """Park a config; None stops all delivery."""
        self.parks.append({"config_id": config_id, "code": code, "reason": reason})

    def before(self, later: Record) -> Record:
        """Both in one, this one's first."""
        return Record(
            self.told + later.told,
            self.finished + later.finished,
            self.parks + later.parks,
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
            "resumed": self.resumed,
        }
