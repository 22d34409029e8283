"""The fake of LinkedIn's Marketing API, over HTTP as a client uses it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from local.control import Control
from local.fakes.ad_facts import Facts, truth
from local.fakes.linkedin import (
    fake_linkedin,
    linkedin_error,
    reported_cost,
    throttled,
    token_expired,
)
from local.fakes.restli import RestliProblem, read_query
from tests.integration.data_api_client import local_client

REFRESH = "AQlocalLinkedinSampleRefreshToken000000000001"
CLIENT, SECRET = "77localsample01", "WPL_AP1.local-linkedin-sample-secret"
ACCOUNT = "507000001"
NOW = "2026-11-24T12:00:00+00:00"
FIRST, LAST = date(2026, 10, 25), date(2026, 11, 23)
DAYS = [FIRST + timedelta(number) for number in range(30)]
FIELDS = "pivotValues,dateRange,impressions,clicks,costInLocalCurrency,approximateMemberReach"


def restli_date(day: date) -> str:
    return f"(year:{day.year},month:{day.month},day:{day.day})"


class Caller:
    """Calls as one user and keeps the last answer."""

    def __init__(self, url: str) -> None:
        self.control = Control(url)
        self.client = local_client(base_url=url)
        self.headers = {"LinkedIn-Version": "202607", "X-Restli-Protocol-Version": "2.0.0"}
        self.answer = httpx.Response(0)

    def sign_in(self, **changed: str) -> Any:
        form = {
            "grant_type": "refresh_token", "refresh_token": REFRESH, "client_id": CLIENT,
            "client_secret": SECRET, **changed,
        }  # fmt: skip
        self.answer = self.client.post("/token", data=form)
        body = self.answer.json()
        if "access_token" in body:
            self.headers["Authorization"] = f"Bearer {body['access_token']}"
        return body

    def __call__(self, target: str) -> Any:
        self.answer = self.client.get(f"/rest/{target}", headers=self.headers)
        return self.answer.json()

    def analytics(self, account: str = ACCOUNT, **changed: str) -> Any:
        asked = {
            "q": "analytics", "pivot": "CREATIVE", "timeGranularity": "DAILY",
            "dateRange": f"(start:{restli_date(FIRST)},end:{restli_date(LAST)})",
            "accounts": f"List(urn%3Ali%3AsponsoredAccount%3A{account})", "fields": FIELDS,
            **changed,
        }  # fmt: skip
        return self("adAnalytics?" + "&".join(f"{k}={v}" for k, v in asked.items() if v))

    def elements(self, **changed: str) -> list[Any]:
        found: list[Any] = self.analytics(**changed)["elements"]
        return found

    def refusal(self, body: Any) -> tuple[int, str]:
        """Status and code of an error, after checking its form."""
        assert {"status", "code", "message"} <= set(body)
        assert body["status"] == self.answer.status_code
        return self.answer.status_code, body["code"]

    def change(self, account: str = ACCOUNT, /, **values: Any) -> None:
        state = self.control.state()
        made = {"name": "More", "currency": "USD", "time_zone": "UTC", "tokens": [],
                "refresh_tokens": [REFRESH], "ads": []}  # fmt: skip
        state["accounts"][account] = {**state["accounts"].get(account, made), **values}
        self.control.replace_state(state)

    def expected(self) -> dict[tuple[str, date], Facts]:
        account = self.control.state()["accounts"][ACCOUNT]
        found = {
            (ad["id"], day): truth(ACCOUNT, account, ad["id"], day)
            for ad in account["ads"]
            for day in DAYS
        }
        return {key: facts for key, facts in found.items() if facts is not None}


@pytest.fixture
def linkedin() -> Iterator[Caller]:
    with fake_linkedin() as server:
        caller = Caller(server.url)
        caller.control.configure(now=NOW)
        with caller.client:
            caller.sign_in()
            yield caller


def key_of(element: Any) -> tuple[str, date]:
    (urn,) = element["pivotValues"]
    start = element["dateRange"]["start"]
    assert element["dateRange"]["end"] == start
    return urn.removeprefix("urn:li:sponsoredCreative:"), date(**start)


def test_a_report_is_the_truth_in_linkedins_format(linkedin: Caller) -> None:
    expected = linkedin.expected()
    elements = linkedin.elements()
    assert sorted(map(key_of, elements)) == sorted(expected)
    for element in elements:
        facts = expected[key_of(element)]
        assert (element["impressions"], element["clicks"]) == (facts.impressions, facts.clicks)
        assert element["approximateMemberReach"] == facts.reach
        assert element["costInLocalCurrency"] == reported_cost(facts)
        assert abs(Decimal(element["costInLocalCurrency"]) - facts.spend) < Decimal("1e-12")


def test_only_requested_fields_are_returned(linkedin: Caller) -> None:
    assert all(set(one) == {"clicks"} for one in linkedin.elements(fields="clicks"))
    assert set(linkedin.elements(fields="")[0]) == {"impressions", "clicks"}


def test_days_are_in_utc_and_end_today(linkedin: Caller) -> None:
    linkedin.control.configure(now="2026-11-20T23:30:00+00:00")
    assert max(key_of(one)[1] for one in linkedin.elements()) == date(2026, 11, 20)


def test_days_can_be_restated_and_vanish(linkedin: Caller) -> None:
    ad = "330000001"
    figures = {"impressions": 10, "clicks": 1, "spend": "0.50", "reach": 9}
    linkedin.change(restated={f"{ad}/2026-11-20": figures}, vanished=[f"{ad}/2026-11-21"])
    found = {key_of(one): one for one in linkedin.elements()}
    assert found[ad, date(2026, 11, 20)]["impressions"] == 10
    assert (ad, date(2026, 11, 21)) not in found
    assert set(found) == set(linkedin.expected())


def test_an_answer_is_silently_cut_off(linkedin: Caller) -> None:
    whole = linkedin.elements()
    linkedin.control.configure(most_elements=10)
    assert linkedin.elements() == whole[:10]
    assert linkedin.answer.status_code == 200


def test_the_account(linkedin: Caller) -> None:
    account = linkedin(f"adAccounts/{ACCOUNT}")
    assert (account["id"], account["currency"], account["status"]) == (507000001, "EUR", "ACTIVE")
    assert linkedin.answer.headers["Date"] == "Tue, 24 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    "changed",
    [
        {"q": "statistics"},
        {"pivot": "CAMPAIGN"},
        {"timeGranularity": "ALL"},
        {"dateRange": ""},
        {"dateRange": "(start:(year:2026,month:13,day:1),end:(year:2026,month:1,day:1))"},
        {"dateRange": f"(start:{restli_date(LAST)},end:{restli_date(FIRST)})"},
        {"dateRange": f"(start:{restli_date(date(2026, 1, 1))},end:{restli_date(LAST)})"},
        {"accounts": "List()x"},
        {"accounts": "List(urn:li:sponsoredAccount:507000001)"},
        {"accounts": "List%28urn%3Ali%3AsponsoredAccount%3A507000001%29"},
        {"accounts": "urn%3Ali%3AsponsoredAccount%3A507000001"},
        {"fields": "impressions,love"},
    ],
)
def test_parameters_that_are_refused(linkedin: Caller, changed: dict[str, str]) -> None:
    status, code = linkedin.refusal(linkedin.analytics(**changed))
    assert (status, code) in {(400, "PARAM_INVALID"), (400, "ILLEGAL_ARGUMENT")}


def test_accounts_out_of_the_tokens_reach_are_empty_or_denied(linkedin: Caller) -> None:
    linkedin.change("507000002", refresh_tokens=["another"], ad_count=3)
    assert linkedin.analytics("507000002")["elements"] == []
    assert linkedin.refusal(linkedin("adAccounts/507000002")) == (403, "ACCESS_DENIED")
    assert linkedin.analytics("507000009")["elements"] == []
    assert linkedin.refusal(linkedin("adAccounts/507000009")) == (404, "NOT_FOUND")


def test_tokens(linkedin: Caller) -> None:
    target = f"adAccounts/{ACCOUNT}"
    linkedin.control.configure(now="2027-01-24T12:00:00+00:00")  # 61 days later
    assert linkedin.refusal(linkedin(target)) == (401, "EXPIRED_ACCESS_TOKEN")
    linkedin.sign_in()
    assert linkedin(target)["currency"] == "EUR"
    linkedin.headers["Authorization"] = "Bearer AQof-somebody-else"
    assert linkedin.refusal(linkedin(target)) == (401, "INVALID_ACCESS_TOKEN")
    del linkedin.headers["Authorization"]
    assert linkedin.refusal(linkedin(target)) == (401, "EMPTY_ACCESS_TOKEN")
    linkedin.change(tokens=["AQstored"])
    linkedin.headers["Authorization"] = "Bearer AQstored"
    assert linkedin(target)["currency"] == "EUR"


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"refresh_token": "AQold"}, 400, "invalid_request"),
        ({"client_id": "1"}, 401, "invalid_client"),
        ({"client_secret": "1"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_refused_sign_ins(
    linkedin: Caller, changed: dict[str, str], status: int, error: str
) -> None:
    assert linkedin.sign_in(**changed)["error"] == error
    assert linkedin.answer.status_code == status


def test_versions_and_protocol(linkedin: Caller) -> None:
    for version in ("202511", "202699"):
        linkedin.headers["LinkedIn-Version"] = version
        assert linkedin.refusal(linkedin.analytics()) == (426, "NONEXISTENT_VERSION")
    del linkedin.headers["LinkedIn-Version"]
    assert linkedin.refusal(linkedin.analytics()) == (400, "VERSION_MISSING")
    linkedin.headers["LinkedIn-Version"] = "202601"
    assert linkedin.elements()
    del linkedin.headers["X-Restli-Protocol-Version"]
    assert linkedin.refusal(linkedin.analytics()) == (400, "PARAM_INVALID")
    assert linkedin.refusal(linkedin("adCampaigns")) == (404, "RESOURCE_NOT_FOUND")


def test_faults_have_linkedins_format(linkedin: Caller) -> None:
    linkedin.control.add_faults(
        throttled(), token_expired(), linkedin_error(500, "INTERNAL_SERVER_ERROR")
    )
    assert linkedin.refusal(linkedin.analytics()) == (429, "TOO_MANY_REQUESTS")
    assert linkedin.refusal(linkedin.analytics()) == (401, "EXPIRED_ACCESS_TOKEN")
    assert linkedin.refusal(linkedin.analytics()) == (500, "INTERNAL_SERVER_ERROR")
    assert linkedin.elements()


def test_the_query_syntax() -> None:
    assert read_query("a=(b:(c:1,d:x%3Ay),e:List())&f=List(1,List(2))&g=1,2&h=&i=%28") == {
        "a": {"b": {"c": "1", "d": "x:y"}, "e": []}, "f": ["1", ["2"]], "g": ["1", "2"], "h": "",
        "i": "(",
    }  # fmt: skip
    assert read_query("") == {}


@pytest.mark.parametrize("value", ["(a:1", "List(1", "(a)", "(a:1)b", "List(a:b)", "a:b", "(:1)"])
def test_invalid_rest_li(value: str) -> None:
    with pytest.raises(RestliProblem):
        read_query(f"x={value}")
