"""The fake of Google Ads and Google's token endpoint, over HTTP as a client uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from local import faults
from local.control import Control
from local.fakes.ad_facts import facts, generated_ad_id, truth
from local.fakes.google_ads import (
    fake_google_ads,
    google_error,
    invalid_grant,
    late_stream_error,
)
from tests.integration.data_api_client import local_client

CLIENT = "400000000001-local.apps.googleusercontent.com"
SECRET = "GOCSPX-local-sample-secret"
REFRESH = "1//local-google-sample-refresh-token"
ACCOUNT, MANAGER = "1234567890", "9876543210"
NOW = "2026-11-24T12:00:00+00:00"
DAYS = [date(2026, 10, 25) + timedelta(number) for number in range(30)]
TWICE = "700000000001"  # the ad in two ad groups
QUERY = """
    SELECT segments.date, ad_group_ad.ad.id, ad_group_ad.ad.name, customer.currency_code,
           metrics.impressions, metrics.clicks, metrics.cost_micros, metrics.ctr,
           metrics.average_cpc, metrics.average_cpm
    FROM ad_group_ad WHERE segments.date BETWEEN '2026-10-25' AND '2026-11-23'
"""


class Caller:
    """Calls Google Ads as one user and keeps the last answer."""

    def __init__(self, url: str) -> None:
        self.control = Control(url)
        self.client = local_client(base_url=url)
        self.answer = httpx.Response(0)
        self.login = MANAGER
        self.token = ""

    def sign_in(self, **changed: str) -> Any:
        form = {"grant_type": "refresh_token", "client_id": CLIENT, "client_secret": SECRET,
                "refresh_token": REFRESH}  # fmt: skip
        self.answer = self.client.post("/token", data={**form, **changed})
        return self.answer.json()

    def __call__(
        self, query: str, account: str = ACCOUNT, method: str = "searchStream", **more: Any
    ) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if self.login:
            headers["login-customer-id"] = self.login
        version = more.pop("version", "v26")
        self.answer = self.client.post(
            f"/{version}/customers/{account}/googleAds:{method}",
            json={"query": query, **more}, headers=headers,
        )  # fmt: skip
        return self.answer.json() if "json" in self.answer.headers["content-type"] else None

    def rows(self, query: str = QUERY, account: str = ACCOUNT) -> list[Any]:
        """Every row of a stream."""
        return [row for batch in self(query, account) for row in batch.get("results", [])]

    def refusal(self, query: str = QUERY, account: str = ACCOUNT, **more: Any) -> tuple[int, Any]:
        """Status and error code, after checking the error's form."""
        (body,) = self(query, account, **more)
        return self.read_error(body)

    def read_error(self, body: Any) -> tuple[int, Any]:
        error = body["error"]
        assert error["code"] == self.answer.status_code
        assert set(error) >= {"code", "message", "status"}
        if "details" not in error:
            return error["code"], None
        (failure,) = error["details"]
        assert failure["@type"].endswith(".errors.GoogleAdsFailure")
        assert failure["requestId"]
        return error["code"], failure["errors"][0]["errorCode"]

    def change(self, account: str = ACCOUNT, /, **values: Any) -> None:
        """Change an account, or create one with the usual properties."""
        state = self.control.state()
        made = {"name": "More", "currency": "USD", "time_zone": "UTC", "refresh_tokens": [REFRESH]}
        state["accounts"][account] = {**state["accounts"].get(account, made), **values}
        self.control.replace_state(state)


@pytest.fixture
def google() -> Iterator[Caller]:
    with fake_google_ads() as server:
        Control(server.url).configure(now=NOW)
        caller = Caller(server.url)
        with caller.client:
            caller.token = caller.sign_in()["access_token"]
            yield caller


def test_each_sign_in_issues_a_new_token(google: Caller) -> None:
    first, second = google.sign_in(), google.sign_in()
    assert first["expires_in"] == 3599
    assert first["token_type"] == "Bearer"
    assert first["access_token"] != second["access_token"]
    assert first["access_token"].startswith("ya29.")
    for token in (first["access_token"], second["access_token"]):
        google.token = token
        assert google.rows()


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"refresh_token": "revoked"}, 400, "invalid_grant"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_refused_sign_ins(google: Caller, changed: dict[str, str], status: int, error: str) -> None:
    assert google.sign_in(**changed)["error"] == error
    assert google.answer.status_code == status


def test_access_tokens_expire(google: Caller) -> None:
    google.control.configure(now="2026-11-24T13:00:00+00:00")
    expired = {"authenticationError": "OAUTH_TOKEN_EXPIRED"}
    assert google.refusal() == (401, expired)
    google.token = google.sign_in()["access_token"]
    assert google.rows()
    google.control.reset()
    assert google.refusal() == (401, expired)
    google.token = "ya29.somebody-elses"
    assert google.refusal() == (401, {"authenticationError": "OAUTH_TOKEN_INVALID"})
    google.token = ""
    assert google.refusal() == (401, None)


