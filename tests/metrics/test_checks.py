"""What a platform says about a connection when asked without a sync."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.metrics.world import (
    GOOGLE_CLIENT,
    GOOGLE_REFRESH,
    GOOGLE_SECRET,
    META_SECRET,
    META_TOKEN,
    World,
)
from workers.answers import Answer
from workers.doctor.platform_checks import check_allowances
from workers.doctor.report import Account
from workers.errors import ConnectionCredentialsError
from workers.findings import Finding
from workers.metrics.platforms import PLATFORMS
from workers.metrics.platforms.fetching import Reader
from workers.metrics.platforms.protocol import Connection


def findings(world: World, connection_id: str) -> list[Finding]:
    return list(iter_findings(world, connection_id))


def iter_findings(world: World, connection_id: str) -> Iterator[Finding]:
    (row,) = world.rows(
        "select id::text, platform, account_id, account_name, credentials "
        "from platform_connections where id = %s",
        connection_id,
    )
    connection = Connection.from_answer(Answer("f", row))
    platform = PLATFORMS[connection.platform].open(connection, world.settings)
    reader = Reader(platform, world.session, world.clock, 60.0, lambda: 0.5)
    return platform.check(reader.fetch_json)


def test_a_meta_account(world: World) -> None:
    world.meta_account("1001", account_status=1)
    *_, found = findings(world, world.connect_meta("1001"))
    assert (found.level, found.fix) == ("ok", "")
    assert "EUR, Europe/Oslo" in found.text
    world.change_account(world.meta, "1001", account_status=2)
    *_, found = findings(world, world.connect_meta("1001"))
    assert found.level == "warning"
    assert "Ads Manager" in found.fix


def test_a_google_account(world: World) -> None:
    world.google_account("5000000001")
    (found,) = findings(world, world.connect_google("5000000001"))
    assert found.level == "ok"
    assert "EUR, Europe/Oslo, ENABLED" in found.text


def test_a_google_account_below_a_manager(world: World) -> None:
    world.google_account("5000000001", manager="9000000001")
    world.google_account("9000000001", is_manager=True)
    credentials = {
        "refresh_token": GOOGLE_REFRESH,
        "client_id": GOOGLE_CLIENT,
        "client_secret": GOOGLE_SECRET,
        "login_customer_id": "900-000-0001",
    }
    connection = world.connect_google("5000000001", credentials=credentials)
    assert [found.level for found in findings(world, connection)] == ["ok"]


def test_a_meta_version_that_is_about_to_end(world: World) -> None:
    world.meta_account("1001", account_status=1)
    world.meta.app.configure({"version_warning": "The call has been auto-upgraded to v27.0"})
    _, account, version = findings(world, world.connect_meta("1001"))
    assert (account.level, version.level) == ("ok", "warning")
    assert "META_API_VERSION" in version.fix


def test_a_tiktok_account(world: World) -> None:
    world.tiktok_account("7000000000000000001")
    connection = world.connect_tiktok("7000000000000000001")
    (found,) = findings(world, connection)
    assert (found.level, found.fix) == ("ok", "")
    assert "EUR, Europe/Oslo, STATUS_ENABLE" in found.text
    world.change_account(world.tiktok, "7000000000000000001", status="STATUS_LIMIT")
    (found,) = findings(world, connection)
    assert found.level == "warning"
    assert "TikTok Ads Manager" in found.fix
    world.change_account(world.tiktok, "7000000000000000001", tokens=["another"])
    with pytest.raises(ConnectionCredentialsError, match="40105"):
        findings(world, connection)


def test_a_linkedin_account_and_its_version(world: World) -> None:
    world.linkedin_account("507000042")
    connection = world.connect_linkedin("507000042")
    (found,) = findings(world, connection)
    assert (found.level, found.fix) == ("ok", "")
    assert "EUR, ACTIVE" in found.text
    world.change_account(world.linkedin, "507000042", status="CANCELED")
    world.linkedin.app.configure({"now": "2027-06-01T12:00:00+00:00"})
    account, version = findings(world, connection)
    assert (account.level, version.level) == ("warning", "warning")
    assert "Campaign Manager" in account.fix
    assert "LINKEDIN_API_VERSION" in version.fix


def test_metas_token_with_its_scopes_and_expiry(world: World) -> None:
    world.meta_account("1001", account_status=1)
    connection = world.connect_meta("1001")
    token, account = findings(world, connection)
    assert (token.level, token.text) == ("ok", "the access token does not expire")
    assert account.level == "ok"

    later = int(world.now.timestamp()) + 86_400 * 20
    known = {META_TOKEN: {"expires_at": later, "scopes": ["ads_read"], "user_id": "1"}}
    world.meta.app.replace_state({**world.meta.app.state(), "tokens": known})
    token, _ = findings(world, connection)
    assert (token.level, token.text) == ("warning", "the access token expires on 2025-03-31")
    for exchange in world.meta.journal.listing():
        assert META_TOKEN not in exchange["path"] + exchange["query"]


@pytest.mark.parametrize(
    ("expires", "data_access", "ends"),
    [(20, 0, 20), (0, 20, 20), (20, 5, 5), (5, 20, 5), (20, 20, 20), (0, 0, None)],
)
def test_the_earlier_expiry_of_metas_token_counts(
    world: World, expires: int, data_access: int, ends: int | None
) -> None:
    def moment(days: int) -> int:
        return int(world.now.timestamp()) + 86_400 * days if days else 0

    world.meta_account("1001", account_status=1)
    connection = world.connect_meta("1001")
    grant = {"expires_at": moment(expires), "data_access_expires_at": moment(data_access)}
    known = {META_TOKEN: {**grant, "scopes": ["ads_read"], "user_id": "1"}}
    world.meta.app.replace_state({**world.meta.app.state(), "tokens": known})
    token, _ = findings(world, connection)
    if ends is None:
        assert token.text == "the access token does not expire"
    else:
        day = world.now.date() + timedelta(days=ends)
        assert token.text == f"the access token expires on {day}"


def test_an_invalid_token_is_explained_in_metas_words(world: World) -> None:
    world.meta_account("1001", account_status=1)
    connection = world.connect_meta("1001", credentials={
        "access_token": "EAALOCALrevokedToken0000000000000000000001",
        "app_id": "42", "app_secret": META_SECRET,
    })  # fmt: skip
    token = next(iter_findings(world, connection))
    assert token.level == "failed"
    assert "not valid: " in token.text
    assert "no reason" not in token.text
    assert "EAALOCAL" not in token.text


def test_a_version_that_meta_does_not_serve(world: World) -> None:
    world.meta_account("1001", account_status=1)
    world.settings = replace(world.settings, meta_api_version="v99.0")
    checked = iter_findings(world, world.connect_meta("1001"))
    version = next(checked)
    assert version.level == "failed"
    assert "META_API_VERSION" in version.fix


@pytest.mark.parametrize(
    ("connections", "frequency", "level"), [(20, 1440, "ok"), (20, 10, "warning")]
)
def test_how_much_of_googles_quota_the_syncs_need(
    connections: int, frequency: int, level: str
) -> None:
    own = Account(Connection("1", "google", "1", None, {}), sync_minutes=frequency)
    other = Account(Connection("2", "snapchat", "2", None, {}), sync_minutes=10)
    (found,) = check_allowances([own] * connections + [other])
    assert found.level == level
    assert "allows 2880" in found.text
