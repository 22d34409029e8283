"""Who may look: a token that is good once, and the sessions that were begun with one."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

# A session that nobody has used for so many seconds is over.
KEPT_FOR: Final = 12 * 3600.0
MOST_SESSIONS: Final = 100
_BYTES: Final = 32


class Sessions:
    """The sessions of one process; they end with it."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now`: seconds that only go forward."""
        self._now = now
        self._token: str | None = None
        self._used_at: dict[str, float] = {}
        self._names: dict[str, str] = {}
        self._secret = secrets.token_bytes(_BYTES)

    @property
    def has_token(self) -> bool:
        """Whether there is a token that nobody has used yet."""
        return self._token is not None

    def new_token(self) -> str:
        """A token with which one session may be begun; no earlier one is good any more."""
        self._token = secrets.token_urlsafe(_BYTES)
        return self._token

    def begin(self, token: str) -> str | None:
        """A session for a good token, which is used up by it."""
        if self._token is None or not _are_same(token, self._token):
            return None
        self._token = None
        session = secrets.token_urlsafe(_BYTES)
        self._used_at[session] = self._now()
        for oldest in sorted(self._used_at, key=self._used_at.__getitem__)[:-MOST_SESSIONS]:
            self._end(oldest)
        return session

    def goes_on(self, session: str) -> bool:
        """Whether that session was begun here and is not over."""
        now = self._now()
        used_at = self._used_at.get(session)
        if used_at is None:
            return False
        if now - used_at > KEPT_FOR:
            self._end(session)
            return False
        self._used_at[session] = now
        return True

    def form_token(self, session: str) -> str:
        """What the forms of that session's pages have, and no other's."""
        return hmac.new(self._secret, session.encode(), hashlib.sha256).hexdigest()

    def call(self, session: str, name: str) -> None:
        """Whoever has that session says who they are."""
        self._names[session] = name

    def name(self, session: str) -> str | None:
        """Who they said they are."""
        return self._names.get(session)

    def _end(self, session: str) -> None:
        del self._used_at[session]
        self._names.pop(session, None)


def _are_same(given: str, known: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())
