"""Whoever answers hears each ring, and nobody else does."""

from __future__ import annotations

from workers.notifications.doorbell import Doorbell


def test_every_listener_is_called() -> None:
    heard: list[str] = []
    bell = Doorbell()
    bell.ring()
    with bell.listening(lambda: heard.append("one")):
        with bell.listening(lambda: heard.append("two")):
            bell.ring()
        bell.ring()
    bell.ring()
    assert heard == ["one", "two", "one"]
