"""What a sync is to do: the message of a plan, or a range that an operator asked for."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass

from workers.errors import PermanentError
from workers.metrics.windows import Window


@dataclass(frozen=True)
class SyncRequest:
    """One account (by its platform's main name and its id there) that is to be synced now; each
    request is carried out at most once."""

    platform: str
    account_id: str
    token: str

    def body(self) -> str:
        """As a message's text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_body(cls, body: str) -> SyncRequest:
        """The inverse of `body`. Raises PermanentError that says what is wrong with it."""
        try:
            values = json.loads(body)
            platform, account_id = values["platform"], values["account_id"]
            if not isinstance(platform, str) or not isinstance(account_id, str):
                raise TypeError
            return cls(platform, account_id, str(uuid.UUID(values["token"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PermanentError(
                "the message is not a sync request: it must be a JSON object with platform and "
                f"account_id, both texts, and token, a UUID ({type(error).__name__})",
                code="malformed_message",
            ) from None


# Called with a window that was read and stored, and the number of days still to come.
Progress = Callable[[Window, int], None]


@dataclass
class Backfill:
    """A range in the past that an operator asked for; `progress` is called for each window."""

    window: Window
    progress: Progress
