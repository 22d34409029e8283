"""The console's actions in a real browser, over the real stack: a person can, others cannot."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

from playwright.sync_api import Browser, Page, expect

from server.console.acting import Confirmation, InThread, Run, Scope, StoppedError
from server.console.project import Project
from tests.browser.chromium import Visit, visit
from tests.integration.processes import LONG
from tests.server.console.conftest import Console

expect.set_options(timeout=LONG * 1000)


def sql(console: Console, query: str, *values: Any) -> list[Any]:
    return console.connection.execute(query.encode(), values).fetchall()


def confirm(page: Page, title: str, *numbers: str) -> None:
    """Confirms on the page that asks, which has to show these numbers."""
    for number in numbers:
        expect(page.locator("main")).to_contain_text(number)
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name=title, exact=True).click()


def touched(page: Page) -> dict[str, int]:
    """What the action has affected, by its page, once it is done."""
    expect(page.locator("[data-outcome=done]")).to_be_visible()
    found: dict[str, int] = json.loads(
        page.locator("[data-touched]").get_attribute("data-touched") or ""
    )
    return found


def queue(console: Console, *attempts: int) -> list[str]:
    """Ids of new notifications that are not due; five attempts make one dead."""
    return [
        row[0]
        for row in sql(
            console,
            "insert into notification_queue "
            "(config_id, entity_id, entity_type, event_data, attempts, next_attempt_at) "
            "select (select id from notification_config order by id limit 1), gen_random_uuid(), "
            "'request', '{}', attempts, now() + interval '1 day' from unnest(%s::int[]) attempts "
            "returning id::text",
            list(attempts),
        )
    ]


def running_action(console: Console) -> str:
    """The key of an action that runs until it is stopped."""

    def wait(project: Project, arguments: Any, run: Run) -> dict[str, int]:
        run.clock.sleep(LONG)
        raise StoppedError("It was stopped.")

    key = str(uuid4())
    confirmed = Confirmation(key, "same", key, {}, "Ada", "s")
    InThread(lambda *_: Scope("same", {}), wait).act(console.project, "examine", confirmed)
    return key


def state(console: Console, one: str) -> str:
    ((found,),) = sql(
        console,
        "select console_notification_rows(array[%s::uuid]) -> 0 ->> 'state'",
        one,
    )
    return str(found)


def test_notifications_are_redriven_and_skipped(seen: Visit, console: Console) -> None:
    page, (dead, other, third, waiting) = seen.page, queue(console, 5, 5, 5, 0)
    seen.go("/notifications?state=dead")
    page.locator(f"input[value='{dead}']").check()
    page.locator(f"input[value='{other}']").check()
    with page.expect_response(lambda answer: answer.request.headers.get("hx-request") == "true"):
        pass  # the list is updated, and the selection stays
    expect(page.locator(f"input[value='{other}']")).to_be_checked()
    page.get_by_role("button", name="Redrive selected…").click()
    found = seen.violations()
    assert [state(console, one) for one in (dead, other)] == ["dead", "dead"]
    confirm(page, "Redrive", "2 notifications")
    assert touched(page) == {"notifications": 2}
    found += seen.violations()
    states = [state(console, one) for one in (dead, other, third, waiting)]
    assert states == ["waiting", "waiting", "dead", "waiting"]
    # the page that asked is not cached, so it is requested again
    page.go_back()
    expect(page.locator("[data-empty]")).to_be_visible()

    seen.go(f"/notifications/{waiting}")
    page.get_by_role("link", name="Skip…").click()
    confirm(page, "Skip", "1 notification")
    assert touched(page) == {"notifications": 1}
    assert state(console, waiting) == "skipped"

    seen.go("/notifications?state=dead")
    page.get_by_role("link", name="Redrive all that match…").click()
    confirm(page, "Redrive")
    assert touched(page)["notifications"] >= 1
    assert state(console, third) == "waiting"
    page.get_by_role("link", name="Actions", exact=True).first.click()
    expect(page.locator("tbody tr").first).to_contain_text("Ada")
    assert not found, "\n".join(found)


def test_parked_and_waiting_subjects_are_released(seen: Visit, console: Console) -> None:
    page = seen.page
    sql(
        console,
        "insert into slack_destinations (destination, parked_at, park_code, park_reason, probe_at, "
        "paused_since) values ('C0PARKED0', now(), 'not_in_channel', 'x', "
        "now() + interval '1 hour', now()) returning 1",
    )
    seen.go("/")
    page.locator("a[href*='release_destination']").click()
    confirm(page, "Release", "1 destination")
    assert touched(page) == {"destinations": 1}
    query = "select parked_at from slack_destinations where destination = 'C0PARKED0'"
    assert sql(console, query) == [(None,)]

    ((platform, account),) = sql(
        console,
        "update metric_accounts set not_before = now() + interval '2 hours', failures = 1 where "
        "(platform, account_id) = (select platform, account_id from metric_accounts order by 1, 2 "
        "limit 1) returning platform, account_id",
    )
    seen.go(f"/metrics/account?platform={platform}&id={account}")
    page.get_by_role("link", name="Release…").click()
    confirm(page, "Release", "1 waiting account")
    assert touched(page) == {"released": 1, "days_to_be_read_again": 0}
    query = "select not_before from metric_accounts where (platform, account_id) = (%s, %s)"
    assert sql(console, query, platform, account) == [(None,)]


def test_the_doctor_checks_again_and_posts(seen: Visit, console: Console) -> None:
    page = seen.page
    seen.go("/doctor")
    page.get_by_role("link", name="Check again…").click()
    confirm(page, "Check again", "0 rows changed")
    assert touched(page)["subjects"] > 4
    seen.go("/doctor")
    page.get_by_label("Channel id").fill("C0CREATIVE0")
    page.get_by_role("button", name="Post a test message…").click()
    confirm(page, "Post a test message", "1 message posted and deleted")
    assert touched(page)["subjects"] > 4


def test_two_clicks_and_two_browsers_act_once(browser: Browser, console: Console) -> None:
    (dead,) = queue(console, 5)
    where = f"/actions/confirm/redrive?id={dead}"
    with visit(browser, console.url) as first, visit(browser, console.url) as second:
        for one in (first, second):
            one.sign_in(console.sign_in_url())
            one.go(where)
            one.page.get_by_label("Your name").fill("Ada")
        first.page.get_by_role("button", name="Redrive", exact=True).dblclick()
        assert touched(first.page) == {"notifications": 1}
        second.page.get_by_role("button", name="Redrive", exact=True).click()
        expect(second.page.locator("[data-refused=stale]")).to_be_visible()
        second.trouble = [one for one in second.trouble if "409" not in one]
        done = sql(console, "select count(*) from console_actions where subject = %s", dead)
        assert done == [(1,)]


def test_a_foreign_page_and_a_page_without_its_token_do_nothing(
    seen: Visit, console: Console
) -> None:
    page, (dead,) = seen.page, queue(console, 5)
    seen.go(f"/actions/confirm/redrive?id={dead}")
    page.evaluate("document.querySelector('[name=form_token]').value = 'another'")
    page.get_by_role("button", name="Redrive", exact=True).click()
    expect(page.locator("main")).to_contain_text("another session")
    seen.trouble.clear()
    page.goto(console.stack.running.slack_url + "/none")
    page.set_content(
        f"<form method=post action='{console.url}/actions/confirm/redrive'>"
        f"<input name=id value='{dead}'><button>Win</button></form>"
    )
    page.get_by_role("button", name="Win").click()
    expect(page.locator("body")).to_contain_text("answers only its own pages")
    seen.trouble.clear()
    assert state(console, dead) == "dead"
    assert re.search("confirm/redrive", page.url)


def test_a_running_action_is_stopped(seen: Visit, console: Console) -> None:
    page, key = seen.page, running_action(console)
    seen.go(f"/actions/{key}")
    expect(page.locator("[data-outcome=running]")).to_be_visible()
    page.get_by_role("link", name="Stop…").click()
    found = seen.violations()
    confirm(page, "Stop", "1 action stopped")
    assert touched(page) == {"actions_stopped": 1}
    page.get_by_role("link", name="Show the result").click()
    expect(page.locator("[data-outcome=stopped]")).to_be_visible()
    assert page.get_by_role("link", name="Stop…").count() == 0
    assert found + seen.violations() == []


def test_a_template_is_tried_out(seen: Visit, console: Console) -> None:
    page = seen.page
    before = sql(console, "select id, template from notification_config order by id")
    ((one,),) = sql(
        console,
        "select id::text from notification_queue where outcome = 'sent' order by id limit 1",
    )
    seen.go(f"/notifications/{one}")
    shown = page.locator(".slack-message").inner_text()
    page.get_by_role("link", name="Try another template with it").click()
    assert page.locator(".slack-message").inner_text() == shown
    page.get_by_label("Template").fill("*{{title}}* {{odd}} **x**")
    page.get_by_label("Event data").fill('{"odd": "<b>x</b>"}')
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".slack-message mark.unknown")).to_have_text("{{title}}")
    expect(page.locator(".slack-message mark.escaped").first).to_be_visible()
    assert page.locator(".slack-message b b").count() == 0
    expect(page.locator("tr[data-key=odd]")).to_have_attribute("data-state", "escaped")
    expect(page.locator("[data-flaw]").last).to_contain_text("bold is *text*")
    assert seen.violations() == []
    assert sql(console, "select id, template from notification_config order by id") == before
    page.get_by_label("Event data").fill("{")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".notice.failed")).to_be_visible()


def test_days_are_read_again_and_retention_runs(seen: Visit, console: Console) -> None:
    page = seen.page
    ((account,),) = sql(
        console, "select account_id from metric_accounts where platform = 'tiktok' limit 1"
    )
    seen.go(f"/metrics/account?platform=tiktok&id={account}")
    page.get_by_label("From", exact=True).fill("2026-01-01")
    page.get_by_label("To", exact=True).fill("2026-01-04")
    page.get_by_role("button", name="Read again…").click()
    confirm(page, "Read them", f"(tiktok {account})", "4 days to read")
    assert touched(page)["days_read"] == 4

    sql(
        console,
        "insert into activity_log (entity_type, entity_id, action, created_at) values "
        "('request', gen_random_uuid(), 'edited', now() - interval '100 days') returning id",
    )
    due = "select count(*) from activity_log where created_at < now() - interval '90 days'"
    ((before,),) = sql(console, due)
    seen.go("/retention")
    page.get_by_role("link", name="Count what is due…").click()
    confirm(page, "Count", "0 rows changed")
    assert touched(page)["rows_counted_to_archive"] == before
    assert sql(console, due) == [(before,)]
    seen.go("/retention")
    page.get_by_role("link", name="Run now…").click()
    confirm(page, "Archive and delete")
    assert touched(page)["rows_archived"] == before
    assert sql(console, due) == [(0,)]
