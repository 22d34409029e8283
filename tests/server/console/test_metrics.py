"""The pages of ad accounts and of requests' figures, as served: they show what SQL returns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest

from server.console.answers.accounts import Account, LastSync
from server.console.answers.requests import DayFigure, RequestDetails, Subject
from server.console.charts import svg
from server.console.pages.figures import day_figures, request_charts
from server.console.pages.metrics import state_of_account
from tests.database.agency import NOW
from tests.server.console.conftest import Console
from workers.metrics.platforms import MAPPING_KEYS

HOSTILE = "<b>x</b>\"'{{7*7}}"
META = "1203300000000001"
META_CONNECTION = "b0000000-0000-4000-8000-000000000001"
RETARGETING = "e0000000-0000-4000-8000-000000000002"
UNNAMED_KEY = ("spend", "campaign_id", "ad_group_id", "ad_id")
# By day and series.
Bars = dict[tuple[str, str], Decimal]


def attributes(tag: str) -> Mapping[str, str]:
    return {name: unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}


def bars(page: str, chart: str) -> Bars:
    """What a chart of the page shows."""
    [drawn] = re.findall(rf'<svg[^>]*data-chart="{chart}".*?</svg>', page, re.DOTALL)
    found: Bars = {}
    for name, bars_of in re.findall(r'<g [^>]*data-series="([^"]*)">(.*?)</g>', drawn, re.DOTALL):
        for tag in re.findall(r"<rect[^>]*>", bars_of):
            bar = attributes(tag)
            found[bar["data-day"], unescape(name)] = Decimal(bar["data-value"])
    return found


def strips(page: str) -> list[tuple[str, list[str]]]:
    """Of each account in the list, the first day and the word of each from there on."""
    tags = [attributes(tag) for tag in re.findall(r'<svg class="days"[^>]*data-since[^>]*>', page)]
    return [(one["data-since"], one["data-states"].split()) for one in tags]


def by_day(console: Console, query: str, *values: Any) -> Bars:
    """A query of day, series and number."""
    rows = console.connection.execute(query.encode(), values).fetchall()
    return {(f"{day}", series): number for day, series, number in rows if number is not None}


def change(console: Console, statement: str, account: str, day: date) -> None:
    """One of a day of an account."""
    query = f"{statement} account_id = %s and date = %s"
    console.connection.execute(query.encode(), (account, day))


def text_of(page: str) -> str:
    """Without markup."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_an_accounts_days_and_charts_are_those_of_the_database(synced: Console) -> None:
    today = date.fromisoformat(strips(synced.page("/metrics"))[2][0]) + timedelta(days=30)
    change(synced, "delete from metric_days where", META, today - timedelta(9))
    change(
        synced,
        "update metric_days set failures = 2, try_after = now() + interval '1 hour', "
        "problem = $${HOSTILE}$$ where".replace("{HOSTILE}", HOSTILE),
        META,
        today - timedelta(5),
    )
    change(
        synced,
        "insert into metric_spend_changes select platform, account_id, id, date, 1, sync_id, 1, 2, "
        "now() from metric_days, requests where title = 'Retargeting, autumn' and",
        META,
        today - timedelta(3),
    )
    change(
        synced,
        "update metric_days set spend_total = spend_total + 100 where",
        META,
        today - timedelta(2),
    )
    page = synced.page("/metrics")
    words = ["read"] * 31
    words[-1], words[-10], words[-6], words[-4] = "partial", "missing", "unreadable", "restated"
    assert strips(page)[2] == (f"{today - timedelta(30)}", words)
    assert [set(states[:-1]) for _, states in strips(page)[:2]] == [{"read"}] * 2

    # where requests name all that was read, the ledger has it all
    whole = synced.connection.execute(
        b"""
        select day.impressions_read, day.clicks_read,
               sum((fact.measures ->> 'impressions')::numeric),
               sum((fact.measures ->> 'clicks')::numeric)
          from metric_days day
          join ad_metrics fact using (platform, account_id, date)
         where day.rows_read = day.rows_named
         group by day.platform, day.account_id, day.date
        """
    ).fetchall()
    assert whole
    assert all((one[0], one[1]) == (one[2], one[3]) for one in whole)

    page = synced.page(f"/metrics/account?platform=meta&id={META}")
    assert HOSTILE in text_of(page)
    assert "<b>x</b>" not in page
    of_days = (
        "select date, %s, {} from metric_days "
        "where platform = 'meta' and account_id = %s and date >= %s"
    )
    month = (META, today - timedelta(30))
    named = by_day(synced, of_days.format("spend_named"), "ads that requests name", *month)
    rest = by_day(synced, of_days.format("spend_read - spend_named"), "other ads", *month)
    assert bars(page, "Spend") == named | rest
    for chart, column in (("Impressions", "impressions_read"), ("Clicks", "clicks_read")):
        shown = bars(page, chart)
        assert shown == by_day(synced, of_days.format(column), "all ads", *month)
        assert sum(shown.values()) > 0
    assert "they differ Difference: 100.00 EUR" in text_of(page)
    other = synced.page("/metrics/account?platform=google_ads&id=1234567890")
    assert "they agree Difference: 0.00 EUR" in text_of(other)
    assert "used last" in text_of(other)


