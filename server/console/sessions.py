"""Who may use the console: a token that works once, and the sessions begun with one."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

# Seconds without a request after which a session ends.
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
        """Whether there is a token that has not been used."""
        return self._token is not None

    def new_token(self) -> str:
        """A token that begins one session; earlier tokens no longer work."""
        self._token = secrets.token_urlsafe(_BYTES)
        return self._token

    def begin(self, token: str) -> str | None:
        """A session for a valid token, which is used up; None for any other."""
        if self._token is None or not _are_same(token, self._token):
            return None
        self._token = None
        session = secrets.token_urlsafe(_BYTES)
        self._used_at[session] = self._now()
        for oldest in sorted(self._used_at, key=self._used_at.__getitem__)[:-MOST_SESSIONS]:
            self._end(oldest)
        return session

    def is_valid(self, session: str) -> bool:
        """Whether this session was begun here and has not ended; it counts as used now."""
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
        """What only the forms on this session's pages have."""
        return hmac.new(self._secret, session.encode(), hashlib.sha256).hexdigest()

    def set_name(self, session: str, name: str) -> None:
        """Remembers who uses this session, as they call themselves."""
        self._names[session] = name

    def name(self, session: str) -> str | None:
        """Who uses this session, as they call themselves; None where they have not said."""
        return self._names.get(session)

    def _end(self, session: str) -> None:
        del self._used_at[session]
        self._names.pop(session, None)


def _are_same(given: str, known: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())