def test_a_report_is_the_truth_in_googles_units(google: Caller) -> None:
    account = google.control.state()["accounts"][ACCOUNT]
    body: dict[tuple[str, str], list[int]] = {}
    for row in google.rows():
        ad, metrics = row["adGroupAd"]["ad"], row["metrics"]
        assert row["customer"] == {
            "resourceName": f"customers/{ACCOUNT}", "currencyCode": "EUR"
        }  # fmt: skip
        assert ad["resourceName"] == f"customers/{ACCOUNT}/ads/{ad['id']}"
        impressions, clicks, cost = (
            int(metrics[name]) for name in ("impressions", "clicks", "costMicros")
        )
        assert all(isinstance(metrics[name], str) for name in ("impressions", "costMicros"))
        assert metrics["ctr"] == clicks / impressions
        assert metrics["averageCpm"] == 1000 * cost / impressions
        assert metrics.get("averageCpc") == (cost / clicks if clicks else None)
        sums = body.setdefault((ad["id"], row["segments"]["date"]), [0, 0, 0])
        sums[:] = sums[0] + impressions, sums[1] + clicks, sums[2] + cost
    expected = {
        (ad["id"], str(day)): [found.impressions, found.clicks, found.cents * 10_000]
        for ad in account["ads"]
        for day in DAYS
        if (found := truth(ACCOUNT, account, ad["id"], day)) is not None
    }
    assert body == expected
    assert len(google.rows()) > len(expected)  # one ad is in two ad groups


def test_an_ad_has_a_row_for_each_of_its_ad_groups(google: Caller) -> None:
    rows = [row for row in google.rows() if row["adGroupAd"]["ad"]["id"] == TWICE]
    names = {row["adGroupAd"]["resourceName"] for row in rows}
    assert names == {
        f"customers/{ACCOUNT}/adGroupAds/15000000000{number}~{TWICE}" for number in (1, 2)
    }
    body = {
        (name, row["segments"]["date"])
        for row in rows
        for name in [row["adGroupAd"]["resourceName"]]
    }
    assert len(body) == len(rows)
    assert facts(ACCOUNT, TWICE, DAYS[0], "150000000002") != facts(ACCOUNT, TWICE, DAYS[0])


def test_only_selected_fields_are_returned(google: Caller) -> None:
    query = (
        "select metrics.clicks from ad_group_ad where segments.date >= '2026-11-01' "
        "and segments.date <= '2026-11-07' limit 1"
    )
    (row,) = google.rows(query)
    assert set(row) == {"adGroupAd", "metrics"}
    assert set(row["adGroupAd"]) == {"resourceName"}
    assert set(row["metrics"]) == {"clicks"}
    assert google.answer.json()[0]["fieldMask"] == "metrics.clicks"


def test_without_the_date_there_is_one_row_per_ad_and_ad_group(google: Caller) -> None:
    by_day, summed = google.rows(), google.rows(QUERY.replace("segments.date, ", "", 1))
    assert len(summed) == 6
    assert not any("segments" in row for row in summed)
    clicks = [sum(int(row["metrics"]["clicks"]) for row in rows) for rows in (by_day, summed)]
    assert clicks[0] == clicks[1]


def test_conditions_order_and_limit(google: Caller) -> None:
    rows = google.rows(f"{QUERY} AND metrics.impressions > 0 ORDER BY segments.date DESC,"
                       " metrics.clicks LIMIT 9")  # fmt: skip
    keys = [(row["segments"]["date"], int(row["metrics"]["clicks"])) for row in rows]
    assert len(rows) == 9
    assert keys == sorted(keys, key=lambda key: (-date.fromisoformat(key[0]).toordinal(), key[1]))
    some = google.rows(f"{QUERY} AND ad_group_ad.ad.id IN (700000000002, '700000000003')"
                       " AND ad_group_ad.status != 'REMOVED'")  # fmt: skip
    assert {row["adGroupAd"]["ad"]["id"] for row in some} == {"700000000002", "700000000003"}
    assert google.rows(f"{QUERY} AND metrics.impressions < 0") == []
    assert google.answer.text == "[]"


