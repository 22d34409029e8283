"""The pages of retention and of the cold archive, as served."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape

import pytest

from server.console.answers.retention import DueRows
from server.console.pages.retention import DAYS, MOST, due_chart, due_step
from tests.conftest import LocalStack
from tests.integration.archive_bucket import BUCKET, DAY, NEXT_DAY, Bucket, lines
from tests.integration.test_archive import bucket  # noqa: F401 - a fixture
from tests.integration.test_restore import archived_rows, table
from tests.server.console.conftest import Console, serving
from tests.server.console.test_actions import asked, ended_as, send
from tests.server.console.test_metrics import attributes, bars, text_of
from workers.database import Database

_POLICIES = """
    insert into retention_policies (entity_type, active_retention_days, archive_retention_days)
    values ('invoices', 1, 1), ('activity_log', 100, 200), ('ad_metrics', 400, 400);
    insert into retention_progress
      (entity_type, status, archived, purged, verified_bytes, remaining, stayed, error, updated_at)
    values ('activity_log', 'incomplete', 1234, 5, 0, 2,
            '[{"code": "23503", "reason": "<b>kept</b>", "rows": 2, "example": "e1"},
              {"code": "55P03", "reason": "in use", "rows": 1}]', 'x', now());
    insert into metric_ledger (whole_from) values ('2025-01-02');
"""


def due_rows(page: str) -> list[tuple[str, int]]:
    """Each step's table, and how many of its rows are due."""
    tags = [attributes(tag) for tag in re.findall(r"<tr data-table[^>]*>", page)]
    return [(one["data-table"], int(one["data-rows"])) for one in tags]


def test_due_rows_are_shown_by_day_as_in_the_database(console: Console) -> None:
    console.connection.execute(
        b"insert into archived_activity_log (id, entity_type, entity_id, action, created_at) "
        b"select gen_random_uuid(), 'request', gen_random_uuid(), 'edited', "
        b"now() - interval '365 days' - n * interval '9 hours' from generate_series(1, 20) n"
    )
    page = console.page("/retention")
    today = console.connection.execute(b"select (now() at time zone 'UTC')::date").fetchone()
    assert today is not None
    cutoff = today[0] - timedelta(days=90)
    rows = console.connection.execute(
        b"select (created_at at time zone 'UTC')::date, count(*) from activity_log "
        b"where created_at < now() - interval '90 days' group by 1 order by 1"
    ).fetchall()
    by_day = dict(rows)
    shown = bars(page, "activity_log, due now")
    first = cutoff - timedelta(days=DAYS - 1)
    assert {day for day, _ in shown} == {f"{day}" for day in by_day if day >= first}
    for (day, series), value in shown.items():
        assert series == "archived: activity_log"
        # more rows of the cutoff day become due during the test
        assert abs(value - by_day[date.fromisoformat(day)]) <= (1 if day == f"{cutoff}" else 0)
    due = dict(due_rows(page))
    older = sum(count for day, count in by_day.items() if day < first)
    assert older > MOST, "more than are counted"
    assert "or more" in text_of(page)
    assert due["activity_log"] == sum(map(int, shown.values())) + MOST
    assert due["archived_activity_log"] == 20


def test_policies_show_what_the_last_run_did(console: Console) -> None:
    console.connection.execute(_POLICIES.encode())
    page = console.page("/retention")
    text = text_of(page)
    assert "The policy for invoices is not carried out: there is no retention for" in text
    assert "the longer times apply" in text
    assert "100 days active, 365 days in all" in text
    assert "1,234 archived, 5 deleted, 2 left" in text
    assert "2 rows, such as e1 : <b>kept</b>" in text
    assert "1 row: in use" in text
    assert "<b>kept</b>" not in page
    assert "complete from 2025-01-02 on" in text
    assert "ARCHIVE_BUCKET_NAME is not set" in text
    assert ("ad_metrics", 0) in due_rows(page)


def test_a_day_that_was_not_counted_completely_is_marked() -> None:
    def due(days: dict[date, int], older: int | None, oldest: date | None = None) -> DueRows:
        until = datetime(2026, 11, 2, tzinfo=UTC)
        return DueRows("deleted", "notification_queue", True, until, days, older, oldest)

    day = date(2026, 11, 1)
    counted = due_step(due({day: MOST - 1}, 0))
    assert (counted.rows, counted.at_least) == (MOST - 1, False)
    assert due_step(due({day: MOST}, 0)).at_least
    assert due_step(due({}, MOST)).at_least
    assert not due_step(due({day: 5000}, None)).at_least
    assert due_step(due({day: 5000}, None, date(2026, 1, 1))).at_least
    chart = due_chart("notification_queue", [counted])
    assert chart is not None
    assert (len(chart.days), chart.days[-1]) == (DAYS, day)
    assert due_chart("notification_queue", [due_step(due({}, 5))]) is None


