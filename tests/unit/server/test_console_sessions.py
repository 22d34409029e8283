"""Tokens work once; sessions end when they are not used."""

from __future__ import annotations

from server.console.sessions import KEPT_FOR, MOST_SESSIONS, Sessions


class Clock:
    """Seconds that a test moves."""

    now = 0.0


def begun(sessions: Sessions) -> str:
    session = sessions.begin(sessions.new_token())
    assert session is not None
    return session


def test_a_session_lasts_as_long_as_it_is_used() -> None:
    clock = Clock()
    sessions = Sessions(lambda: clock.now)
    session = begun(sessions)
    for _ in range(3):
        clock.now += KEPT_FOR
        assert sessions.is_valid(session)
    clock.now += KEPT_FOR + 1
    assert not sessions.is_valid(session)
    assert not sessions.is_valid(session)


def test_a_token_works_once_and_until_the_next() -> None:
    sessions = Sessions(lambda: 0.0)
    assert sessions.begin("") is None
    assert not sessions.has_token
    old, token = sessions.new_token(), sessions.new_token()
    assert sessions.has_token
    assert sessions.begin(old) is None
    assert sessions.begin(f"{token}x") is None
    assert sessions.begin("\udcff") is None
    assert sessions.begin(token) is not None
    assert sessions.begin(token) is None


def test_sessions_are_limited_and_the_least_recently_used_end() -> None:
    clock = Clock()
    sessions = Sessions(lambda: clock.now)
    first, second = begun(sessions), begun(sessions)
    for number in range(MOST_SESSIONS - 1):
        clock.now = number + 1.0
        assert sessions.is_valid(first)
        begun(sessions)
    assert sessions.is_valid(first)
    assert not sessions.is_valid(second)