def test_days_are_in_the_accounts_time_zone(google: Caller) -> None:
    google.control.configure(now="2026-11-23T23:30:00+00:00")  # the 24th in Oslo
    google.token = google.sign_in()["access_token"]
    during = QUERY.replace("BETWEEN '2026-10-25' AND '2026-11-23'", "DURING LAST_30_DAYS")
    assert google.rows(during) == google.rows()
    later = QUERY.replace("2026-10-25", "2026-11-23").replace("2026-11-23'\n", "2027-01-01'\n")
    days = {row["segments"]["date"] for row in google.rows(later)}
    assert days == {"2026-11-23", "2026-11-24"}


def test_days_can_be_restated_and_vanish(google: Caller) -> None:
    google.change(
        restated={
            f"{TWICE}/2026-11-01": {"impressions": 5, "clicks": 0, "spend": "0.02"},
            f"150000000002~{TWICE}/2026-11-02": {"impressions": 6, "clicks": 1, "spend": 3},
        },
        vanished=[f"{TWICE}/2026-11-03"],
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for row in google.rows(f"{QUERY} AND ad_group_ad.ad.id = {TWICE}"):
        group = row["adGroupAd"]["resourceName"].split("/")[-1].split("~")[0]
        figures = found.setdefault(row["segments"]["date"], [])
        figures.append((group, row["metrics"]["impressions"]))
    assert found["2026-11-01"] == [("150000000001", "5")]
    assert found["2026-11-02"][-1] == ("150000000002", "6")
    assert "2026-11-03" not in found


def test_a_big_account_in_batches(google: Caller) -> None:
    google.change("55", ad_count=1000)
    google.login = ""
    last = generated_ad_id("google", "55", 1000)
    assert (len(last), last[0]) == (12, "7")
    batches = google(QUERY, "55")
    assert [len(batch["results"]) for batch in batches[:-1]] == [10_000, 10_000]
    ids = [row["adGroupAd"]["ad"]["id"] for batch in batches for row in batch["results"]]
    assert len(set(ids)) == 1000
    google.control.configure(batch_size=7_000, empty_batch=True)
    more = google(QUERY, "55")
    assert len(more[0]["results"]) == 7000
    assert "results" not in more[-1]
    assert more[-1]["requestId"]


def test_search_returns_objects_and_pages(google: Caller) -> None:
    whole = google(QUERY, method="search")
    assert "nextPageToken" not in whole
    assert whole["results"] == google.rows()
    google.control.configure(page_size=50)
    rows, token = [], None
    while True:
        page = google(QUERY, method="search", **({"pageToken": token} if token else {}))
        rows += page["results"]
        token = page.get("nextPageToken")
        if not token:
            break
        assert len(page["results"]) == 50
    assert rows == whole["results"]
    for wrong, value in (
        ({"pageToken": "x"}, "INVALID_PAGE_TOKEN"), ({"pageSize": 5}, "PAGE_SIZE_NOT_SUPPORTED")
    ):  # fmt: skip
        body = google.read_error(google(QUERY, method="search", **wrong))
        assert body == (400, {"requestError": value})


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("hello", "UNEXPECTED_INPUT"),
        ("", "UNEXPECTED_INPUT"),
        (QUERY + " AND ???", "UNEXPECTED_INPUT"),
        ("SELECT ad.id FROM ad_group_ad", "UNRECOGNIZED_FIELD"),
        (QUERY + " AND campaign.mood = 'good'", "UNRECOGNIZED_FIELD"),
        (QUERY.replace("metrics.ctr", "metrics.reach"), "UNRECOGNIZED_FIELD"),
        (QUERY.replace("metrics.ctr", "metrics.unique_users"),
         "PROHIBITED_METRIC_IN_SELECT_OR_WHERE_CLAUSE"),
        ("SELECT ad_group_ad.ad.id FROM customer", "PROHIBITED_RESOURCE_TYPE_IN_SELECT_CLAUSE"),
        ("SELECT customer.id FROM pets", "BAD_RESOURCE_TYPE_IN_FROM_CLAUSE"),
        ("SELECT metrics.clicks FROM ad_group_ad", "EXPECTED_FILTERS_ON_DATE_RANGE"),
        (QUERY.replace("2026-10-25", "25.10.2026"), "INVALID_VALUE"),
        (QUERY.replace("2026-10-25", "2026-12-25"), "INVALID_DATE_RANGE"),
    ],
)  # fmt: skip
def test_queries_that_are_refused(google: Caller, query: str, value: str) -> None:
    assert google.refusal(query) == (400, {"queryError": value})


