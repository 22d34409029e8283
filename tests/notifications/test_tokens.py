"""The bot token: a refused one stops everything and uses up no attempt; no output shows it."""

from __future__ import annotations

import pytest

from local.faults import failing, reset, slack_error
from tests.notifications.slack_calls import POST
from tests.notifications.world import World
from workers.errors import CredentialsError


@pytest.mark.parametrize("code", ["token_revoked", "invalid_auth", "missing_scope"])
def test_a_refused_token_stops_everything_and_uses_no_attempt(world: World, code: str) -> None:
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
    assert world.agency.stopped() == code


def test_a_token_revoked_during_a_run_and_restored_three_days_later(world: World) -> None:
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
        assert world.posts() == posts + 1, "one message is tried"
    world.change_token(revoked=False)
    world.run_until_ended()
    assert [m.text for m in world.messages()] == [str(number) for number in range(6)]
    assert world.outcomes() == {"sent": 6}, "its clock was paused"
    assert world.agency.stopped() is None
    world.assert_kept()


def test_no_output_contains_a_secret(world: World, capfd: pytest.CaptureFixture[str]) -> None:
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
    output = capfd.readouterr()
    errors = [str(d["error"]) for d in world.agency.deliveries()]
    for text in (output.out, output.err, *errors, *(str(r["last_error"]) for r in world.queued())):
        assert "xoxb-" not in text
        assert world.api.keys.secret not in text
