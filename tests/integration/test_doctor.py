"""The doctor over a real stack: each thing that can be wrong, and whether it names the fix."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.fakes.google_ads import invalid_grant
from local.fakes.meta import graph_error, token_expired
from local.faults import slack_error
from tests.conftest import LocalStack
from tests.integration.examination import Examine, changed, failed, one_failure
from workers.composition.doctor import run_doctor
from workers.doctor.database_checks import (
    SCHEMA_VERSION,
    check_clock,
    check_version,
)
from workers.errors import ConfigurationError
from workers.findings import Finding
from workers.operate.__main__ import main


def test_a_healthy_setup_has_no_failures(examine: Examine) -> None:
    status, sections = examine("--post", "C0CREATIVE0")
    assert status == 0
    for title, findings in sections.items():
        assert findings, title
        levels = {one["level"] for one in findings}
        assert levels == ({"warning"} if title == "Workers" else {"ok"}), (title, findings)
    assert set(sections) == {
        "Settings", "Database", "Access", "Slack", "Test message", "API versions",
        "Notification configs",
        "Ad platforms", "Ads of requests", "Retention", "Workers",
    }  # fmt: skip


def test_the_test_message_is_deleted(examine: Examine, stack: LocalStack) -> None:
    examine("--post", "C0CREATIVE0")
    messages = stack.running.slack.state()["messages"]
    assert not messages.get("C0CREATIVE0")


def test_settings_that_are_missing_or_malformed(examine: Examine) -> None:
    status, sections = examine(SUPABASE_URL="abc.supabase.co", SLACK_BOT_TOKEN="hunter2")
    assert status == 1
    shown = failed(sections["Settings"])
    assert len(shown) == 2
    assert "SUPABASE_URL is not a URL" in shown[0][0]
    assert "SLACK_BOT_TOKEN starts with xoxb-" in shown[1][0]
    assert ".env" in shown[0][1]


def test_a_url_that_does_not_answer(examine: Examine) -> None:
    status, sections = examine(SUPABASE_URL="http://127.0.0.1:9")
    assert status == 1
    assert "could not be reached" in one_failure(sections["Database"])
    assert not failed(sections["Slack"]), "Slack is checked all the same"


def test_a_wrong_key(examine: Examine) -> None:
    _, sections = examine(SUPABASE_SERVICE_ROLE_KEY="sb_secret_of_another_project")
    shown = one_failure(sections["Database"])
    assert "SUPABASE_SERVICE_ROLE_KEY" in shown


def test_migrations_that_are_missing(examine: Examine, stack: LocalStack) -> None:
    with changed(
        stack,
        "alter function doctor_report rename to no_report",
        "alter function no_report rename to doctor_report",
    ):
        _, sections = examine()
    assert "operate migrate" in one_failure(sections["Database"])


def test_migrations_that_are_old_or_newer() -> None:
    (old,) = check_version("20261124000600")
    assert old.level == "failed"
    assert "operate migrate" in old.fix
    (newer,) = check_version("29990101000000")
    assert newer.level == "warning"
    assert "make deploy" in newer.fix


def test_the_version_is_that_of_the_newest_migration(stack: LocalStack) -> None:
    root = Path(__file__).resolve().parents[2]
    newest = max(path.name for path in (root / "supabase" / "migrations").glob("*.sql"))
    assert newest.startswith(SCHEMA_VERSION)
    row = stack.connection.execute("select workers_schema_version()").fetchone()
    assert row == (SCHEMA_VERSION,)


@pytest.mark.parametrize(
    ("seconds", "level"), [(0, "ok"), (59, "ok"), (61, "failed"), (-61, "failed")]
)
def test_a_clock_that_is_wrong(seconds: int, level: str) -> None:
    now = datetime(2025, 3, 11, tzinfo=UTC)
    (found,) = check_clock(now.isoformat(), now + timedelta(seconds=seconds))
    assert found.level == level
    assert level == "ok" or "NTP" in found.fix


def test_a_revoked_slack_token(examine: Examine, stack: LocalStack) -> None:
    stack.running.slack.add_faults(slack_error("token_revoked", times=None))
    _, sections = examine()
    shown = one_failure(sections["Slack"])
    assert "token_revoked" in shown
    assert "new credential" in shown


def test_a_missing_scope(examine: Examine, stack: LocalStack) -> None:
    state = stack.running.slack.state()
    (token,) = state["tokens"]
    state["tokens"][token]["scopes"] = ["im:write", "channels:read", "groups:read"]
    stack.running.slack.replace_state(state)
    _, sections = examine()
    shown = failed(sections["Slack"])
    assert any("the token lacks chat:write" in text and "reinstall" in fix for text, fix in shown)
    assert any("channels:history" in one["text"] for one in sections["Slack"])


def test_scopes_that_only_lookups_need(examine: Examine, stack: LocalStack) -> None:
    state = stack.running.slack.state()
    (token,) = state["tokens"]
    state["tokens"][token]["scopes"] = ["chat:write"]
    stack.running.slack.replace_state(state)
    _, sections = examine()
    assert failed(sections["Slack"]) == []
    warned = [one["text"] for one in sections["Slack"] if one["level"] == "warning"]
    assert any("im:write" in text and "posted again with a mark" in text for text in warned)
    assert any("C0CREATIVE0 cannot be checked" in text for text in warned)


def test_a_channels_name_instead_of_its_id(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute("update notification_config set channel_id = 'creative'")
    _, sections = examine()
    assert "is a channel's name; use the id" in one_failure(sections["Slack"])


@pytest.mark.parametrize(
    ("change", "text", "fix"),
    [
        ({"member": False}, "the bot is not in #creative", "/invite"),
        ({"archived": True}, "#creative (C0CREATIVE0) is archived", "Unarchive"),
        ({"private": True, "member": False}, "channel_not_found", "/invite"),
    ],
)
def test_a_channel_that_cannot_be_posted_to(
    examine: Examine, stack: LocalStack, change: dict[str, bool], text: str, fix: str
) -> None:
    state = stack.running.slack.state()
    state["channels"]["C0CREATIVE0"] |= change
    stack.running.slack.replace_state(state)
    _, sections = examine()
    shown = one_failure(sections["Slack"])
    assert text in shown
    assert fix in shown


def test_a_test_message_that_cannot_be_found_is_deleted_all_the_same(
    examine: Examine, stack: LocalStack
) -> None:
    state = stack.running.slack.state()
    (token,) = state["tokens"]
    state["tokens"][token]["scopes"].remove("channels:history")
    stack.running.slack.replace_state(state)
    _, sections = examine("--post", "C0CREATIVE0")
    assert "could not be looked for" in one_failure(sections["Test message"])
    assert not stack.running.slack.state()["messages"].get("C0CREATIVE0")


def test_configs_without_a_destination(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute("delete from slack_connected_channels")
    stack.connection.execute("update profiles set slack_id = null")
    _, sections = examine()
    shown = failed(sections["Notification configs"])
    assert any("neither a channel nor a person" in text for text, _ in shown)
    assert any("profiles.slack_id" in fix for _, fix in shown)
    stack.connection.execute("insert into slack_connected_channels (channel_id) values (' ')")
    _, sections = examine()
    assert failed(sections["Notification configs"]) == shown, "a blank channel receives nothing"


def test_templates_that_do_not_work_as_intended(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute(
        "update notification_config set template = "
        "'**{{request_title}}** by {{author.name}} for {{client.name}}, {{words.new_status}}' "
        "where event_type = 'status_change'"
    )
    _, sections = examine()
    shown = [one for one in sections["Notification configs"] if one["level"] == "warning"]
    assert len(shown) == 2
    assert all("template of status_change (f0000000" in one["text"] for one in shown)
    assert "events carries {{author.name}}" in shown[0]["text"]
    assert "bold is *text*" in shown[1]["text"]
    assert "docs/messages.md" in shown[0]["fix"]


def test_what_is_stopped_is_reported_with_its_fix(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into slack_workspace (stopped_at, stop_code, stop_reason) "
        "values (now() - interval '1 hour', 'missing_scope', 'the token lacks chat:write');"
        "insert into slack_destinations "
        "(destination, parked_at, park_code, park_reason, probe_at, paused_since) values "
        "('C0CREATIVE0', now(), 'is_archived', 'it is archived', '2030-01-02 03:04+00', now());"
        "insert into notification_unrouted (notification_id, config_id, due_at, queued_at, "
        "ages_from, reason, lookup_at) select queued.id, config.id, now(), now(), now(), "
        "'no channel takes creative requests', now() from notification_queue queued "
        "join notification_config config on config.id = queued.config_id "
        "where config.is_active order by queued.id limit 1"
    )
    _, sections = examine()
    shown = failed(sections["Notification configs"])
    assert shown[0][0] == "all delivery is stopped: the token lacks chat:write"
    assert shown[1][0] == "C0CREATIVE0 is parked, and 0 notifications wait for it: it is archived"
    assert "2030-01-02T03:04:00" in shown[1][1]
    assert "parked release C0CREATIVE0`" in shown[1][1]
    assert "nowhere to go: no channel takes creative requests" in shown[2][0]
    assert "within ten minutes" in shown[2][1]
    assert len(shown) == 3


def test_an_expired_meta_token(examine: Examine, stack: LocalStack) -> None:
    stack.running.meta.add_faults(token_expired(times=None))
    _, sections = examine()
    shown = one_failure(sections["Ad platforms"])
    assert "meta, Nordlys Outdoor" in shown
    assert "190/463" in shown
    assert "Connect the account again" in shown


def test_an_account_without_access(examine: Examine, stack: LocalStack) -> None:
    stack.running.meta.add_faults(graph_error(100, 33, "Unsupported get request", times=None))
    _, sections = examine()
    assert "100/33" in one_failure(sections["Ad platforms"])


def test_a_revoked_google_token(examine: Examine, stack: LocalStack) -> None:
    stack.running.google.add_faults(invalid_grant(times=None))
    _, sections = examine()
    shown = one_failure(sections["Ad platforms"])
    assert "invalid_grant" in shown
    assert "Connect the account again" in shown


def test_an_unknown_platform_and_no_account(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute("update platform_connections set platform = 'snapchat'")
    _, sections = examine()
    shown = failed(sections["Ad platforms"])
    assert all("there is no platform 'snapchat'" in text and "there are:" in fix
               for text, fix in shown)  # fmt: skip
    stack.connection.execute("delete from platform_connections")
    _, sections = examine()
    assert "no ad account is connected" in sections["Ad platforms"][0]["text"]


def test_a_parked_account_until_its_credentials_change(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into metric_connection_states "
        "(connection_id, parked_at, parked_reason, parked_credentials) "
        "select id, now(), 'refused', credentials_digest(credentials) "
        "from platform_connections where platform = 'meta'"
    )
    _, sections = examine()
    assert "is parked: refused" in one_failure(sections["Ad platforms"])
    stack.connection.execute(
        "update platform_connections set credentials = credentials || '{\"new\": 1}' "
        "where platform = 'meta'"
    )
    _, sections = examine()
    assert not failed(sections["Ad platforms"]), "the next plan tries it automatically"


def test_an_unexpected_error_costs_one_section_only(
    examine: Examine, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> list[Finding]:
        raise KeyError(f"no {stack.running.keys.secret}")

    for check in ("check_access", "check_slack", "check_policies"):
        monkeypatch.setattr(f"workers.doctor.checks.{check}", broken)
    status, sections = examine()
    assert status == 1
    for title in ("Access", "Slack", "Retention"):
        assert "could not be checked: KeyError" in one_failure(sections[title])
    assert not failed(sections["Ad platforms"])
    assert not failed(sections["Notification configs"])


def test_sections_that_need_no_report_survive_its_failure(
    examine: Examine, stack: LocalStack
) -> None:
    row = stack.connection.execute(
        "select pg_get_functiondef('retention_hazards'::regproc)"
    ).fetchone()
    assert row is not None
    broken = (
        "create or replace function retention_hazards() returns jsonb language sql stable "
        "set search_path = '' as $$ select to_jsonb(1 / (extract(epoch from now())::int * 0)) $$"
    )
    with changed(stack, broken, row[0]):
        status, sections = examine()
    assert status == 1
    assert "division by zero" in one_failure(sections["Database"])
    assert not failed(sections["Slack"])


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def test_the_function_returns_the_same(examine: Examine, stack: LocalStack) -> None:
    examine()
    report: dict[str, Any] = run_doctor({}, Context())
    assert report["status"] == "warning"
    with pytest.raises(ConfigurationError, match="post in the event"):
        run_doctor({"post": 1}, Context())


def test_for_people_it_prints_lines_with_fixes(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, examine: Examine
) -> None:
    examine()
    stack.running.meta.add_faults(token_expired(times=None))
    out = io.StringIO()
    assert main(["doctor"], out) == 1
    text = out.getvalue()
    assert "  ok       the token has the necessary scopes\n" in text
    assert "  FAILED   meta, Nordlys Outdoor" in text
    assert "\033" not in text
    assert "1 failed" in text