def test_a_requests_charts_and_each_figure_are_those_of_the_database(synced: Console) -> None:
    page = synced.page(f"/metrics/requests/{RETARGETING}")
    for chart in ("Spend", "Impressions", "Clicks"):
        shown = bars(page, chart)
        assert shown == by_day(
            synced,
            "select date, platform, value from performance_metrics "
            "where request_id = %s and metric_type = %s and derived",
            RETARGETING, chart.lower(),
        )  # fmt: skip
        assert {series for _, series in shown} == {"meta", "google_ads"}
    rows = [attributes(tag) for tag in re.findall(r"<tr data-day[^>]*>", page)]
    places = {(row["data-day"], row["data-platform"]) for row in rows}
    assert places >= set(bars(page, "Impressions"))

    day, _ = max(one for one in bars(page, "Spend") if one[1] == "meta")
    why = f"/metrics/requests/{RETARGETING}/meta/{day}"
    assert f'href="{why}"' in page
    page = synced.page(why)
    figures = [attributes(tag) for tag in re.findall(r"<dd data-figure[^>]*>", page)]
    assert {one["data-figure"]: Decimal(one["data-value"]) for one in figures} == dict(
        synced.connection.execute(
            "select metric_type, value from performance_metrics "
            "where request_id = %s and platform = 'meta' and date = %s and derived",
            (RETARGETING, day),
        ).fetchall()
    )
    ads = [attributes(tag)["data-ad"] for tag in re.findall(r"<tr data-ad[^>]*>", page)]
    facts = synced.connection.execute(
        "select ad_id from ad_metrics where date = %s and ad_id in ('23851000000000002', "
        "'23851000000000003') order by (measures ->> 'spend')::numeric desc",
        (day,),
    ).fetchall()
    assert ads == [ad for (ad,) in facts]
    text = text_of(page)
    assert text.count(": yes") == 3
    assert "never restated" in text

    synced.connection.execute(b"delete from ad_metrics where ad_id = %s", (ads[0],))
    assert ": no" in text_of(synced.page(why))


def test_an_unnamed_ad_is_named_by_each_value_that_the_page_shows(synced: Console) -> None:
    where = f"/metrics/unnamed?platform=meta&id={META}"
    page = synced.page(where)
    rows = synced.connection.execute(
        "select ad_id, round(spend, 2) from metric_unnamed_ads where account_id = %s "
        "order by spend desc",
        (META,),
    ).fetchall()
    values = [json.loads(unescape(one)) for one in re.findall(r"<code>(\{.*?\})</code>", page)]
    assert [one["meta_ad_id"] for one in values if "meta_ad_id" in one] == [ad for ad, _ in rows]
    text = text_of(page)
    assert all(f"{spend:,} EUR" in text for _, spend in rows)
    assert "already named" not in text

    for value, ad in ((values[0], rows[0][0]), (values[-1], rows[1][0])):
        synced.connection.execute(
            b"update requests set metadata = %s where title = 'Menu & window signs'",
            (json.dumps(value),),
        )
        keys = {name: dict(levels) for name, levels in MAPPING_KEYS.items()}
        synced.connection.execute(b"select refresh_ad_links(%s)", (json.dumps(keys),))
        found = [part for part in synced.page(where).split("<tr>") if ad in part]
        assert "already named" in found[0], value


def test_requests_are_listed_found_and_paged(console: Console) -> None:
    console.connection.execute(
        """
        insert into requests (title, request_type, created_at)
        select case when n % 20 = 0 then %s else 'Banner ' || n end, 'creative',
               case when n %% 7 > 0 then now() - n * interval '1 day' end
          from generate_series(1, 60) n
        """.replace("n % 20", "n %% 20").encode(),
        (HOSTILE,),
    )

    def listed(address: str | None) -> list[str]:
        found: list[str] = []
        while address:
            page = console.page(address)
            found += re.findall(r'<a href="/metrics/requests/([-0-9a-f]{36})"', page)
            following = re.search(r'<a href="([^"]+)" rel="next">', page)
            address = unescape(following[1]) if following else None
        return found

    def ids(condition: str) -> list[str]:
        rows = console.connection.execute(
            "select id::text from requests where "  # noqa: S608 - ours
            f"{condition} order by coalesce(created_at, '-infinity') desc, id desc"
        ).fetchall()
        return [row[0] for row in rows]

    assert listed("/metrics/requests") == ids("true")
    assert listed("/metrics/requests?find=bAnner+1") == ids("title like 'Banner 1%'")
    page = console.page("/metrics/requests?find=%3Cb%3E")
    assert HOSTILE in text_of(page)
    assert "<b>x</b>" not in page
    assert listed(f"/metrics/requests?find={RETARGETING}") == [RETARGETING]
    assert "Nothing found." in console.page("/metrics/requests?find=no-such")


