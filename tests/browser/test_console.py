"""The console in a real browser, over the real stack: what people see and do there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from typing import Any

from playwright.sync_api import Browser, Page, expect
from starlette.routing import Match, Route

from local.invoke import invoke
from server.console.app import LINKED, SUBJECTS
from tests.browser.chromium import DESK, PHONE, Visit, visit
from tests.integration.processes import LONG
from tests.server.console.conftest import Console

expect.set_options(timeout=LONG * 1000)

ROUTES = [
    route
    for module in (*SUBJECTS, *LINKED)
    for route in module.ROUTES
    if route.methods is not None and "GET" in route.methods
]
# Pages without a link in an agency without a cold archive.
UNLINKED = {"/retention/archive", "/retention/archive/{day}"}
# Harmless, and markup wherever it is not escaped.
HOSTILE = "<b>x</b>\"><i title='y'>&amp;`{{7*7}}${7*7}</textarea><!-- \x01"


def sql(console: Console, query: str, *values: Any) -> list[Any]:
    """The rows."""
    return console.connection.execute(query.encode(), values).fetchall()


def route_of(path: str) -> Route:
    """The route of a path."""
    scope = {"type": "http", "method": "GET", "path": path.partition("?")[0], "headers": []}
    return next(route for route in ROUTES if route.matches(scope)[0] is Match.FULL)


def one_of_each(seen: Visit) -> Iterator[str]:
    """A path for each route that links lead to, starting at the first page; each is open while it
    is yielded."""
    ahead, done = ["/"], set[str]()
    while ahead:
        path = ahead.pop(0)
        route = route_of(path).path
        if route in done:
            continue
        done.add(route)
        assert seen.go(path).status == 200, path
        yield path
        links = seen.page.locator("main a[href^='/'], nav a[href^='/']")
        ahead += links.evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert done == {route.path for route in ROUTES} - UNLINKED


def record(console: Console) -> None:
    """Records an action, so that its page has a link."""
    console.connection.execute(
        b"insert into console_actions (id, action, arguments, who, session, began_at, renewed_at, "
        b"ended_at, outcome, confirmed) values (gen_random_uuid(), 'examine', '{}', 'Ada', 's', "
        b"now(), now(), now(), 'done', '{\"rows_changed\": 0}')"
    )


def test_every_page_is_accessible(seen: Visit, console: Console) -> None:
    """By axe, in light and dark, on a phone, by its headings; and links lead to all pages."""
    page, found = seen.page, []
    record(console)
    for path in chain(one_of_each(seen), ("/retention/archive", "/none")):
        if page.url != seen.url + path:
            seen.go(path)
        if path == "/doctor":
            expect(page.locator("#again")).to_be_visible()
        expect(page.locator("h1")).to_have_count(1)
        found += seen.violations()
        assert min(seen.background()) > 200
        page.emulate_media(color_scheme="dark")
        assert max(seen.background()) < 60
        found += seen.violations("color-contrast")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(PHONE)
        found += [f"{path} is wider than a phone: {wide}" for wide in seen.too_wide()]
        page.set_viewport_size(DESK)
        if path == "/none":
            assert seen.trouble.pop().startswith("said Failed to load resource")
    assert not found, "\n".join(found)


def test_filters_and_links_work_without_scripts(browser: Browser, console: Console) -> None:
    with visit(browser, console.url, java_script_enabled=False) as made:
        made.sign_in(console.sign_in_url())
        page = made.page
        page.locator("nav").get_by_role("link", name="Notifications").click()
        rows = page.locator("table.notifications tbody tr")
        expect(rows).to_have_count(sql(console, "select count(*) from notification_queue")[0][0])
        page.get_by_label("State").select_option("sent")
        page.get_by_label("Channel or person").select_option("C0CREATIVE0")
        page.get_by_role("button", name="Show").click()
        sent = sql(
            console,
            "select notification_id from notification_deliveries "
            "where state = 'sent' and destination = 'C0CREATIVE0'",
        )
        expect(rows).to_have_count(len(sent))
        expect(page.get_by_label("State")).to_have_value("sent")
        page.get_by_label("Text or id").fill("MENU-V3")
        page.get_by_role("button", name="Show").click()
        expect(rows).to_have_count(1)
        rows.get_by_role("link").click()
        message = page.locator(".slack-message")
        expect(message).to_contain_text("Menu & window signs")
        expect(page.get_by_text("Slack accepted it.")).to_be_visible()
        page.get_by_role("link", name=re.compile("asset_uploaded")).click()
        expect(rows).to_have_count(1)


def test_pages_update_by_themselves(seen: Visit, console: Console) -> None:
    page = seen.page
    seen.go("/notifications")
    live = page.locator("#live")
    expect(live).to_have_attribute("data-hx-trigger", "every 2s")
    before = page.locator("tbody tr").count()
    page.get_by_label("Text or id").fill("half typed")
    page.evaluate("document.getElementById('live').dataset.kept = 'yes'")
    ((added,),) = sql(
        console,
        "select enqueue_notification((select id from notification_config limit 1), "
        "gen_random_uuid(), 'request', '{\"request_title\": \"just now\"}')",
    )
    expect(page.locator(f"#n-{added}")).to_contain_text("waiting")
    expect(page.locator("tbody tr")).to_have_count(before + 1)
    assert skip(console, added) == 1
    expect(page.locator(f"#n-{added}")).to_contain_text("skipped")
    # what a person has typed stays
    assert live.get_attribute("data-kept") == "yes"
    expect(page.get_by_label("Text or id")).to_have_value("half typed")


def skip(console: Console, notification: str) -> int:
    """As an operator does."""
    ((count,),) = sql(console, "select skip_notifications(array[%s::uuid])", notification)
    return int(count)


def bars(page: Page, title: str) -> dict[tuple[str, str], Decimal]:
    """The values of a chart, by day and series."""
    found = page.locator(f"svg[data-chart='{title}'] rect").evaluate_all(
        "bars => bars.map(({dataset, parentNode}) => "
        "[dataset.day, parentNode.dataset.series, dataset.value])"
    )
    return {(day, series): Decimal(value) for day, series, value in found}


def test_charts_and_tables_show_what_sql_returns(seen: Visit, console: Console) -> None:
    page = seen.page
    ((request,),) = sql(
        console,
        "select request_id from performance_metrics where derived and metric_type = 'spend' "
        "group by request_id order by count(distinct platform) desc, request_id limit 1",
    )
    seen.go(f"/metrics/requests/{request}")
    for title in ("Spend", "Impressions", "Clicks"):
        rows = sql(
            console,
            "select date::text, platform, value from performance_metrics where derived "
            "and request_id = %s and metric_type = %s",
            request, title.lower(),
        )  # fmt: skip
        expected = {(day, platform): value for day, platform, value in rows if value is not None}
        shown = bars(page, title)
        assert shown.keys() <= expected.keys()
        assert shown == {key: expected[key] for key in shown}
        assert len(shown) > 40, "several platforms, most of a month"
        label = page.locator(f"svg[data-chart='{title}']").get_attribute("aria-label")
        total = sum(shown.values(), Decimal()).normalize()
        assert f" {total:f} " in (label or "")
    # what makes up a figure
    page.get_by_role("link", name=re.compile("^Which ads")).first.click()
    spend = page.locator("dd[data-figure='spend']").get_attribute("data-value")
    ads = page.locator("tr[data-ad]").count()
    assert ads >= 1
    expect(page.get_by_text("spend: yes")).to_be_visible()
    *_, platform, day = page.url.split("/")
    ((value,),) = sql(
        console,
        "select value from performance_metrics where derived and request_id = %s "
        "and platform = %s and date = %s::date and metric_type = 'spend'",
        request, platform, day,
    )  # fmt: skip
    assert Decimal(spend or "") == value

    seen.go("/metrics")
    accounts = sql(console, "select platform, account_id from metric_accounts order by 1, 2")
    expect(page.locator("svg.days")).to_have_count(len(accounts) + 5)  # and the legend's
    page.locator("tbody th a").first.click()
    spent = sql(
        console,
        "select sum(day.spend_read) from metric_days day where (day.platform, day.account_id) = "
        "(%s, %s)",
        *re.findall(r"platform=([^&]+)&id=(.+)", page.url)[0],
    )
    assert sum(bars(page, "Spend").values(), Decimal()) == spent[0][0]

    sql(
        console,
        "insert into activity_log (entity_type, entity_id, action, created_at) select 'request', "
        "gen_random_uuid(), 'edited', now() - n * interval '40 days' from generate_series(3, 9) n "
        "returning id",
    )
    seen.go("/retention")
    due = page.locator("tr[data-table='activity_log']").get_attribute("data-rows")
    query = "select count(*) from activity_log where created_at < now() - interval '90 days'"
    assert int(due or "") == sql(console, query)[0][0] > 0


def test_by_keyboard_alone(seen: Visit) -> None:
    page = seen.page
    seen.go("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert int(width.removesuffix("px")) >= 2, "focus is visible"

    seen.go("/notifications")
    reached = tab_to(page, "select[name=state]")
    assert "Pages" in reached
    page.keyboard.press("s")  # sent
    tab_to(page, "form.filters button")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("state=sent"))
    tab_to(page, "table.notifications a")
    page.keyboard.press("Enter")
    expect(page.locator(".slack-message")).to_be_visible()


def tab_to(page: Page, selector: str) -> set[str]:
    """Presses Tab until an element of that selector has the focus; returns the labelled regions on
    the way."""
    regions = set[str]()
    for _ in range(100):
        page.keyboard.press("Tab")
        reached, region = page.evaluate(
            "selector => [document.activeElement.matches(selector), "
            "document.activeElement.closest('[aria-label]')?.getAttribute('aria-label')]",
            selector,
        )
        regions.add(region or "")
        if reached:
            return regions
    raise AssertionError(f"{selector} cannot be reached by Tab")


def test_hostile_texts_are_text(seen: Visit, console: Console) -> None:
    hostile = HOSTILE.replace("\x01", "")
    made = console.connection.execute(
        """
        with client as (
          insert into clients (name) values (%(text)s) returning id
        ),
        request as (
          insert into requests (title, client_id, request_type, metadata)
          select %(text)s, client.id, 'creative', jsonb_build_object('meta_ad_id', %(text)s)
            from client returning id
        ),
        connection as (
          insert into platform_connections
            (platform, account_id, account_name, credentials, created_at)
          values ('meta', %(text)s, %(text)s, '{}', now())
        ),
        config as (
          insert into notification_config (entity_type, event_type, template)
          values ('request', left(%(text)s, 50), %(text)s || ' {{value}} *{{value}}*') returning id
        ),
        run as (
          insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, counts,
                                   error_class, error)
          values ('notifications', now(), now(), 'failed', false,
                  jsonb_build_object(%(text)s, %(text)s), %(text)s, %(text)s)
          returning id
        ),
        queued as (
          insert into notification_queue
            (config_id, entity_id, entity_type, event_data, attempts, last_error)
          select config.id, gen_random_uuid(), 'request',
                 jsonb_build_object('value', %(text)s::text), 5, %(text)s
            from config returning id
        )
        select request.id, run.id, queued.id from request, run, queued
        """,
        {"text": hostile},
    ).fetchone()
    assert made is not None
    request, run, notification = made
    page = seen.page
    for path in (
        "/", "/notifications", f"/notifications/{notification}", f"/runs/{run}", "/metrics",
        "/metrics/requests", f"/metrics/requests/{request}",
        "/metrics/requests?find=" + "%3Cb%3Ex%3C/b%3E%22%3E",
    ):  # fmt: skip
        assert seen.go(path).status == 200
        assert page.locator("main b, main i, main textarea, body > i").count() == 0, path
        assert "<b>x</b>" in page.locator("main").inner_text() or path == "/", path
        assert "{{7*7}}" in page.locator("main").inner_text() or path == "/", path
    seen.go(f"/notifications/{notification}")
    assert HOSTILE[:30] in page.locator(".slack-message").inner_text()


def test_strangers_and_foreign_pages_get_nothing(browser: Browser, console: Console) -> None:
    address = console.sign_in_url()
    with visit(browser, console.url) as stranger:
        assert stranger.go("/notifications").status == 401
        assert stranger.page.locator("main, table").count() == 0
        stranger.trouble.clear()
        stranger.sign_in(address)
        # a page of another origin in the browser that has the session
        stranger.page.goto(console.stack.running.slack_url + "/none")
        answers = stranger.page.evaluate(
            """async url => {
              const ask = (path, options) => fetch(url + path, options)
                .then(answer => answer.type, error => error.name);
              return [
                await ask("/notifications", {credentials: "include"}),
                await ask("/doctor", {credentials: "include", method: "POST", mode: "no-cors"}),
              ];
            }""",
            console.url,
        )
        assert answers == ["TypeError", "TypeError"]
        stranger.trouble.clear()
    with visit(browser, console.url) as other:
        assert other.page.goto(address).status == 401  # type: ignore[union-attr]
        other.trouble.clear()


def test_the_local_slack_and_health_pages_are_accessible(
    browser: Browser, console: Console
) -> None:
    with visit(browser, console.stack.running.slack_url) as slack:
        slack.go("/")
        expect(slack.page.get_by_role("heading", name="#creative")).to_be_visible()
        expect(slack.page.locator(".slack-message").first).to_be_visible()
        found = slack.violations()
        slack.page.set_viewport_size(PHONE)
        assert slack.too_wide() == []
    event = {
        "version": "2.0", "headers": {"accept": "text/html"},
        "requestContext": {"http": {"method": "GET", "path": "/"}},
    }  # fmt: skip
    answer = invoke("health", event, console.stack.environment())
    assert answer["statusCode"] == 200
    with visit(browser, console.url) as health:
        health.page.set_content(answer["body"])
        expect(health.page.locator("h1")).to_have_text("All workers are healthy")
        found += health.violations()
        health.page.set_viewport_size(PHONE)
        assert health.too_wide() == []
    assert not found, "\n".join(found)
