"""Each ring calls every listener, and no one else."""

from __future__ import annotations

from workers.notifications.doorbell import Doorbell


def test_every_listener_is_called() -> None:
    called: list[str] = []
    bell = Doorbell()
    bell.ring()
    with bell.listening(lambda: called.append("one")):
        with bell.listening(lambda: called.append("two")):
            bell.ring()
        bell.ring()
    bell.ring()
    assert called == ["one", "two", "one"]
