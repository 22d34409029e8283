"""Everything that Slack and the way to it can do wrong, one scenario each."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from local.faults import (
    Fault,
    close,
    failing,
    hang,
    rate_limited,
    redirect,
    reset,
    slack_error,
    trickle,
    truncate,
)
from tests.notifications.world import World
from workers.errors import CredentialsError, TransientError

POST = {"path": "chat.postMessage"}
HISTORY = {"path": "conversations.history"}
AFTER = {"when": "after", **POST}


ACCEPTED_BUT_UNCONFIRMED = {
    "reset": reset(**AFTER),
    "closed": close(**AFTER),
    "truncated": truncate(**AFTER),
    "server error": failing(500, **AFTER),
    "gateway error": failing(503, **AFTER),
    "web page": Fault("answer", status=200, body="<html>Sign in to the network</html>", **AFTER),
    "no ts": Fault("answer", status=200, body='{"ok": true}', **AFTER),
    "an array": Fault("answer", status=200, body="[]", **AFTER),
    "redirect": redirect("https://elsewhere.example/", **AFTER),
    "internal_error": slack_error("internal_error", **AFTER),
    "fatal_error": slack_error("fatal_error", **AFTER),
    "hang": hang(5, **AFTER),
    "trickle": trickle(5, **AFTER),
}


@pytest.mark.parametrize("fault", ACCEPTED_BUT_UNCONFIRMED.values(), ids=ACCEPTED_BUT_UNCONFIRMED)
def test_accepted_but_unconfirmed_is_found_and_not_posted_again(world: World, fault: Fault) -> None:
    world.notify()
    world.spoil(fault)
    report = world.run(slack_timeout=0.4)
    assert report.counts["ambiguous"] == 1
    assert world.outcomes() == {None: 1}
    world.clock.advance(60)
    assert world.run().counts["reconciled"] == 1
    assert world.posts() == 1
    assert len(world.messages()) == 1
    (delivery,) = world.agency.deliveries()
    assert (delivery["message_ts"], delivery["attempts"]) == (
        f"{world.messages()[0].ts:.6f}", 0,
    )  # fmt: skip
    world.assert_kept()


@pytest.mark.parametrize(
    "fault",
    [reset(**POST), close(**POST), failing(503, **POST), hang(5, **POST)],
    ids=["reset", "closed", "503", "hang"],
)
def test_lost_before_it_was_accepted_is_posted_once_it_is_known_to_be_absent(
    world: World, fault: Fault
) -> None:
    world.notify()
    # "hang" before the effect: our connection is long gone when it would take effect, so it is
    # cut short here as a reset
    world.spoil(fault if fault.how != "hang" else reset(**POST))
    assert world.run().counts["ambiguous"] == 1
    assert world.messages() == []
    world.clock.advance(59)
    assert world.run().counts["sent"] == 0, "not looked for sooner than Slack's history settles"
    world.clock.advance(1)
    report = world.run()
    assert (report.counts["sent"], report.counts["possible_duplicates"]) == (1, 0)
    (message,) = world.messages()
    assert not message.is_marked
    world.assert_kept()


def test_one_read_of_the_history_serves_all_of_a_channel(world: World) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    ids = []
    for number in range(4):
        ids.append(world.queue(config, str(number)))
        world.clock.advance(0.001)
    world.leave_announced()
    world.clock.advance(171)
    report = world.run()
    assert report.counts["claimed"] == len(ids)
    assert world.slack_server.journal.count("conversations.history") == 1
    assert [m.text for m in world.messages()] == ["0", "1", "2", "3"]
    world.assert_kept()


def test_every_page_of_the_history_is_read(world: World) -> None:
    world.notify(text="the first")
    world.spoil(failing(503, **AFTER))
    world.run()
    other = world.agency.config("C0FIRST00", template="{{text}}")
    world.clock.advance(60)
    for number in range(7):
        world.queue(other, f"later {number}")
    world.workspace.configure({"page_size": 2})
    assert world.run().counts["reconciled"] == 1
    assert len([m for m in world.messages() if m.text == "the first"]) == 1
    world.assert_kept()


@pytest.mark.parametrize(
    "fault",
    [failing(503, **HISTORY), reset(**HISTORY), rate_limited(5, **HISTORY), truncate(**HISTORY)],
    ids=["503", "reset", "429", "truncated"],
)
def test_a_history_that_cannot_be_read_now_is_read_later(world: World, fault: Fault) -> None:
    world.notify()
    world.spoil(failing(503, **AFTER))
    world.run()
    world.clock.advance(60)
    world.spoil(fault)
    report = world.run()
    assert (report.counts["reconciled"], report.counts["sent"], world.posts()) == (0, 0, 1)
    world.run_until_ended()
    assert world.posts() == 1
    world.assert_kept()


def test_a_lagging_history_is_waited_for_before_anything_is_repeated(world: World) -> None:
    world.notify()
    world.workspace.configure({"history_lag": 45.0})
    world.spoil(failing(503, **AFTER))
    world.run_until_ended()
    assert world.posts() == 1
    world.assert_kept()


UNREADABLE: dict[str, Any] = {
    "no scope": lambda world: world.without_scopes("channels:history"),
    "no member": lambda world: world.change_channel("C0FIRST00", member=False),
}


@pytest.mark.parametrize("hide", UNREADABLE.values(), ids=UNREADABLE)
def test_where_the_bot_cannot_look_the_repeat_says_so(world: World, hide: Any) -> None:
    scopes = world.workspace.state()["tokens"]
    (token,) = scopes
    world.change_token(scopes=[*scopes[token]["scopes"], "chat:write.public"])
    hide(world)
    world.notify()
    world.spoil(failing(503, **AFTER))
    world.run()
    world.clock.advance(60)
    report = world.run()
    assert (report.counts["sent"], report.counts["possible_duplicates"]) == (1, 1)
    assert [m.is_marked for m in world.messages()] == [False, True]
    assert world.agency.deliveries()[0]["possible_duplicate"]
    world.assert_kept()


@pytest.mark.parametrize(
    "refusal",
    [
        rate_limited(300, **POST),
        slack_error("brand_new_error", **POST),
        slack_error("token_revoked", **POST),
        slack_error("not_in_channel", **POST),
    ],
    ids=lambda fault: fault.status if fault.status != 200 else fault.body[23:-2],
)
def test_a_repeat_that_is_refused_says_so_later_too(world: World, refusal: Fault) -> None:
    world.without_scopes("channels:history")
    world.notify()
    world.spoil(failing(503, **AFTER))
    world.run()
    world.clock.advance(60)
    world.spoil(refusal)
    with suppress(CredentialsError):
        world.run()
    world.clock.advance(300)
    world.run_until_ended()
    assert [m.is_marked for m in world.messages()] == [False, True]
    world.assert_kept()


def test_what_may_have_been_posted_is_looked_for_also_after_a_wait_of_its_channel(
    world: World,
) -> None:
    world.agency.channel("C0FIRST00")
    world.queue(world.agency.config(template="{{text}}"), "once")
    world.spoil(reset(**AFTER))
    world.run()
    world.connection.execute(
        "update slack_destinations set not_before = %s + interval '5 minutes'", (world.now,)
    )
    world.clock.advance(60)
    world.run()
    world.clock.advance(240)
    assert world.run().counts["reconciled"] == 1
    assert world.posts() == 1
    world.assert_kept()


def test_what_may_have_been_posted_does_not_hold_a_config_that_was_given_another_channel(
    world: World,
) -> None:
    world.without_scopes("channels:history")
    config = world.agency.config("C0FIRST00", template="{{text}}")
    world.queue(config, "first")
    world.spoil(failing(503, **POST))
    world.run()
    world.clock.advance(60)
    world.change_channel("C0FIRST00", archived=True)
    assert world.run().counts["parked"] == 1
    world.connection.execute("update notification_config set channel_id = 'C0OTHER00'")
    world.connection.execute("select release_parked_configs(as_of => %s)", (world.now,))
    world.queue(config, "second")
    world.run_until_ended(runs=2)
    assert [(m.channel, m.text) for m in world.messages()] == [
        ("C0OTHER00", "first"), ("C0OTHER00", "second"),
    ]  # fmt: skip


def test_where_the_bot_cannot_look_the_config_is_parked_if_so_set(world: World) -> None:
    world.without_scopes("channels:history")
    world.notify()
    world.spoil(failing(503, **AFTER))
    world.run()
    world.clock.advance(60)
    assert world.run(notification_unverifiable="park").counts["parked"] == 1
    assert [pause["code"] for pause in world.agency.pauses()] == ["unverifiable"]
    assert world.posts() == 1


def test_a_direct_message_is_looked_for_in_its_conversation(world: World) -> None:
    world.queue(world.agency.config(user_id=world.agency.user("U0AVA00000")))
    world.spoil(reset(**AFTER))
    world.run()
    world.clock.advance(60)
    assert world.run().counts["reconciled"] == 1
    assert world.posts() == 1
    world.assert_kept()


@pytest.mark.parametrize(
    ("fault", "least", "most"),
    [
        (rate_limited(5, **POST), 5, 12),
        (rate_limited(None, **POST), 30, 61),
        (rate_limited("soon", **POST), 30, 61),
        (rate_limited(-3, **POST), 30, 61),
        (
            Fault("answer", status=429, body="slow down", headers={"Retry-After": "4"}, **POST),
            4,
            12,
        ),
        (rate_limited(300, **POST), 300, 361),
    ],
    ids=["5 s", "none", "nonsense", "negative", "text", "5 min"],
)
def test_slack_asks_to_wait(world: World, fault: Fault, least: float, most: float) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(3):
        world.queue(config, str(number))
        world.clock.advance(0.001)
    started = world.now.timestamp()
    world.spoil(fault)
    total = world.run_until_ended()
    assert total.counts["rate_limited"] == 1
    assert [m.text for m in world.messages()] == ["0", "1", "2"]
    assert least <= world.messages()[0].ts - started <= most
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}
    world.assert_kept()


def test_after_a_wait_a_person_reads_in_order_what_was_queued_in_order(world: World) -> None:
    person = world.agency.config(user_id=world.agency.user("U0AVA00000"), template="{{text}}")
    # keeps the run busy, so that its records travel once a second
    other = world.agency.config("C0OTHER00", template="{{text}}")
    for number in range(20):
        world.queue(other, str(number))
    for number in range(2):
        world.queue(person, str(number))
        world.clock.advance(0.001)
    world.spoil(rate_limited(300, fields={"channel": "D0AVA00000"}, **POST))
    world.run()
    (held,) = world.connection.execute(
        "select not_before from slack_destinations where not_before is not null"
    )
    world.clock.advance((held["not_before"] - world.now).total_seconds() + 0.1)
    world.queue(person, "2")
    world.run_until_ended()
    assert [m.text for m in world.messages() if m.channel == "D0AVA00000"] == ["0", "1", "2"]


def test_while_one_channel_waits_the_others_go_on(world: World) -> None:
    world.notify("C0SLOW000")
    world.notify("C0FAST000")
    world.spoil(rate_limited(15, fields={"channel": "C0SLOW000"}, **POST))
    started = world.now.timestamp()
    world.run()
    arrived = {m.channel: m.ts - started for m in world.messages()}
    assert arrived["C0FAST000"] < 1
    assert arrived["C0SLOW000"] >= 15


@pytest.mark.parametrize("how", ["second channel", "message_limit_exceeded"])
def test_the_whole_workspace_waits(world: World, how: str) -> None:
    if how == "second channel":
        world.spoil(rate_limited(60, times=2, **POST))
    else:
        world.spoil(slack_error("message_limit_exceeded", **POST))
    for number in range(6):
        world.notify(f"C{number:08}", text=str(number))
    report = world.run(notification_concurrency=1)
    assert report.outcome == "waiting"
    assert report.counts["sent"] == 0
    before = world.posts()
    world.clock.advance(5)
    assert world.run().outcome == "waiting"
    assert world.posts() == before, "a run in the meantime posts nothing"
    world.run_until_ended()
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}
    world.assert_kept()


def test_an_enforced_rate_is_never_broken(world: World) -> None:
    world.workspace.configure({"rate_limit": True})
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(15):
        world.queue(config, str(number))
        world.clock.advance(0.001)
    total = world.run_until_ended()
    assert total.counts["rate_limited"] == 0
    assert len(world.messages()) == 15


def test_an_outage_burns_nothing_and_ends_in_order(world: World) -> None:
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


def test_slack_out_of_reach_trips_the_breaker_and_then_sends_one_probe(world: World) -> None:
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


@pytest.mark.parametrize("code", ["token_revoked", "invalid_auth", "missing_scope"])
def test_a_refused_token_stops_everything_and_burns_nothing(world: World, code: str) -> None:
    for number in range(10):
        world.notify(f"C{number:08}")
    if code == "missing_scope":
        world.without_scopes("chat:write")
    else:
        world.spoil(slack_error(code, times=None, **POST), slack_error(code, times=None))
    with pytest.raises(CredentialsError) as caught:
        world.run()
    assert caught.value.code == code
    assert world.outcomes() == {None: 10}
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}
    assert {d["state"] for d in world.agency.deliveries()} <= {"pending"}
    (pause,) = world.agency.pauses()
    assert (pause["config_id"], pause["code"]) == (None, code)


def test_revoked_in_mid_run_and_restored_three_days_later(world: World) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(6):
        world.queue(config, str(number))
        world.clock.advance(0.001)
    world.spoil(slack_error("token_revoked", skip=2, **POST))
    with pytest.raises(CredentialsError):
        world.run()
    assert world.outcomes() == {"sent": 2, None: 4}
    world.change_token(revoked=True)
    for _ in range(3):
        world.clock.advance(24 * 3600)
        posts = world.posts()
        with pytest.raises(CredentialsError):
            world.run()
        assert world.posts() == posts, "only the token is asked about"
    world.change_token(revoked=False)
    world.run_until_ended()
    assert [m.text for m in world.messages()] == [str(number) for number in range(6)]
    assert world.outcomes() == {"sent": 6}, "its clock stood still"
    assert world.agency.pauses()[0]["ended_at"] is not None
    world.assert_kept()


REFUSED: dict[str, Any] = {
    "is_archived": lambda world: world.change_channel("C0FIRST00", archived=True),
    "not_in_channel": lambda world: world.change_channel("C0FIRST00", member=False),
    "channel_not_found": lambda world: world.change_channel(
        "C0FIRST00", private=True, member=False
    ),
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_channel_parks_its_config_until_it_is_well(world: World, code: str) -> None:
    config = world.agency.config("C0FIRST00", template="{{text}}")
    for number in range(3):
        world.queue(config, str(number))
        world.clock.advance(0.001)
    world.notify("C0OTHER00", "fine")
    REFUSED[code](world)
    report = world.run()
    assert (report.counts["parked"], report.counts["sent"]) == (1, 1)
    (pause,) = world.agency.pauses()
    assert (str(pause["config_id"]), pause["code"]) == (config, code)
    posts = world.posts()
    for _ in range(9):
        world.clock.advance(4 * 3600)
        world.run()
    assert world.posts() == posts
    assert world.outcomes() == {None: 3, "sent": 1}, "what is parked does not age"
    world.change_channel("C0FIRST00")
    world.clock.advance(600)
    assert world.run().counts["unparked"] == 1
    world.run_until_ended()
    assert [m.text for m in world.messages() if m.channel == "C0FIRST00"] == ["0", "1", "2"]
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}
    world.assert_kept()


def test_a_parked_channel_is_asked_for_also_when_something_else_ends(world: World) -> None:
    config = world.agency.config("C0FIRST00", template="{{text}}")
    world.queue(config)
    off = world.agency.config("C0OTHER00", is_active=False)
    world.change_channel("C0FIRST00", archived=True)
    world.run()
    world.change_channel("C0FIRST00")
    world.clock.advance(600)
    world.queue(off)
    report = world.run()
    assert (report.counts["skipped"], report.counts["unparked"]) == (1, 1)


def test_a_refusal_that_passes_parks_nothing(world: World) -> None:
    world.notify()
    world.spoil(slack_error("channel_not_found", **POST))
    report = world.run()
    assert report.counts["parked"] == 0
    world.run_until_ended()
    assert len(world.messages()) == 1
    assert world.agency.pauses() == []


def test_a_refusal_seen_twice_parks_where_slack_cannot_be_asked(world: World) -> None:
    world.without_scopes("channels:read")
    world.notify()
    world.change_channel("C0FIRST00", archived=True)
    assert world.run().counts["parked"] == 0
    world.clock.advance(60)
    assert world.run().counts["parked"] == 1


def test_a_person_who_is_gone_parks_the_config(world: World) -> None:
    users = {"U0AVA00000": {"name": "Ava", "deactivated": True}}
    world.change_workspace(users=users)
    world.queue(world.agency.config(user_id=world.agency.user("U0AVA00000")))
    world.run()
    world.clock.advance(60)
    assert world.run().counts["parked"] == 1
    assert [pause["code"] for pause in world.agency.pauses()] == ["user_disabled"]


def test_a_released_config_goes_on(world: World) -> None:
    config = world.agency.config("C0FIRST00", template="{{text}}")
    world.queue(config)
    world.change_channel("C0FIRST00", archived=True)
    world.run()
    world.change_channel("C0FIRST00")
    world.connection.execute("select release_parked_configs(%s, %s)", (config, world.now))
    assert world.run().counts["sent"] == 1


def test_a_corrected_channel_gets_what_waited(world: World) -> None:
    config = world.agency.config("C0WRONG00", template="{{text}}")
    world.queue(config)
    world.change_channel("C0WRONG00", archived=True)
    world.run()
    world.connection.execute("update notification_config set channel_id = 'C0RIGHT00'")
    world.connection.execute("select release_parked_configs(as_of => %s)", (world.now,))
    assert world.run().counts["sent"] == 1
    assert [m.channel for m in world.messages()] == ["C0RIGHT00"]


def test_a_refused_message_is_dead_at_once_in_slacks_words(world: World) -> None:
    id_ = world.notify()
    body = '{"ok": false, "error": "invalid_arguments", "response_metadata": {"messages": ["[ERROR] odd"]}}'  # noqa: E501
    world.spoil(Fault("answer", status=200, body=body, **POST))
    assert world.run().counts["dead"] == 1
    row = world.agency.queued(id_)
    assert (row["outcome"], row["attempts"], row["is_processed"]) == ("dead", 5, False)
    assert "invalid_arguments" in row["last_error"]
    assert "[ERROR] odd" in row["last_error"]
    assert world.posts() == 1


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_too_long", "msg_blocks_too_long"])
def test_refused_formatting_goes_out_as_plain_text(world: World, code: str) -> None:
    world.notify(text="plain enough")
    world.spoil(slack_error(code, **POST))
    assert world.run().counts["sent"] == 1
    (message,) = world.workspace.state()["messages"]["C0FIRST00"]
    assert (message["text"], message["blocks"]) == ("plain enough", [])


def test_refused_as_plain_text_too_is_dead(world: World) -> None:
    world.notify()
    world.spoil(slack_error("msg_too_long", times=2, **POST))
    assert world.run().counts["dead"] == 1
    assert world.posts() == 2


def test_an_unknown_code_is_tried_again_and_then_dead(world: World) -> None:
    id_ = world.notify()
    world.spoil(slack_error("brand_new_error", times=None, **POST))
    started = world.now
    total = world.run_until_ended(runs=20)
    assert (total.counts["retried"], total.counts["dead"]) == (4, 1)
    assert total.counts["unknown_codes"] == 5
    assert world.posts() == 5
    row = world.agency.queued(id_)
    assert (row["attempts"], row["outcome"]) == (5, "dead")
    assert "brand_new_error" in row["last_error"]
    # 30, 60, 120 and 240 s at the least, each up to a fifth and a minute's run more
    assert 450 <= (world.now - started).total_seconds() <= 450 * 1.2 + 4 * 60


def test_what_failed_does_not_keep_the_next_one_waiting(world: World) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for text in ("first", "second"):
        world.queue(config, text)
        world.clock.advance(0.001)
    world.spoil(slack_error("brand_new_error", **POST))
    assert world.run().counts["sent"] == 1
    world.run_until_ended()
    assert [m.text for m in world.messages()] == ["second", "first"]


def test_a_redriven_notification_is_delivered(world: World) -> None:
    id_ = world.notify()
    world.spoil(slack_error("no_text", **POST))
    world.run()
    world.connection.execute("select redrive_notifications(%s, as_of => %s)", (id_, world.now))
    assert world.run().counts["sent"] == 1
    world.assert_kept()


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
def test_the_data_api_fails_for_a_moment(world: World, fault: Fault) -> None:
    for number in range(5):
        world.notify(f"C{number:08}")
    world.between.faults.add(fault)
    report = world.run()
    assert report.counts["sent"] == 5
    assert world.outcomes() == {"sent": 5}
    assert world.posts() == 5
    world.assert_kept()


def test_what_cannot_be_announced_is_not_posted(world: World) -> None:
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


def test_a_lost_claim_comes_back_with_its_lease(world: World) -> None:
    world.notify()
    world.between.faults.add(reset(when="after", path="lock_and_get_notifications"))
    with pytest.raises(TransientError):
        world.run()
    assert world.run().counts["sent"] == 0
    world.clock.advance(170)
    assert world.run().counts["sent"] == 1
    world.assert_kept()


def test_nothing_told_holds_a_secret(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        world.notify(f"C{number:08}")
    faults = [
        reset(**POST),
        slack_error("odd", **POST),
        failing(500, **POST),
        slack_error("no_text"),
    ]
    world.spoil(*faults)
    world.run_until_ended(runs=20)
    told = capfd.readouterr()
    errors = [str(d["error"]) for d in world.agency.deliveries()]
    for text in (told.out, told.err, *errors, *(str(r["last_error"]) for r in world.queued())):
        assert "xoxb-" not in text
        assert world.api.keys.secret not in text


def test_gaps_stay_wide_when_a_channel_fails_now_and_then(world: World) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(10):
        world.queue(config, str(number))
    world.spoil(*(rate_limited(2, skip=skip, **POST) for skip in (2, 3, 4)))
    world.run_until_ended()
    times = [m.ts for m in world.messages()]
    assert min(b - a for a, b in pairwise(times)) >= 1