def test_accounts_before_any_plan_and_pages_that_do_not_exist(console: Console) -> None:
    text = text_of(console.page("/metrics"))
    assert text.count("the next plan includes it") == 4
    for path in (
        "/metrics/account?platform=meta&id=1",
        "/metrics/requests/00000000-0000-4000-8000-000000000000",
        f"/metrics/requests/{RETARGETING}/meta/yesterday",
    ):
        assert console.get(path).status_code == 404, path
    for path in (
        "/metrics/account",
        "/metrics?after=x",
        "/metrics/requests?after={}",
        '/metrics/requests?after={"created_at":"never","id":"1"}',
        f"/metrics/requests/{RETARGETING}?until=tomorrow",
        f"/metrics/unnamed?platform=a&id=b&after={json.dumps(dict.fromkeys(UNNAMED_KEY, 'NaN'))}",
    ):
        assert console.get(path).status_code == 400, path


def sync(status: str) -> LastSync:
    return LastSync(status, end_time=NOW, error=None, requests=1, api_version=None)


SYNCED = Account(
    platform="meta", account_id=META, connection_id=META_CONNECTION, name=None, is_active=True,
    sync_frequency=1440, last_synced_at=NOW - timedelta(hours=1), parked=None, until=None,
    reason="why", is_syncing=False, failures=0, window_days=None, time_zone="Europe/Oslo",
    currency=None, sync=sync("success"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "word", "following"),
    [
        ({}, "synced", NOW + timedelta(hours=23)),
        ({"is_syncing": True, "parked": "no"}, "syncing", "in progress, or planned"),
        (
            {"connection_id": None, "is_active": False, "last_synced_at": None},
            "disconnected",
            "by another connection, if there is one",
        ),
        (
            {
                "connection_id": None,
                "is_active": False,
                "last_synced_at": None,
                "sync": None,
                "time_zone": None,
            },
            "not synced yet",
            "with the next plan",
        ),
        ({"is_active": False}, "inactive", "none: its connection is inactive"),
        ({"parked": "refused"}, "parked", "once its credentials change, or it is released"),
        ({"until": NOW + timedelta(hours=2)}, "waiting", NOW + timedelta(hours=2)),
        ({"sync": sync("failed")}, "failed", NOW + timedelta(hours=23)),
        ({"sync": sync("partial")}, "partial", NOW + timedelta(hours=23)),
        ({"last_synced_at": None, "sync": None}, "not synced yet", "with the next plan"),
        ({"sync_frequency": 60}, "synced", "with the next plan"),
        ({"sync_frequency": 29}, "late", "with the next plan"),
    ],
)
def test_the_state_of_an_account(changes: dict[str, Any], word: str, following: str | Any) -> None:
    state = state_of_account(replace(SYNCED, **changes), NOW)
    assert (state.word, state.next_at or state.next_words) == (word, following)


def test_two_currencies_are_never_stacked() -> None:
    day = date(2026, 11, 20)
    rows = (
        DayFigure(day, "google_ads", "clicks", Decimal(5), is_complete=True, currency=None),
        DayFigure(day, "meta", "clicks", Decimal(7), is_complete=True, currency="EUR"),
        DayFigure(day, "meta", "spend", Decimal("1.5"), is_complete=True, currency="EUR"),
        DayFigure(day, "tiktok", "spend", Decimal(20), is_complete=False, currency="SEK"),
    )
    subject = Subject(RETARGETING, "x", client=None, request_type="creative", status=None)
    restated = frozenset({(day, "meta")})
    details = RequestDetails(subject, (), (), rows, restated)
    figures = list(day_figures(details))
    assert [(one.platform, one.is_restated, one.is_complete) for one in figures] == [
        ("google_ads", False, True), ("meta", True, True), ("tiktok", False, False),
    ]  # fmt: skip
    drawn = {one.title: one for one in request_charts([day], figures)}
    assert list(drawn) == ["Spend in EUR", "Spend in SEK", "Impressions", "Clicks"]
    assert drawn["Spend in EUR"].total(day) == Decimal("1.5")
    assert drawn["Spend in SEK"].partial == {day}
    assert drawn["Clicks"].total(day) == 12
    assert drawn["Impressions"].is_empty
    colours = {one.name: one.colour for chart in drawn.values() for one in chart.series}
    assert len(set(colours.values())) == 3, "each platform has its own"
    assert all(svg(chart) for chart in drawn.values())
