"""The message from the plan to a sync: which connection, and the plan's token for it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from workers.errors import PermanentError


@dataclass(frozen=True)
class SyncOrder:
    """One connection that is to be synced now; the order counts once."""

    connection_id: str
    token: str

    def body(self) -> str:
        """As a message's text."""
        return json.dumps({"connection_id": self.connection_id, "token": self.token})

    @classmethod
    def from_body(cls, body: str) -> SyncOrder:
        """The inverse of `body`. Raises PermanentError that says what is wrong with it."""
        try:
            values = json.loads(body)
            return cls(str(uuid.UUID(values["connection_id"])), str(uuid.UUID(values["token"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PermanentError(
                "the message is no sync order: it must be a JSON object with connection_id and "
                f"token, both UUIDs ({type(error).__name__})",
                code="malformed_message",
            ) from None
