"""The pages of the overview, of runs and of the doctor, as served: they show what SQL returns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from server.console.project import Project
from tests.conftest import LocalStack
from tests.integration.processes import eventually
from tests.server.console.conftest import Console
from workers.composition.container import forget_clients
from workers.composition.notifications import run_notifications
from workers.errors import CredentialsError


class Context:
    """The used part of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.fixture
def _settings(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Any:
    """This process's settings are those of the stack."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    forget_clients()
    yield
    forget_clients()


def figures(page: str) -> dict[str, str]:
    """The texts at data-figure, without markup."""
    found = re.findall(r'<dd data-figure="([\w-]+)">(.*?)</dd>', page, re.DOTALL)
    return {name: re.sub(r"<[^>]*>", "", shown).strip() for name, shown in found}


def raised(page: str) -> set[str]:
    """The alarms in the list of problems."""
    return set(re.findall(r"<li><strong>(\w+)</strong>", page))


def count(console: Console, query: str) -> int:
    row = console.connection.execute(
        f"select count(*) from {query}".encode()  # noqa: S608
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.usefixtures("_settings")
def test_runs_and_waiting_notifications_are_shown(console: Console) -> None:
    before = console.page("/")
    assert console.stack.running.api_url in before
    waiting = figures(before)
    assert waiting["due"] == str(count(console, "notification_queue where not is_processed"))
    assert waiting["accounts-unread"] == str(count(console, "platform_connections where is_active"))
    assert {"NotificationsMissing", "MetricsSyncMissing"} <= raised(before)
    assert "data-value" not in before

    sent = run_notifications(Context())["sent"]
    after = console.page("/")
    assert figures(after)["due"] == "0"
    assert not {"NotificationsMissing", "OldestDue"} & raised(after)
    assert re.findall(r'data-value="(\d+)"', after) == [str(sent)]
    (run,) = re.findall(r'href="(/runs/[0-9a-f-]{36})"', after)

    page = console.page(run)
    assert "sent everything that was due" in page
    assert re.search(rf'<th scope="row">sent</th><td class="wide">{sent}</td>', page)


def test_what_a_run_sends_is_shown_before_it_ends(console: Console) -> None:
    console.connection.execute(
        """
        update notification_queue
           set is_processed = true,
               created_at = now() - interval '1 day',
               processed_at = now() - n * interval '61 seconds',
               outcome = case when n % 2 = 0 then 'skipped' when n <= 5 then 'sent' end
          from (
            select id, row_number() over (order by id) as n from notification_queue
          ) numbered
         where numbered.id = notification_queue.id
        """
    )
    console.connection.execute(
        "insert into worker_leases (name, holder, renewed_at, expires_at) values "
        "('notifications', gen_random_uuid(), now(), now() + interval '30 seconds'), "
        "('retention', '00000000-0000-0000-0000-000000000000', now(), now() + interval '1 hour') "
        "on conflict (name) do update "
        "set holder = excluded.holder, expires_at = excluded.expires_at"
    )
    page = console.page("/")
    bars = dict(re.findall(r'data-minute="([^"]+)" data-value="(\d+)"', page))
    rows = console.connection.execute(
        "select to_char(date_trunc('minute', processed_at) at time zone 'UTC', "
        """'YYYY-MM-DD"T"HH24:MI:SS"Z"'), count(*)::text from notification_queue """
        "where outcome is distinct from 'skipped' group by 1"
    ).fetchall()
    assert bars == dict(rows)
    assert page.count("a run is in progress") == 2, "for notifications: their card and alarm"
    assert "NotificationsMissing" not in raised(page)


def test_the_live_part_can_be_requested_alone(console: Console) -> None:
    part = console.get("/", hx_request="true", hx_target="div#live").text
    assert "<html" not in part
    assert figures(part) == figures(console.page("/"))
    assert "<html" in console.get("/", hx_request="true", hx_target="div#other").text
    assert "<html" in console.get("/", hx_target="div#live").text


def test_what_is_stalled_is_shown_with_its_reason(console: Console) -> None:
    console.connection.execute(
        "insert into slack_destinations (destination, parked_at, park_code, park_reason, probe_at) "
        "values ('C0HOSTILE', now() - interval '2 hours', 'is_archived', "
        "'<b>archived</b> \u202e \"quoted\" xoxb-1234567890-secret', now() + interval '1 hour')"
    )
    console.connection.execute(
        "insert into slack_workspace (stopped_at, stop_code, stop_reason) "
        "values (now() - interval '3 minutes', 'token_revoked', 'The token was revoked') "
        "on conflict (only_one) do update set stopped_at = excluded.stopped_at, "
        "stop_code = excluded.stop_code, stop_reason = excluded.stop_reason"
    )
    page = console.page("/")
    assert figures(page)["parked"] == "1"
    assert "&lt;b&gt;archived&lt;/b&gt; [U+202E] &#34;quoted&#34; [redacted]" in page
    assert re.search(r"2 hours ago</time>", page)
    assert page.index("The token was revoked") < page.index("C0HOSTILE"), (
        "what stops everything comes first"
    )
    assert "DestinationsParked" in raised(page)
    assert 'href="/notifications?channel=C0HOSTILE"' in page


def test_a_failed_run_shows_its_error(console: Console) -> None:
    ids = [
        row[0]
        for row in console.connection.execute(
            "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, counts, "
            "error_class, error) select 'retention', now() - n * interval '1 hour', "
            "now() - n * interval '1 hour' + interval '90 seconds', 'failed', false, "
            """'{"policies": [{"error": "<i>no</i>"}], "purged": 1200, "dry": false}', """
            "'TransientError', '<script>x</script> Bearer abcdefgh' "
            "from generate_series(1, 3) n returning id"
        )
    ]
    newest, middle, oldest = ids
    page = console.page(f"/runs/{middle}")
    assert "failed: something did not answer" in page
    assert "&lt;script&gt;x&lt;/script&gt; Bearer [redacted]" in page
    assert "&lt;i&gt;no&lt;/i&gt;" in page
    assert "1,200" in page
    assert "90 s" in page
    assert f'href="/runs/{newest}" rel="next"' in page
    assert f'href="/runs/{oldest}" rel="prev"' in page
    assert "RetentionFailed" in raised(console.page("/"))


def test_a_syncs_run_leads_to_its_account(console: Console) -> None:
    row = console.connection.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, counts) values "
        "('connection_sync', now(), now(), 'partial', false, "
        """'{"platform": "meta", "account_id": "12&3", "code": null, "pages": 3}') returning id"""
    ).fetchone()
    assert row is not None
    page = console.page(f"/runs/{row[0]}")
    assert 'href="/metrics/account?platform=meta&amp;id=12%263"' in page
    assert "read a part; the next sync continues" in page
    assert "meta 12&amp;3: partial" in console.page("/")


def test_a_page_that_does_not_exist_is_a_404(console: Console) -> None:
    for path in ("/runs/00000000-0000-0000-0000-000000000000", "/runs/x", "/nowhere"):
        answer = console.get(path)
        assert answer.status_code == 404
        assert "<h1>" in answer.text


def test_an_error_of_the_database_is_shown_with_its_fix(console: Console) -> None:
    console.connection.execute("drop function console_overview")
    answer = console.get("/")
    assert answer.status_code == 503
    assert "python -m workers.operate migrate" in answer.text
    assert console.stack.running.api_url in answer.text


@pytest.mark.usefixtures("_settings")
def test_the_doctor_shows_each_finding_with_its_fix(console: Console) -> None:
    def has_ended() -> bool:
        return "Checked" in console.page("/doctor")

    assert "checked so far" in console.page("/doctor")
    eventually(has_ended, "the examination does not end")
    page = console.page("/doctor")
    for subject in ("Settings", "Database", "Slack", "Ad platforms", "Workers"):
        assert f">{subject}</h2>" in page
    assert page.count("Fix:") == len(re.findall(r'data-level="(?:warning|failed)"', page)) > 0

    assert "/actions/confirm/examine" in page


def test_a_rotated_key_is_read_again(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("sb_secret_of_yesterday_0123456789")
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SUPABASE_SERVICE_ROLE_KEY")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY_FILE", str(key))
    forget_clients()
    try:
        project = Project()
        with pytest.raises(CredentialsError):
            project.call("worker_health")
        key.write_text(stack.running.keys.secret)
        assert project.call("worker_health")["dead"] == 0
    finally:
        forget_clients()