def test_access_only_through_the_manager(google: Caller) -> None:
    denied = (403, {"authorizationError": "USER_PERMISSION_DENIED"})
    for login in ("", "1111111111"):
        google.login = login
        assert google.refusal() == denied
    google.login = "987-654-3210"
    assert google.refusal() == (400, {"headerError": "INVALID_LOGIN_CUSTOMER_ID"})
    google.login = MANAGER
    google.change(refresh_tokens=["another"])
    assert google.refusal() == denied
    assert google.refusal(account="5") == (401, {"authenticationError": "CUSTOMER_NOT_FOUND"})
    assert google.refusal(account="1-2") == (400, {"requestError": "INVALID_CUSTOMER_ID"})
    google.change(refresh_tokens=[REFRESH], status="SUSPENDED")
    assert google.refusal() == (403, {"authorizationError": "CUSTOMER_NOT_ENABLED"})


def test_a_manager_has_no_metrics_but_describes_itself(google: Caller) -> None:
    google.login = ""
    assert google.refusal(account=MANAGER) == (
        400, {"queryError": "REQUESTED_METRICS_FOR_MANAGER"}
    )  # fmt: skip
    query = (
        "SELECT customer.id, customer.currency_code, customer.time_zone, customer.manager, "
        "customer.status FROM customer LIMIT 1"
    )
    assert google.rows(query, MANAGER) == [
        {
            "customer": {
                "resourceName": f"customers/{MANAGER}", "id": MANAGER, "currencyCode": "EUR",
                "timeZone": "Europe/Oslo", "manager": True, "status": "ENABLED",
            }
        }
    ]  # fmt: skip


def test_which_customers_are_accessible(google: Caller) -> None:
    path = "/v26/customers:listAccessibleCustomers"
    headers = {"Authorization": f"Bearer {google.token}"}
    answer = google.client.get(path, headers=headers)
    assert answer.json() == {"resourceNames": [f"customers/{MANAGER}"]}
    google.answer = google.client.get(path, headers={"Authorization": "Bearer x"})
    body = google.read_error(google.answer.json())
    assert body == (401, {"authenticationError": "OAUTH_TOKEN_INVALID"})


def test_versions(google: Caller) -> None:
    assert google(QUERY, version="v9") is None
    assert google.answer.status_code == 404
    assert google.answer.headers["content-type"].startswith("text/html")
    assert google.client.get("/v26/pets").status_code == 404
    state = google.control.state()
    google.control.replace_state({**state, "deprecated_versions": ["v22"]})
    assert google.refusal(version="v22") == (400, {"requestError": "UNSUPPORTED_VERSION"})
    assert google.rows(QUERY)


def test_faults_have_googles_format(google: Caller) -> None:
    google.control.add_faults(
        google_error("quotaError", "RESOURCE_TEMPORARILY_EXHAUSTED", 429, "Wait.", "37.5s"),
        google_error("internalError", "INTERNAL_ERROR", 500, stream=False),
        invalid_grant(),
    )
    (body,) = google(QUERY)
    assert google.read_error(body) == (429, {"quotaError": "RESOURCE_TEMPORARILY_EXHAUSTED"})
    details = body["error"]["details"][0]["errors"][0]["details"]["quotaErrorDetails"]
    assert (details["retryDelay"], details["rateScope"]) == ("37.5s", "ACCOUNT")
    body = google.read_error(google(QUERY, method="search"))
    assert body == (500, {"internalError": "INTERNAL_ERROR"})
    assert google.sign_in()["error"] == "invalid_grant"
    assert google.rows()
    assert "access_token" in google.sign_in()


def test_a_stream_can_end_in_an_error(google: Caller) -> None:
    google.control.configure(batch_size=50)
    whole = google(QUERY)
    google.control.configure(**late_stream_error(2))
    *delivered, last = google(QUERY)
    assert google.answer.status_code == 200
    assert [batch["results"] for batch in delivered] == [one["results"] for one in whole[:2]]
    assert last["error"]["details"][0]["errors"][0]["errorCode"] == {
        "internalError": "INTERNAL_ERROR"
    }
    assert len(google(QUERY)) == len(whole)


def test_a_stream_can_break(google: Caller) -> None:
    google.control.add_faults(faults.truncate(path="googleAds:searchStream"))
    with pytest.raises(httpx.RemoteProtocolError):
        google(QUERY)


def test_secrets_stay_out_of_the_journal(google: Caller) -> None:
    google.rows()
    journal = google.control.journal()
    assert [one["path"].rpartition(":")[2] for one in journal] == ["/token", "searchStream"]
    assert "refresh_token=..." in journal[0]["body"]
    body = json.dumps(journal)
    for secret in (SECRET, REFRESH[3:], google.token):
        assert secret not in body


def test_settings_and_state_are_restored(google: Caller) -> None:
    google.change(ad_count=3)
    google.control.configure(batch_size=1)
    google.control.reset()
    state = google.control.state()
    assert "ad_count" not in state["accounts"][ACCOUNT]
    assert state["access_tokens"] == {}
    assert google.control.settings()["batch_size"] == 10_000
