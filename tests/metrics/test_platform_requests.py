"""Which requests the platforms' files build, from ids and credentials in any form."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.metrics.catalogue import (
    ACCOUNTS,
    CREDENTIALS,
    SETTINGS,
    WINDOW,
    opened,
    response,
)
from workers.answers import Answer
from workers.errors import (
    ConnectionCredentialsError,
    PermanentError,
)
from workers.metrics.platforms import NAMES, PLATFORMS, find_platform
from workers.metrics.platforms.protocol import Connection, Platform


def test_names_lead_to_platforms() -> None:
    assert set(PLATFORMS) == {"meta", "google_ads", "tiktok", "linkedin"}
    assert dict(NAMES) == {
        "meta": "meta", "facebook": "meta", "instagram": "meta",
        "google_ads": "google_ads", "google": "google_ads",
        "tiktok": "tiktok", "linkedin": "linkedin",
    }  # fmt: skip
    assert find_platform(" Facebook ") is PLATFORMS["meta"]
    assert find_platform("snapchat") is None
    for name, platform in PLATFORMS.items():
        assert platform.name == name


@pytest.mark.parametrize("name", PLATFORMS)
def test_no_secret_is_in_a_url_or_a_repr(name: str) -> None:
    platform = opened(name)
    built = [platform.ask_account(), platform.ask_page(WINDOW, 500, "2")]
    if (sign_in := platform.sign_in()) is not None:
        built.append(sign_in)
    secrets = [secret for secret in platform.secrets if secret]
    assert secrets
    for request in built:
        proof = request.params.get("appsecret_proof", "none")
        shown = request.url + repr(request).replace(proof, "")
        for secret in secrets:
            assert secret not in shown
        for secret in CREDENTIALS[name].values():
            assert name == "google_ads" or secret not in str(request.params)


def test_meta_asks_for_days_ads_and_deleted_ones() -> None:
    request = opened("meta").ask_page(WINDOW, 500, "abc")
    assert request.url == "https://graph.facebook.com/v26.0/act_1001/insights"
    params = dict(request.params)
    assert len(params.pop("appsecret_proof")) == 64
    fields = params.pop("fields").split(",")
    assert {"ad_id", "ad_name", "impressions", "clicks", "spend", "reach"} <= set(fields)
    assert json.loads(params.pop("time_range")) == {"since": "2025-01-01", "until": "2025-01-31"}
    (kept,) = json.loads(params.pop("filtering"))
    assert (kept["field"], kept["operator"]) == ("ad.effective_status", "IN")
    assert {"ACTIVE", "PAUSED", "ARCHIVED", "DELETED"} <= set(kept["value"])
    assert params == {"level": "ad", "time_increment": "1", "limit": "500", "after": "abc"}


def test_google_asks_with_login_customer_and_token_only_where_configured() -> None:
    request = opened("google_ads").ask_page(WINDOW, 1, None)
    assert request.url == (
        "https://googleads.googleapis.com/v26/customers/1234567890/googleAds:searchStream"
    )
    assert request.headers["login-customer-id"] == "9000000001"
    assert "developer-token" not in request.headers
    with_token = opened("google_ads", developer_token="dev-token-1").ask_page(WINDOW, 1, None)
    assert with_token.headers["developer-token"] == "dev-token-1"
    assert "BETWEEN '2025-01-01' AND '2025-01-31'" in request.json["query"]


def test_tiktok_asks_for_days_ads_and_deleted_ones() -> None:
    request = opened("tiktok").ask_page(WINDOW, 1000, None)
    assert request.url == "https://business-api.tiktok.com/open_api/v1.3/report/integrated/get/"
    assert request.headers == {"Access-Token": CREDENTIALS["tiktok"]["access_token"]}
    params = dict(request.params)
    assert json.loads(params.pop("dimensions")) == ["ad_id", "stat_time_day"]
    assert {"spend", "impressions", "clicks", "reach"} <= set(json.loads(params.pop("metrics")))
    (kept,) = json.loads(params.pop("filtering"))
    assert (kept["field_name"], json.loads(kept["filter_value"])) == ("ad_status", ["STATUS_ALL"])
    assert params == {
        "advertiser_id": ACCOUNTS["tiktok"], "service_type": "AUCTION", "report_type": "BASIC",
        "data_level": "AUCTION_AD", "start_date": "2025-01-01", "end_date": "2025-01-31",
        "page": "1", "page_size": "1000",
    }  # fmt: skip
    assert opened("tiktok").ask_page(WINDOW, 1000, "7").params["page"] == "7"
    assert PLATFORMS["tiktok"].longest_window == 30


def test_linkedin_asks_in_restli_syntax() -> None:
    request = opened("linkedin").ask_page(WINDOW, 1, None)
    sent = requests.Request(request.method, request.url, params=dict(request.params)).prepare().url
    assert sent == (
        "https://api.linkedin.com/rest/adAnalytics?q=statistics&pivots=List(CAMPAIGN_GROUP,CAMPAIGN,CREATIVE)"
        "&timeGranularity=DAILY"
        "&dateRange=(start:(year:2025,month:1,day:1),end:(year:2025,month:1,day:31))"
        "&accounts=List(urn%3Ali%3AsponsoredAccount%3A507000001)"
        "&fields=pivotValues,dateRange,impressions,clicks,costInLocalCurrency,"
        "approximateMemberReach"
    )
    assert request.headers["LinkedIn-Version"] == SETTINGS.linkedin_api_version
    assert request.headers["X-Restli-Protocol-Version"] == "2.0.0"


def test_linkedin_exchanges_a_refresh_token_only_where_it_can() -> None:
    assert opened("linkedin").sign_in() is None
    assert opened("linkedin", refresh_token="AQrefresh").sign_in() is None
    platform = opened("linkedin", refresh_token="AQr", client_id="77", client_secret="s")
    request = platform.sign_in()
    assert request is not None
    assert request.form == {
        "grant_type": "refresh_token", "refresh_token": "AQr", "client_id": "77",
        "client_secret": "s",
    }  # fmt: skip
    platform.signed_in(response({"access_token": "AQfresh"}))
    assert platform.ask_account().headers["Authorization"] == "Bearer AQfresh"
    assert "AQfresh" in platform.secrets
    with pytest.raises(PermanentError):
        platform.signed_in(response({"access_token": ""}))


def opened_as(name: str, account_id: Any) -> Platform:
    row = {
        "id": "c", "platform": name, "account_id": account_id, "account_name": None,
        "credentials": CREDENTIALS[name],
    }  # fmt: skip
    return PLATFORMS[name].open(Connection.from_answer(Answer("f", row)), SETTINGS)


@pytest.mark.parametrize("name", PLATFORMS)
@pytest.mark.parametrize(
    "pasted",
    ["", None, "-", "my account", "act_", "12a4", "act_1,act_2", "\u0661", "\u200b", "1.5"],
    ids=ascii,
)
def test_an_invalid_account_id_is_refused_by_name(name: str, pasted: Any) -> None:
    with pytest.raises(PermanentError, match="account_id") as caught:
        opened_as(name, pasted)
    assert caught.value.code == "malformed_account_id"


@pytest.mark.parametrize(
    ("name", "pasted"),
    [
        ("meta", "act_1001"), ("meta", " 1001\n"), ("meta", "\u200bact_1001\ufeff"),
        ("meta", '"act_1001"'), ("google_ads", "123-456-7890"), ("google_ads", "123 456 7890"),
        ("google_ads", "123\u2011456\u20117890"), ("google_ads", "customers/1234567890"),
        ("tiktok", "\u00a07012345678901234567\t"), ("linkedin", "507000001"),
        ("linkedin", "urn:li:sponsoredAccount:507000001"),
    ],
)  # fmt: skip
def test_an_account_id_is_read_in_any_form(name: str, pasted: str) -> None:
    asked, usual = opened_as(name, pasted).ask_account(), opened(name).ask_account()
    assert (asked.url, asked.params.get("advertiser_ids")) == (
        usual.url,
        usual.params.get("advertiser_ids"),
    )


@pytest.mark.parametrize("name", PLATFORMS)
@pytest.mark.parametrize(
    "half", ["{}\n{}", "{}\r\n {}", "{} {}", "{}\x00{}", "{}\u200b{}", "{}é{}"], ids=ascii
)
def test_a_credential_that_no_header_can_carry_is_refused_by_name(name: str, half: str) -> None:
    for credential, value in CREDENTIALS[name].items():
        if not credential.endswith("_id"):
            with pytest.raises(ConnectionCredentialsError, match=credential) as caught:
                opened(name, **{credential: half.format(value, value)})
            assert caught.value.code == "credentials_malformed"
            assert value not in str(caught.value)


@pytest.mark.parametrize(
    "around", ["{}\n", "\ufeff{}", " {} ", "\u200b{}\r\n", "\u2800{}"], ids=ascii
)
@pytest.mark.parametrize("name", PLATFORMS)
def test_what_surrounds_a_credential_is_ignored(name: str, around: str) -> None:
    pasted = {key: around.format(value) for key, value in CREDENTIALS[name].items()}
    platform = opened(name, **pasted)
    asked, usual = (one.sign_in() or one.ask_account() for one in (platform, opened(name)))
    assert (asked.headers, asked.form, asked.params) == (usual.headers, usual.form, usual.params)
    assert set(platform.secrets) >= set(opened(name).secrets), "redacted as it is sent"


@pytest.mark.parametrize(
    "pasted", ["900-000-0001", "9000000001", " 900 000 0001 ", "customers/9000000001", 9000000001]
)
def test_googles_login_customer_is_read_in_any_form(pasted: Any) -> None:
    request = opened("google_ads", login_customer_id=pasted).ask_account()
    assert request.headers["login-customer-id"] == "9000000001"


@pytest.mark.parametrize("pasted", ["my manager", "900-000-000X", "customers/"])
def test_a_malformed_login_customer_is_reported(pasted: str) -> None:
    with pytest.raises(ConnectionCredentialsError, match="login_customer_id") as caught:
        opened("google_ads", login_customer_id=pasted)
    assert caught.value.code == "malformed_login_customer_id"
    for absent in ("", None, "\u200b"):
        headers = opened("google_ads", login_customer_id=absent).ask_account().headers
        assert "login-customer-id" not in headers


@pytest.mark.parametrize(
    ("day", "warns"),
    [
        ("Sat, 15 May 2027 12:00:00 GMT", False),
        ("Sun, 16 May 2027 12:00:00 GMT", True),
        ("Wed, 21 Jul 2027 12:00:00 GMT", True),
        ("some day", False),
        (None, False),
    ],
)
def test_linkedin_warns_of_a_version_that_is_about_to_end(day: str | None, warns: bool) -> None:
    assert SETTINGS.linkedin_api_version == "202607"
    warning = opened("linkedin").version_warning({} if day is None else {"Date": day})
    assert (warning is not None) == warns
    assert warning is None or "2027-07-15" in warning
