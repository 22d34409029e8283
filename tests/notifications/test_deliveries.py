"""A queue and a workspace without problems."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.notifications.world import World


def test_a_queue_is_drained_in_order_at_the_channels_pace(world: World) -> None:
    first, second = (
        world.agency.config(c, template="{{text}}") for c in ("C0ONE0000", "C0TWO0000")
    )
    for number in range(12):
        world.queue(first, str(number))
        world.queue(second, str(number))
        world.clock.advance(0.01)
    report = world.run()
    assert (report.outcome, report.counts["sent"]) == ("drained", 24)
    by_channel: dict[str, list[Any]] = defaultdict(list)
    for message in world.messages():
        by_channel[message.channel].append(message)
    for messages in by_channel.values():
        assert [m.text for m in messages] == [str(number) for number in range(12)]
        gaps = [b.ts - a.ts for a, b in pairwise(messages)]
        assert min(gaps) >= 1
    world.assert_kept()


def test_the_pace_holds_from_run_to_run(world: World) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(3):
        world.queue(config, str(number))
        world.run()
    times = [message.ts for message in world.messages()]
    assert min(b - a for a, b in pairwise(times)) >= 1


def test_the_workspace_has_its_own_pace(world: World) -> None:
    for number in range(20):
        world.notify(f"C{number:08}")
    world.run(slack_workspace_burst=5.0, slack_workspace_rate=2.0)
    times = [message.ts for message in world.messages()]
    for start in times:
        within = sum(start <= time < start + 4 for time in times)
        assert within <= 5 + 2 * 4
    assert times[-1] - times[0] >= 7


def test_the_next_run_lacks_the_tokens_that_one_run_used(world: World) -> None:
    limits = {"slack_workspace_burst": 5.0, "slack_workspace_rate": 0.1}
    for number in range(5):
        world.notify(f"C{number:08}")
    assert world.run(**limits).counts["sent"] == 5
    started = world.now
    world.notify("C99999999")
    world.run(**limits)
    assert (world.now - started).total_seconds() >= 9


def test_with_both_limits_off_nothing_waits(world: World) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(40):
        world.queue(config, f"{number:02}")
        world.clock.advance(0.001)
    started = world.now
    world.run(slack_channel_rate=0.0, slack_workspace_rate=0.0)
    assert [m.text for m in world.messages()] == [f"{n:02}" for n in range(40)]
    assert (world.now - started).total_seconds() < 5


def test_a_noisy_config_does_not_keep_another_waiting(world: World) -> None:
    noisy = world.agency.config("C0NOISY00", template="{{text}}")
    world.connection.execute(
        "insert into notification_queue (config_id, entity_id, entity_type, next_attempt_at) "
        "select %s, gen_random_uuid(), 'request', %s from generate_series(1, 2000)",
        (noisy, world.now),
    )
    quiet = world.notify("C0QUIET00", "me too")
    world.run(seconds=20)
    (message,) = [m for m in world.messages() if m.channel == "C0QUIET00"]
    assert message.ts - world.messages()[0].ts < 1
    assert world.agency.queued(quiet)["outcome"] == "sent"


def test_a_new_notification_joins_a_run_under_way(world: World) -> None:
    """While a noisy channel is being drained, another config's new row is posted within seconds."""
    noisy = world.agency.config("C0NOISY00", template="{{text}}")
    for _ in range(60):
        world.queue(noisy)
    late = world.agency.config("C0LATE000", template="{{text}}")
    world.queue(late, next_attempt_at=None, created_at=world.now)
    world.connection.execute(
        "update notification_queue set next_attempt_at = %s + interval '10 seconds' "
        "where config_id = %s",
        (world.now, late),
    )
    started = world.now.timestamp()
    world.run()
    (message,) = [m for m in world.messages() if m.channel == "C0LATE000"]
    assert 10 <= message.ts - started < 17


def test_a_run_ends_before_its_deadline_and_releases_the_rest(world: World) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(50):
        world.queue(config, str(number))
        world.clock.advance(0.001)
    started = world.clock.now()
    report = world.run(seconds=15)
    assert report.outcome == "deadline"
    assert world.clock.now() - started <= 15
    assert 5 <= report.counts["sent"] < 15
    assert report.counts["released"] > 0
    waiting = [row for row in world.queued() if row["outcome"] is None]
    assert all(row["claim_token"] is None and row["attempts"] == 0 for row in waiting)
    world.run()
    assert [m.text for m in world.messages()] == [str(number) for number in range(50)]


