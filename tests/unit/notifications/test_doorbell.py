"""Whoever answers hears each ring, and nobody else does."""

from __future__ import annotations

from workers.notifications.doorbell import Doorbell


def test_a_ring_is_heard_while_somebody_answers() -> None:
    bell, heard = Doorbell(), list[str]()
    assert not bell.ring()
    with bell.answered_by(lambda: heard.append("one")):
        with bell.answered_by(lambda: heard.append("other")):
            assert bell.ring()
        assert bell.ring()
    assert not bell.ring()
    assert heard == ["one", "other", "one"]
