"""The data API fails before, during and after a run's posts."""

from __future__ import annotations

import pytest

from local.faults import Fault, failing, gateway_error, reset
from tests.notifications.world import World
from workers.errors import TransientError

RECORD = {"path": "record_notification_progress"}
GARBLED = {"Content-Type": "application/json", "Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    "fault",
    [
        failing(503, skip=1, times=2, **RECORD),
        reset(skip=1, times=2, **RECORD),
        reset(when="after", times=2, **RECORD),
        reset(when="after", skip=1, times=1, **RECORD),
        Fault("answer", status=200, body="no gzip", headers=GARBLED, skip=1, **RECORD),
    ],
    ids=[
        "down",
        "reset",
        "answer of the announcement lost",
        "answer of the record lost",
        "garbled",
    ],
)
def test_the_data_api_fails_briefly(world: World, fault: Fault) -> None:
    for number in range(5):
        world.notify(f"C{number:08}")
    world.between.faults.add(fault)
    report = world.run()
    assert report.counts["sent"] == 5
    assert world.outcomes() == {"sent": 5}
    assert world.posts() == 5
    world.assert_kept()


def test_nothing_is_posted_without_its_announcement(world: World) -> None:
    for number in range(3):
        world.notify(f"C{number:08}")
    world.between.faults.add(failing(503, times=None, **RECORD))
    with pytest.raises(TransientError):
        world.run()
    assert world.posts() == 0


def test_the_data_api_is_down_from_the_post_until_after_the_lease(world: World) -> None:
    for number in range(3):
        world.notify(f"C{number:08}")
    world.between.faults.add(failing(503, skip=1, times=None, **RECORD))
    with pytest.raises(TransientError):
        world.run()
    assert world.outcomes() == {None: 3}
    assert len(world.messages()) == 3
    world.between.faults.clear()
    world.clock.advance(200)
    total = world.run_until_ended()
    assert total.counts["reconciled"] == 3
    assert world.posts() == 3
    world.assert_kept()


def test_the_data_api_is_down_from_the_start(world: World) -> None:
    world.notify()
    world.between.faults.add(failing(503, times=None))
    with pytest.raises(TransientError, match="start_notification_run"):
        world.run()
    world.between.faults.clear()
    assert world.run().counts["sent"] == 1


def test_one_lost_answer_at_the_start_does_not_fail_the_run(world: World) -> None:
    world.notify()
    world.between.faults.add(reset(when="after", path="start_notification_run"))
    assert world.run().counts["sent"] == 1


def test_a_lost_claim_is_free_for_the_next_run(world: World) -> None:
    world.notify()
    world.between.faults.add(reset(when="after", path="claim_notifications"))
    with pytest.raises(TransientError):
        world.run()
    assert world.run().counts["sent"] == 1
    world.assert_kept()


@pytest.mark.parametrize("skip", [0, 1], ids=["announcement", "record"])
def test_a_gateway_error_in_json_without_a_code_has_no_effect(world: World, skip: int) -> None:
    for number in range(5):
        world.notify(f"C{number:08}")
    said = "An invalid response was received from the upstream server"
    fault = gateway_error(502, said, path="record_notification_progress", skip=skip)
    world.between.faults.add(fault)
    assert world.run().counts["sent"] == 5
    assert world.outcomes() == {"sent": 5}
    world.assert_kept()