def test_the_lease_is_released_within_the_time_that_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(10):
        world.queue(config, str(number))
    database = world.new_database()
    briefly, given = database.call_briefly, []

    def timed(function: str, within: float, **arguments: Any) -> Any:
        given.append((function, within <= deadline - world.clock.now()))
        return briefly(function, within, **arguments)

    monkeypatch.setattr(database, "call_briefly", timed)
    monkeypatch.setattr(world, "new_database", lambda: database)
    deadline = world.clock.now() + 8
    assert world.run(seconds=8).outcome == "deadline"
    assert given == [("finish_notification_run", True)]


def test_two_destinations_are_two_deliveries(world: World) -> None:
    world.agency.channel("C0ALL0000")
    world.agency.channel("C0CREATE0", "creative")
    request = world.agency.request("creative")
    config = world.agency.config(template="{{text}}")
    world.agency.notification(
        config, {"text": "both", "request_id": request}, next_attempt_at=world.now
    )
    assert world.run().counts["sent"] == 2
    assert {m.channel for m in world.messages()} == {"C0ALL0000", "C0CREATE0"}
    assert world.outcomes() == {"sent": 1}


def test_a_direct_message_needs_no_opening(world: World) -> None:
    config = world.agency.config(user_id=world.agency.user("U0AVA00000"), template="{{text}}")
    for _ in range(3):
        world.queue(config)
    world.run()
    world.queue(config)
    world.run()
    assert {m.channel for m in world.messages()} == {"D0AVA00000"}
    assert len(world.messages()) == 4
    assert world.slack_server.journal.count("conversations.open") == 0


def test_a_second_run_at_the_same_time_returns_at_once(world: World) -> None:
    world.notify()
    world.connection.execute(
        "select start_notification_run(gen_random_uuid(), as_of => %s)", (world.now,)
    )
    assert world.run().outcome == "busy"
    assert world.messages() == []
    world.clock.advance(30)
    assert world.run().counts["sent"] == 1, "the first run's lease has expired"


def test_a_run_that_loses_its_lease_stops(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        world.notify(f"C{number:08}")
    database = world.new_database()
    call = database.call

    def overtaken(function: str, **arguments: Any) -> Any:
        if function == "record_notification_progress":
            world.connection.execute("update worker_leases set holder = gen_random_uuid()")
        return call(function, **arguments)

    monkeypatch.setattr(database, "call", overtaken)
    monkeypatch.setattr(world, "new_database", lambda: database)
    assert world.run().outcome == "lease_lost"
    assert world.posts() == 0
    assert {row["claim_token"] for row in world.queued()} == {None}


def test_last_months_rows_are_expired_not_posted(world: World) -> None:
    old = {"next_attempt_at": None, "created_at": world.now - timedelta(days=31)}
    for _ in range(3):
        world.notify(**old)
    report = world.run()
    assert report.counts["expired"] == 3
    assert world.messages() == []
    assert world.outcomes() == {"expired": 3}


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (None, "{{text}}"),
        ([1, 2], "{{text}}"),
        ("text", "{{text}}"),
        ({"text": "<!channel> @here <@U1> &amp; {{key}}"}, None),
        ({"text": "👩‍👩‍👧‍👦 שלום עולם " * 3}, None),
        ({"text": "x" * 50_000}, None),
        ({"text": None}, "Status change"),
        ({"text": {"nested": [None, True, {"a": "<b>"}]}}, None),
    ],
)
def test_any_data_is_delivered_or_dead_with_a_reason(
    world: World, data: Any, shown: str | None
) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    world.agency.notification(config, data, next_attempt_at=world.now)
    assert world.run().counts["sent"] == 1
    (message,) = world.messages()
    if shown is not None:
        assert shown in message.text
    assert "<!" not in message.text
    assert "<@" not in message.text


@pytest.mark.parametrize("template", [None, "", "   ", "{{nothing}}"])
def test_any_template_gives_a_visible_message(world: World, template: str | None) -> None:
    config = world.agency.config("C0ONE0000", template=template)
    world.agency.notification(config, {"nothing": None}, next_attempt_at=world.now)
    assert world.run().counts["sent"] == 1
    assert world.messages()[0].text.strip()
