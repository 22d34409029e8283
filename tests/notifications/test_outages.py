"""Slack is down or unreachable: no attempt is used up, and a single probe goes first."""

from __future__ import annotations

from local.faults import failing
from tests.notifications.slack_calls import POST
from tests.notifications.world import World


def test_an_outage_uses_no_attempt_and_ends_in_order(world: World) -> None:
    configs = [world.agency.config(f"C{n:08}", template="{{text}}") for n in range(8)]
    for number in range(5):
        for config in configs:
            world.queue(config, str(number))
        world.clock.advance(0.001)
    world.spoil(failing(503, times=None, **POST))
    for _ in range(30):
        report = world.run()
        assert report.counts["sent"] == 0
        world.clock.advance(60)
    assert world.posts() <= 30 * 8
    world.slack_server.faults.clear()
    world.run_until_ended()
    for channel in {m.channel for m in world.messages()}:
        texts = [m.text for m in world.messages() if m.channel == channel]
        assert texts == ["0", "1", "2", "3", "4"]
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}
    assert world.outcomes() == {"sent": 40}
    world.assert_kept()


def test_unreachable_slack_trips_the_breaker_and_then_gets_one_probe(world: World) -> None:
    for number in range(20):
        world.notify(f"C{number:08}")
    world.slack_server.stop()
    report = world.run()
    assert report.outcome == "slack_unavailable"
    assert report.counts["ambiguous"] == 0
    assert world.outcomes() == {None: 20}
    assert {d["state"] for d in world.agency.deliveries()} == {"pending"}
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}


def test_after_an_outage_one_probe_goes_first(world: World) -> None:
    for number in range(20):
        world.notify(f"C{number:08}")
    world.spoil(failing(503, times=None, **POST))
    assert world.run(notification_concurrency=4).outcome == "slack_unavailable"
    before = world.posts()
    world.clock.advance(60)
    assert world.run(notification_concurrency=4).outcome == "slack_unavailable"
    assert world.posts() == before + 1
