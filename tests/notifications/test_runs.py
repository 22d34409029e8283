"""What is recorded of a run."""

from __future__ import annotations

import pytest

from tests.notifications.world import World
from workers.clock import SystemClock
from workers.composition import runs
from workers.errors import PermanentError


def test_a_run_that_cannot_be_recorded_still_has_its_outcome(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    database = world.new_database()
    monkeypatch.setattr(runs, "database", lambda: database)
    untellable = "Postgres takes no \x00 in a text"
    with (
        pytest.raises(PermanentError, match="Postgres takes no"),
        runs.recorded_run("notifications", SystemClock()),
    ):
        raise PermanentError(untellable, code="odd")
    with runs.recorded_run("notifications", SystemClock()) as record:
        record.end(untellable, succeeded=True, counts={})
    assert caplog.messages.count("The run could not be recorded") == 2