@pytest.fixture
def archiving(stack: LocalStack, bucket: Bucket) -> Iterator[Console]:  # noqa: F811 - the fixture
    """A console of a project with two days in its cold archive."""
    bucket.archive().store(lines(5) + lines(3, day=NEXT_DAY))
    with serving(stack, ARCHIVE_BUCKET_NAME=BUCKET) as made:
        yield made


def test_the_cold_archive_is_shown_by_day_and_each_object_verified(
    archiving: Console,
    bucket: Bucket,  # noqa: F811 - the fixture
) -> None:
    address = f"/retention/archive?until={NEXT_DAY}"
    page = archiving.page(address)
    sizes = {
        day: len(bucket.body(key))
        for day, key in zip((DAY, NEXT_DAY), bucket.objects(), strict=True)
    }
    assert bars(page, "Cold archive by day") == {
        (f"{day}", "objects"): Decimal(size) for day, size in sizes.items()
    }
    assert page.count(">complete</span>") == 2
    links = [unescape(link) for link in re.findall(r'href="(/retention/archive/[^"]+)"', page)]
    assert links == [f"/retention/archive/{NEXT_DAY}", f"/retention/archive/{DAY}"]
    text = text_of(archiving.page(links[1]))
    assert "1 object read back just now" in text
    assert "verified 5" in text

    key = bucket.objects()[0]
    body = bucket.body(key)
    bucket.put(key, body[:-1] + b"!")
    text = text_of(archiving.page(links[1]))
    assert "1 of 1 object failed verification" in text
    assert "its SHA-256 does not match" in text

    bucket.delete(key)
    bucket.put(key.replace(key.rpartition("/")[2][:24], "0" * 24), body)
    text = text_of(archiving.page(address))
    assert "1 object missing" in text
    assert "1 object without a manifest" in text
    text = text_of(archiving.page(links[1]))
    assert "it has no manifest" in text
    assert "it is missing" in text

    nothing = archiving.page("/retention/archive?until=2020-01-01")
    assert "The cold archive has nothing for these days" in nothing
    assert "The cold archive has nothing for this day" in archiving.page(
        "/retention/archive/2020-01-01"
    )


@pytest.fixture
def restorable(
    stack: LocalStack,
    bucket: Bucket,  # noqa: F811 - the fixture
) -> Iterator[tuple[Console, list[str]]]:
    """A console whose cold archive has three rows that the table no longer has, and these rows."""
    rows = archived_rows(stack, 3)
    bucket.archive().store(rows)
    stack.connection.execute(b"delete from archived_activity_log where created_at < '2025-03-13'")
    with serving(stack, ARCHIVE_BUCKET_NAME=BUCKET) as made:
        yield made, rows


def test_days_are_restored_from_the_cold_archive(restorable: tuple[Console, list[str]]) -> None:
    console, rows = restorable
    assert f"since={DAY}" in console.page(f"/retention/archive/{DAY}")
    form = asked(console, "restore", since=f"{DAY}", until=f"{NEXT_DAY}")
    assert send(console, "restore", form).status_code == 303
    assert ended_as(console, form["key"]) == ["done", {"rows_read": 3, "rows_restored": 3}, None]
    assert "data-empty" in console.page(
        "/actions/confirm/restore?since=2020-01-01&until=2020-01-02"
    )
    assert table(console.stack) == rows


def test_rows_that_the_table_refuses_are_reported(archiving: Console) -> None:
    form = asked(archiving, "restore", since=f"{DAY}", until=f"{DAY}")
    assert send(archiving, "restore", form).status_code == 303
    outcome, touched, error = ended_as(archiving, form["key"])
    assert (outcome, touched) == ("failed", {"rows_read": 5, "rows_restored": 0})
    assert "refused by the table: 5 rows" in error


def test_pages_that_do_not_exist(console: Console) -> None:
    assert console.get("/retention/archive/2025-03-11").status_code == 404
    assert console.get("/retention/archive/x").status_code == 404
    assert console.get("/retention/archive?until=x").status_code == 400
    assert "There is no bucket" in console.page("/retention/archive")


def test_what_is_shown_as_due_is_archived(console: Console) -> None:
    """A run of the worker takes what the page shows."""
    settings = console.project.settings
    before = dict(due_rows(console.page("/retention")))
    database = Database(settings.supabase_url, settings.supabase_service_role_key)
    now = datetime.fromisoformat(database.call("console_retention")["now"])
    cutoff = (now - timedelta(days=90)).isoformat()
    went = database.call("archive_activity_batch", cutoff=cutoff, batch_size=10_000)
    database.close()
    assert 0 < before["activity_log"] <= went
    assert dict(due_rows(console.page("/retention")))["activity_log"] <= 1
