"""Refused credentials park their connection; access tokens are renewed where possible."""

from __future__ import annotations

from datetime import timedelta

from local.fakes.google_ads import google_error
from local.fakes.linkedin import token_expired as linkedin_token_expired
from local.fakes.meta import token_expired
from tests.metrics.connected import GOOGLE_AD, LINKEDIN, META_AD, linkedin_ads
from tests.metrics.platform_calls import ANALYTICS, INSIGHTS, STREAM
from tests.metrics.sessions import Between
from tests.metrics.world import SECRETS, World


def test_refused_credentials_are_reported_once_and_tried_again_when_changed(world: World) -> None:
    world.meta_account("1001", ads=[{"id": META_AD, "name": "Film"}])
    connection = world.connect_meta(
        "1001", credentials={"access_token": "EAALOCALofYesterday000001"}
    )
    config = world.agency.config(
        "C0OPERATORS", entity_type="platform_connection", event_type="sync_failed",
        template="{{account_name}}: {{error}}",
    )  # fmt: skip
    assert world.sync_all()[connection].is_parked
    (queued,) = world.rows("select * from notification_queue")
    assert str(queued["config_id"]) == config
    assert queued["event_data"]["account_name"] == "Connection to act_1001"
    assert "EAALOCAL" not in str(queued)

    for _ in range(3):
        world.next_day()
        assert world.plan()[0] == [], "parked"
    world.connection.execute(
        "update platform_connections set credentials = "
        "jsonb_build_object('access_token', %s::text, 'app_secret', %s::text) where id = %s",
        (SECRETS[0], SECRETS[1], connection),
    )
    assert world.sync_all()[connection].status == "success"
    assert world.state(connection)["parked_at"] is None
    assert len(world.rows("select 1 from notification_queue")) == 2, "and that it works again"


def test_credentials_that_are_stored_during_a_refused_sync_are_not_parked(world: World) -> None:
    world.meta_account("1001")
    connection = world.connect_meta("1001")
    world.meta.faults.add(token_expired(**INSIGHTS))
    replace = Between(
        lambda: world.connection.execute(
            "update platform_connections set credentials = credentials || '{\"new\": 1}'"
        ),
        level="ad",
    )
    with replace as session:
        world.session, usual = session, world.session
        assert world.sync_all()[connection].status == "failed"
    world.session = usual
    world.meta.faults.clear()
    assert world.sync_all()[connection].status == "success"


def test_an_expired_access_token_is_renewed_once(world: World) -> None:
    world.google_account("5000000001", ads=[{"id": GOOGLE_AD, "name": "Banner"}])
    connection = world.connect_google("5000000001")
    world.google.faults.add(
        google_error("authenticationError", "OAUTH_TOKEN_EXPIRED", 401, **{**STREAM, "times": 1})
    )
    assert world.sync_all()[connection].status == "success"
    assert world.google.journal.count("/token") == 2

    world.later(timedelta(minutes=1))
    world.google.faults.add(
        google_error("authenticationError", "OAUTH_TOKEN_EXPIRED", 401, **STREAM)
    )
    assert world.sync_again()[connection].is_parked


def test_an_access_token_of_linkedin_is_renewed_where_it_can_be(world: World) -> None:
    connection, served = linkedin_ads(world)
    world.linkedin.faults.add(linkedin_token_expired(**{**ANALYTICS, "times": 1}))
    assert world.sync_all()[connection].status == "success"
    assert world.linkedin.journal.count("/token") == 2
    assert world.figures("linkedin") == world.expected(served)

    stored = "AQlocalLinkedinStoredToken00000000000000042"
    world.change_account(world.linkedin, LINKEDIN, tokens=[stored])
    world.connection.execute(
        "update platform_connections set credentials = jsonb_build_object('access_token', %s::text)"
        " where id = %s",
        (stored, connection),
    )
    assert world.sync_again()[connection].status == "success"
    assert world.linkedin.journal.count("/token") == 2, "there is nothing to exchange"
    world.linkedin.faults.add(linkedin_token_expired(**ANALYTICS))
    assert world.sync_again()[connection].is_parked
