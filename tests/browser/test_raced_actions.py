"""Each action confirmed by a double click in one browser and by another person in a second one: SQL
shows its effect once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from server.console.actions import ACTIONS
from tests.browser.chromium import Visit, visit
from tests.browser.test_actions import queue, running_action, sql, state
from tests.integration.archive_bucket import DAY, NEXT_DAY
from tests.integration.processes import LONG
from tests.integration.test_archive import bucket  # noqa: F401 - a fixture
from tests.integration.test_restore import table
from tests.server.console.conftest import Console
from tests.server.console.test_retention import restorable  # noqa: F401 - a fixture

expect.set_options(timeout=LONG * 1000)

CHANNEL = "C0RACED000"


@dataclass(frozen=True)
class Case:
    """What two people confirm, and what SQL returns before and after. `touched` is the sum over all
    records; None where the action changes no row."""

    path: str
    effect: Callable[[], Any]
    before: Any
    after: Any
    touched: tuple[str, int] | None


def _release_destination(console: Console) -> Case:
    sql(
        console,
        "insert into slack_destinations (destination, parked_at, park_code, park_reason, probe_at, "
        "paused_since) values (%s, now(), 'not_in_channel', 'x', now() + interval '1 hour', "
        "now()) returning 1",
        CHANNEL,
    )
    return Case(
        f"release_destination?destination={CHANNEL}",
        lambda: sql(
            console,
            "select parked_at is not null from slack_destinations where destination = %s",
            CHANNEL,
        ),
        [(True,)],
        [(False,)],
        ("destinations", 1),
    )


def _release_account(console: Console) -> Case:
    ((connection,),) = sql(
        console, "select id::text from platform_connections where platform = 'linkedin'"
    )
    sql(
        console,
        "update metric_accounts set not_before = now() + interval '2 hours', failures = 1 "
        "where platform = 'linkedin' returning 1",
    )
    return Case(
        f"release_account?connection_id={connection}",
        lambda: sql(
            console, "select not_before is null from metric_accounts where platform = 'linkedin'"
        ),
        [(False,)],
        [(True,)],
        ("released", 1),
    )


def _notifications(console: Console, name: str, attempts: int, before: str, after: str) -> Case:
    ids = queue(console, attempts, attempts)
    return Case(
        f"{name}?" + "&".join(f"id={one}" for one in ids),
        lambda: [state(console, one) for one in ids],
        [before, before],
        [after, after],
        ("notifications", 2),
    )


def _save_template(console: Console) -> Case:
    ((config, template),) = sql(
        console,
        "select id::text, template from notification_config where template is not null "
        "order by id limit 1",
    )
    return Case(
        f"save_template?config_id={config}&template=raced",
        lambda: sql(console, "select template from notification_config where id = %s", config),
        [(template,)],
        [("raced",)],
        ("templates", 1),
    )


def _backfill(console: Console) -> Case:
    ((connection,),) = sql(
        console, "select id::text from platform_connections where platform = 'tiktok'"
    )
    return Case(
        f"backfill?connection_id={connection}&since=2026-02-01&until=2026-02-02",
        lambda: sql(
            console,
            "select count(*) from metric_days where platform = 'tiktok' "
            "and date between '2026-02-01' and '2026-02-02'",
        ),
        [(0,)],
        [(2,)],
        None,
    )


def _old_activity(console: Console, rows: int) -> Callable[[], Any]:
    sql(
        console,
        "insert into activity_log (entity_type, entity_id, action, created_at) "
        "select 'request', gen_random_uuid(), 'raced', now() - interval '100 days' "
        "from generate_series(1, %s) returning id",
        rows,
    )
    return lambda: sql(
        console,
        "select (select count(*) from activity_log where action = 'raced'), "
        "(select count(*) from archived_activity_log where action = 'raced')",
    )


def _due(console: Console) -> int:
    ((count,),) = sql(
        console, "select count(*) from activity_log where created_at < now() - interval '90 days'"
    )
    return int(count)


def _retention(console: Console) -> Case:
    effect = _old_activity(console, 3)
    ((left, archived),) = effect()
    return Case(
        "retention",
        effect,
        [(left, archived)],
        [(0, archived + left)],
        ("rows_archived", _due(console)),
    )


def _dry_run(console: Console) -> Case:
    effect = _old_activity(console, 2)
    return Case("retention_dry_run", effect, effect(), effect(), None)


def _posts(console: Console, path: str) -> Case:
    query = (
        "select (select count(*) from notification_queue), "
        "(select count(*) from performance_metrics), (select count(*) from activity_log)"
    )
    found = sql(console, query)
    return Case(path, lambda: sql(console, query), found, found, None)


def _stop(console: Console) -> Case:
    key = running_action(console)
    query = (
        "select count(*) from console_actions "
        "where action = 'stop' and subject = %s and outcome = 'done'"
    )
    return Case(
        f"stop?action_id={key}",
        lambda: sql(console, query, key),
        [(0,)],
        [(1,)],
        ("actions_stopped", 1),
    )


CASES: dict[str, Callable[[Console], Case]] = {
    "release_destination": _release_destination,
    "release_account": _release_account,
    "redrive": lambda console: _notifications(console, "redrive", 5, "dead", "waiting"),
    "skip": lambda console: _notifications(console, "skip", 0, "waiting", "skipped"),
    "save_template": _save_template,
    "examine": lambda console: _posts(console, "examine"),
    "test_post": lambda console: _posts(console, "test_post?channel=C0CREATIVE0"),
    "backfill": _backfill,
    "retention_dry_run": _dry_run,
    "retention": _retention,
    "stop": _stop,
}


@pytest.fixture(scope="module")
def two(browser: Browser, console: Console) -> Iterator[tuple[Visit, Visit]]:
    with visit(browser, console.url) as one, visit(browser, console.url) as other:
        for each in (one, other):
            each.sign_in(console.sign_in_url())
        yield one, other


@pytest.fixture
def pair(two: tuple[Visit, Visit]) -> Iterator[tuple[Visit, Visit]]:
    """Two people, each with a browser and a session."""
    yield two
    for each in two:
        each.leave()


def _open(seen: Visit, path: str, who: str) -> None:
    seen.go(f"/actions/confirm/{path}")
    seen.page.get_by_label("Your name").fill(who)


def _button(page: Page) -> Any:
    return page.locator("form[action^='/actions/confirm/'] button")


def _race(console: Console, pair: tuple[Visit, Visit], name: str, path: str) -> None:
    """Both have the page open; the first one double-clicks while the second one clicks."""
    ada, bob = pair
    ((before,),) = sql(console, "select count(*) from console_actions where action = %s", name)
    for seen, who in ((ada, "Ada"), (bob, "Bob")):
        _open(seen, path, who)
    _button(ada.page).dblclick(no_wait_after=True)
    _button(bob.page).click()
    expect(ada.page.locator("[data-outcome=done]")).to_be_visible()
    expect(bob.page.locator("[data-outcome=done], [data-refused]")).to_be_visible()
    # a refusal is an answer of 409, which the browser logs
    bob.trouble[:] = [one for one in bob.trouble if "409" not in one]
    refused = bob.page.locator("[data-refused]").count()
    done = sql(
        console, "select who, outcome from console_actions where action = %s order by who", name
    )[int(before) :]
    expected = [("Ada", "done")] if refused else [("Ada", "done"), ("Bob", "done")]
    assert done == expected, "one record for each confirmation"


@pytest.mark.parametrize("name", [name for name in ACTIONS if name != "restore"])
def test_it_is_done_once(console: Console, pair: tuple[Visit, Visit], name: str) -> None:
    case = CASES[name](console)
    assert case.effect() == case.before
    _race(console, pair, name, case.path)
    assert case.effect() == case.after
    if case.touched is not None:
        noun, count = case.touched
        query = "select sum((touched ->> %s)::int) from console_actions where action = %s"
        assert sql(console, query, noun, name) == [(count,)]


def test_days_are_restored_once(
    browser: Browser,
    restorable: tuple[Console, list[str]],  # noqa: F811 - the fixture
) -> None:
    console, rows = restorable
    assert table(console.stack) == []
    with visit(browser, console.url) as ada, visit(browser, console.url) as bob:
        for each in (ada, bob):
            each.sign_in(console.sign_in_url())
        ada.go(f"/retention/archive/{DAY}")
        ada.page.get_by_role("link", name="Restore").click()
        expect(ada.page.locator("main")).to_contain_text("archived object")
        path = f"restore?since={DAY}&until={NEXT_DAY}"
        _race(console, (ada, bob), "restore", path)
    assert table(console.stack) == rows
    total = "select sum((touched ->> 'rows_restored')::int) from console_actions"
    assert sql(console, total) == [(3,)]
