"""The doctor over a real stack: each thing that can be wrong, and whether it names the fix."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.fakes.google_ads import invalid_grant
from local.fakes.meta import graph_error, token_expired
from local.faults import slack_error
from tests.conftest import LocalStack
from tests.integration.archive_bucket import BUCKET, Bucket
from workers.composition import health
from workers.composition.container import forget_clients
from workers.composition.doctor import run_doctor
from workers.doctor.database_checks import (
    SCHEMA_VERSION,
    check_access,
    check_clock,
    check_version,
)
from workers.errors import ConfigurationError
from workers.findings import Finding
from workers.operate.__main__ import main

Examine = Callable[..., tuple[int, dict[str, list[dict[str, str]]]]]


@pytest.fixture
def examine(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Examine]:
    """Runs the doctor with some settings changed: exit status, and findings by section."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **changed: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
        for name, value in {**stack.environment(), **changed}.items():
            monkeypatch.setenv(name, value)
        out = io.StringIO()
        status = main(["doctor", "--json", *arguments], out)
        told = json.loads(out.getvalue())
        for secret in (stack.running.keys.secret, "xoxb-local", "EAALOCAL", "1//local", "GOCSPX"):
            assert secret not in out.getvalue()
        return status, {one["section"]: one["findings"] for one in told["sections"]}

    yield run
    forget_clients()


def failed(findings: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(one["text"], one["fix"]) for one in findings if one["level"] == "failed"]


def one_failure(findings: list[dict[str, str]]) -> str:
    """The text and the fix of the only failed finding."""
    ((text, fix),) = failed(findings)
    assert fix, text
    return f"{text} | {fix}"


@contextmanager
def changed(stack: LocalStack, change: str, undo: str) -> Iterator[None]:
    """A database that is other than it should be, for a while."""
    stack.connection.execute(change.encode())
    stack.connection.execute("notify pgrst, 'reload schema'")
    try:
        yield
    finally:
        stack.connection.execute(undo.encode())
        stack.connection.execute("notify pgrst, 'reload schema'")


def test_all_is_well(examine: Examine) -> None:
    status, sections = examine("--post", "C0CREATIVE0")
    assert status == 0
    for title, findings in sections.items():
        assert findings, title
        levels = {one["level"] for one in findings}
        assert levels == ({"warning"} if title == "Workers" else {"ok"}), (title, findings)
    assert set(sections) == {
        "Settings", "Database", "Access", "Slack", "API versions", "Notification configs",
        "Ad platforms", "Ads of requests", "Retention", "Workers",
    }  # fmt: skip


def test_the_test_message_is_gone_afterwards(examine: Examine, stack: LocalStack) -> None:
    examine("--post", "C0CREATIVE0")
    messages = stack.running.slack.state()["messages"]
    assert not messages.get("C0CREATIVE0")


def test_settings_that_are_missing_or_malformed(examine: Examine) -> None:
    status, sections = examine(SUPABASE_URL="abc.supabase.co", SLACK_BOT_TOKEN="hunter2")
    assert status == 1
    told = failed(sections["Settings"])
    assert len(told) == 2
    assert "SUPABASE_URL is not a URL" in told[0][0]
    assert "SLACK_BOT_TOKEN starts with xoxb-" in told[1][0]
    assert ".env" in told[0][1]


def test_a_url_where_nobody_answers(examine: Examine) -> None:
    status, sections = examine(SUPABASE_URL="http://127.0.0.1:9")
    assert status == 1
    assert "could not be reached" in one_failure(sections["Database"])
    assert not failed(sections["Slack"]), "Slack is looked at all the same"


def test_a_wrong_key(examine: Examine) -> None:
    _, sections = examine(SUPABASE_SERVICE_ROLE_KEY="sb_secret_of_another_project")
    told = one_failure(sections["Database"])
    assert "SUPABASE_SERVICE_ROLE_KEY" in told


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
    told = one_failure(sections["Slack"])
    assert "token_revoked" in told
    assert "new credential" in told


def test_a_missing_scope(examine: Examine, stack: LocalStack) -> None:
    state = stack.running.slack.state()
    (token,) = state["tokens"]
    state["tokens"][token]["scopes"] = ["im:write", "channels:read", "groups:read"]
    stack.running.slack.replace_state(state)
    _, sections = examine()
    told = failed(sections["Slack"])
    assert any("the token lacks chat:write" in text and "reinstall" in fix for text, fix in told)
    assert any("channels:history" in one["text"] for one in sections["Slack"])


def test_scopes_that_only_looking_needs(examine: Examine, stack: LocalStack) -> None:
    state = stack.running.slack.state()
    (token,) = state["tokens"]
    state["tokens"][token]["scopes"] = ["chat:write"]
    stack.running.slack.replace_state(state)
    _, sections = examine()
    assert failed(sections["Slack"]) == []
    warned = [one["text"] for one in sections["Slack"] if one["level"] == "warning"]
    assert any("im:write" in text and "its repeat is marked" in text for text in warned)
    assert any("C0CREATIVE0 cannot be looked at" in text for text in warned)


def test_a_channels_name_in_place_of_its_id(examine: Examine, stack: LocalStack) -> None:
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
    told = one_failure(sections["Slack"])
    assert text in told
    assert fix in told


def test_a_test_message_that_cannot_be_looked_for_is_gone_all_the_same(
    examine: Examine, stack: LocalStack
) -> None:
    state = stack.running.slack.state()
    (token,) = state["tokens"]
    state["tokens"][token]["scopes"].remove("channels:history")
    stack.running.slack.replace_state(state)
    _, sections = examine("--post", "C0CREATIVE0")
    assert "could not be looked for" in one_failure(sections["Slack"])
    assert not stack.running.slack.state()["messages"].get("C0CREATIVE0")


def test_configs_that_lead_nowhere(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute("delete from slack_connected_channels")
    stack.connection.execute("update profiles set slack_id = null")
    _, sections = examine()
    told = failed(sections["Notification configs"])
    assert any("neither channel nor person" in text for text, _ in told)
    assert any("profiles.slack_id" in fix for _, fix in told)
    stack.connection.execute("insert into slack_connected_channels (channel_id) values (' ')")
    _, sections = examine()
    assert failed(sections["Notification configs"]) == told, "a blank channel takes nothing"


def test_templates_that_will_not_say_what_was_meant(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute(
        "update notification_config set template = "
        "'**{{request_title}}** by {{author.name}} for {{client.name}}, {{words.new_status}}' "
        "where event_type = 'status_change'"
    )
    _, sections = examine()
    told = [one for one in sections["Notification configs"] if one["level"] == "warning"]
    assert len(told) == 2
    assert all("template of status_change (f0000000" in one["text"] for one in told)
    assert "events carries {{author.name}}" in told[0]["text"]
    assert "bold is *text*" in told[1]["text"]
    assert "docs/messages.md" in told[0]["fix"]


def test_what_stands_still_is_told_with_its_fix(examine: Examine, stack: LocalStack) -> None:
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
    told = failed(sections["Notification configs"])
    assert told[0][0] == "all delivery stands still: the token lacks chat:write"
    assert told[1][0] == "C0CREATIVE0 is parked, and 0 notifications wait for it: it is archived"
    assert "2030-01-02T03:04:00" in told[1][1]
    assert "parked release C0CREATIVE0`" in told[1][1]
    assert "nowhere to go: no channel takes creative requests" in told[2][0]
    assert "within ten minutes" in told[2][1]
    assert len(told) == 3


def test_an_expired_meta_token(examine: Examine, stack: LocalStack) -> None:
    stack.running.meta.add_faults(token_expired(times=None))
    _, sections = examine()
    told = one_failure(sections["Ad platforms"])
    assert "meta, Nordlys Outdoor" in told
    assert "190/463" in told
    assert "Connect the account anew" in told


def test_an_account_without_access(examine: Examine, stack: LocalStack) -> None:
    stack.running.meta.add_faults(graph_error(100, 33, "Unsupported get request", times=None))
    _, sections = examine()
    assert "100/33" in one_failure(sections["Ad platforms"])


def test_a_revoked_google_token(examine: Examine, stack: LocalStack) -> None:
    stack.running.google.add_faults(invalid_grant(times=None))
    _, sections = examine()
    told = one_failure(sections["Ad platforms"])
    assert "invalid_grant" in told
    assert "Connect the account anew" in told


def test_an_unknown_platform_and_no_account(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute("update platform_connections set platform = 'snapchat'")
    _, sections = examine()
    told = failed(sections["Ad platforms"])
    assert all("there is no platform 'snapchat'" in text and "there are:" in fix
               for text, fix in told)  # fmt: skip
    stack.connection.execute("delete from platform_connections")
    _, sections = examine()
    assert "no ad account is connected" in sections["Ad platforms"][0]["text"]


def test_a_parked_account_until_its_credentials_are_others(
    examine: Examine, stack: LocalStack
) -> None:
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
    assert not failed(sections["Ad platforms"]), "the next plan tries it by itself"


def test_what_the_public_key_reaches(examine: Examine, stack: LocalStack) -> None:
    tables = "platform_connections, profiles, notification_queue, notification_config"
    with changed(
        stack,
        f"grant all on {tables} to anon, authenticated;"
        "alter table platform_connections disable row level security;"
        "alter table notification_queue disable row level security",
        f"revoke all on {tables} from anon, authenticated;"
        "alter table platform_connections enable row level security;"
        "alter table notification_queue enable row level security",
    ):
        _, sections = examine()
        told = failed(sections["Access"])
        assert len(told) == 3, "row-level security without a policy lets nothing through"
        credentials, queue, connections = (
            next(one for one in told if one[0].startswith(name))
            for name in ("platform_connections.credentials", "notification_queue",
                         "platform_connections can be written")
        )  # fmt: skip
        assert "with the public key alone" in credentials[0]

        for _, fix in (credentials, queue, connections):
            stack.connection.execute(fix.split(":\n", 1)[1].encode())
        _, sections = examine()
        assert not failed(sections["Access"]), "the printed SQL closes it"
        row = stack.connection.execute(
            "select has_column_privilege('anon', 'platform_connections', 'account_name', 'select'),"
            " has_column_privilege('anon', 'platform_connections', 'credentials', 'select')"
        ).fetchone()
        assert row == (True, False)


def test_a_single_column_that_the_public_key_writes_is_found(
    examine: Examine, stack: LocalStack
) -> None:
    with changed(
        stack,
        "grant update (account_id) on platform_connections to anon;"
        "grant insert (entity_type) on notification_queue to anon;"
        "create policy shut on notification_queue as restrictive to anon using (true);"
        "create policy open on platform_connections to anon using (true)",
        "revoke all on platform_connections, notification_queue from anon;"
        "drop policy shut on notification_queue;"
        "drop policy open on platform_connections",
    ):
        _, sections = examine()
        told = one_failure(sections["Access"])
        assert "platform_connections can be written with the public key alone: UPDATE" in told
        stack.connection.execute(told.split(":\n", 1)[1].encode())
        _, sections = examine()
        assert not failed(sections["Access"])


def test_an_existing_dashboards_access_is_found() -> None:
    closed = {"columns": [], "writes": []}
    open_ = {"columns": ["id", "slack_access_token"], "writes": ["INSERT"]}
    names = (
        "platform_connections", "profiles", "notification_queue", "notification_config",
        "slack_connected_channels", "retention_policies",
    )  # fmt: skip
    access = {name: {"anon": closed, "authenticated": open_} for name in names}
    views: dict[str, list[str]] = {"platform_connections": [], "profiles": []}
    report = {"access": access, "views": views}
    levels = [finding.level for finding in check_access(report)]
    assert levels == ["failed", "warning"]


def test_policies_that_are_not_carried_out(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into retention_policies "
        "(entity_type, active_retention_days, archive_retention_days) "
        "values ('clients', 1, 1), ('activity_log', 30, 60)"
    )
    _, sections = examine()
    assert "no retention for 'clients'" in one_failure(sections["Retention"])
    assert any("longer times apply" in one["text"] for one in sections["Retention"])


def test_policies_that_are_hardly_meant_so(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute("delete from retention_policies")
    _, sections = examine()
    (found,) = sections["Retention"]
    assert (found["level"], found["text"][:28]) == ("warning", "there is no retention policy")
    stack.connection.execute(
        "insert into retention_policies "
        "(entity_type, active_retention_days, archive_retention_days) "
        "values ('activity_log', 90, 30)"
    )
    _, sections = examine()
    (found,) = sections["Retention"]
    assert found["level"] == "warning"
    assert "archive_retention_days (30) is less than active_retention_days (90)" in found["text"]


def test_workers_that_stand_still(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, error_class) "
        "values ('notifications', now() - interval '1 hour', now() - interval '1 hour', "
        "'drained', true, null), "
        "('notifications', now(), now(), 'failed', false, 'CredentialsError')"
    )
    _, sections = examine()
    told = failed(sections["Workers"])
    assert any("CredentialsError" in text and "ScheduleState" in fix for text, fix in told)


def test_a_worker_that_is_not_due_yet_is_told(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded) "
        "values ('notifications', now(), now(), 'drained', true)"
    )
    _, sections = examine()
    assert "retention is not due yet" in [one["text"] for one in sections["Workers"]]


def test_health_reads_a_rotated_key_after_a_refusal(
    examine: Examine, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    examine(SUPABASE_SERVICE_ROLE_KEY="sb_secret_of_yesterday")
    forget_clients()
    assert "cannot be asked" in health.run_health()["body"]
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", stack.running.keys.secret)
    assert "cannot be asked" in health.run_health()["body"], "the same answer, for some seconds"
    monkeypatch.setattr(health, "CACHE_SECONDS", -1.0)
    assert "queue" in json.loads(health.run_health()["body"])


@pytest.mark.parametrize(
    ("change", "undo", "view"),
    [
        (
            (
                "create view overview as select id, credentials from platform_connections;"
                "grant select on overview to anon"
            ),
            "drop view overview",
            "overview",
        ),
        (
            (
                "create view inner_one as select credentials as c from platform_connections;"
                "create view outer_one as select c ->> 'access_token' as t from inner_one;"
                "grant select on outer_one to authenticated"
            ),
            "drop view outer_one, inner_one",
            "outer_one",
        ),
        (
            (
                "create materialized view people as select slack_access_token from profiles;"
                "grant select on people to anon"
            ),
            "drop materialized view people",
            "people",
        ),
    ],
)
def test_a_view_that_shows_credentials_is_found(
    examine: Examine, stack: LocalStack, change: str, undo: str, view: str
) -> None:
    with changed(stack, change, undo):
        _, sections = examine()
    told = one_failure(sections["Access"])
    assert f"the view {view} reads" in told
    assert "security_invoker" in told


@pytest.mark.parametrize(
    "change",
    [
        (
            "create view overview with (security_invoker = true) as "
            "select credentials from platform_connections; grant select on overview to anon"
        ),
        (
            "create view overview as select id, platform from platform_connections;"
            "grant select on overview to anon"
        ),
        "create view overview as select credentials from platform_connections",
    ],
    ids=["of the reader's rights", "of other columns", "of nobody's"],
)
def test_a_view_that_shows_none_is_not(examine: Examine, stack: LocalStack, change: str) -> None:
    with changed(stack, change, "drop view overview"):
        _, sections = examine()
    assert not failed(sections["Access"])


@pytest.mark.parametrize(
    ("policies", "is_open"),
    [
        (["for select using (true)"], True),
        (["for select using (false)"], False),
        (["using (false)", "for select to anon using (platform <> '')"], True),
        (["using (true)", "as restrictive using (false)"], False),
        (["for insert with check (true)"], False),
    ],
)
def test_a_policy_that_lets_nothing_through_is_no_hole(
    examine: Examine, stack: LocalStack, policies: list[str], is_open: bool
) -> None:
    made = "".join(
        f"create policy p{number} on platform_connections {rest};"
        for number, rest in enumerate(policies)
    )
    undo = "".join(
        f"drop policy p{number} on platform_connections;" for number in range(len(policies))
    )
    with changed(
        stack,
        f"grant select on platform_connections to anon; {made}",
        f"revoke select on platform_connections from anon; {undo}",  # noqa: S608
    ):
        _, sections = examine()
    told = [text for text, _ in failed(sections["Access"])]
    assert any("credentials can be read" in text for text in told) is is_open


@pytest.mark.parametrize(
    ("change", "level", "told"),
    [
        (
            "create table child (a uuid references activity_log (id) on delete cascade)",
            "warning", "are not archived while rows of child refer to them",
        ),
        (
            "create table child (a uuid references archived_activity_log (id) on delete set null)",
            "warning", "the rows of child that refer to it are deleted or changed",
        ),
        (
            "create table child (a uuid references notification_queue (id) on delete cascade)",
            "warning", "with each row purged from notification_queue",
        ),
        (
            "create table child (a uuid references metric_sync_logs (id))",
            "ok", "stay as long as rows of child refer to them",
        ),
        (
            "create table child (a uuid references metric_sync_logs (id))",
            "warning", "all of child is searched",
        ),
        (
            ("create table child ();"
            "create function nothing() returns trigger language plpgsql as "
            "$$ begin return old; end $$;"
            "create trigger watch before delete on activity_log for each row "
            "execute function nothing()"),
            "ok", "the trigger watch on activity_log runs",
        ),
        (
            "create table child (); alter table activity_log add column ip inet",
            "failed", "cannot hold the column ip inet",
        ),
    ],
)  # fmt: skip
def test_what_the_tables_rules_do_with_retention_is_named(
    examine: Examine, stack: LocalStack, change: str, level: str, told: str
) -> None:
    undo = (
        "drop table child; drop trigger if exists watch on activity_log;"
        "drop function if exists nothing(); alter table activity_log drop column if exists ip"
    )
    with changed(stack, change, undo):
        _, sections = examine()
    (found,) = [one for one in sections["Retention"] if told in one["text"]]
    assert found["level"] == level
    assert found["fix"] or level == "ok"


LIFECYCLE = {
    "Rules": [
        {
            "ID": "all", "Status": "Enabled", "Filter": {"Prefix": "activity_log/"},
            "Expiration": {"Days": 2555},
            "Transitions": [{"Days": 90, "StorageClass": "GLACIER"}],
        }
    ]
}  # fmt: skip


def test_the_bucket_is_looked_at(
    examine: Examine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sections = examine(ARCHIVE_BUCKET_NAME=BUCKET)
    told = [(one["level"], one["text"]) for one in sections["Archive"]]
    assert told[0][0] == "ok"
    assert ("warning", "the bucket keeps archived activity for ever") in told

    key = "arn:aws:kms:eu-west-1:123456789012:key/0f1e2d3c"
    bucket.s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=LIFECYCLE)
    by_key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    bucket.s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": by_key}]
        },
    )
    _, sections = examine(ARCHIVE_BUCKET_NAME=BUCKET)
    told = [(one["level"], one["text"]) for one in sections["Archive"]]
    assert ("ok", "the bucket keeps archived activity for 2555 days") in told
    assert any(level == "warning" and "after 90 days" in text for level, text in told)
    assert any(level == "ok" and key in text for level, text in told)

    _, sections = examine(ARCHIVE_BUCKET_NAME="no-such-bucket")
    assert "NoSuchBucket" in one_failure(sections["Archive"])
    bucket.server.stop()
    _, sections = examine(ARCHIVE_BUCKET_NAME=BUCKET)
    assert "cannot be reached" in one_failure(sections["Archive"])


def test_an_error_that_is_new_costs_one_section_only(
    examine: Examine, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> list[Finding]:
        raise KeyError(f"no {stack.running.keys.secret}")

    for check in ("check_access", "check_slack", "check_policies"):
        monkeypatch.setattr(f"workers.doctor.checks.{check}", broken)
    status, sections = examine()
    assert status == 1
    for title in ("Access", "Slack", "Retention"):
        assert "could not be looked at: KeyError" in one_failure(sections[title])
    assert not failed(sections["Ad platforms"])
    assert not failed(sections["Notification configs"])


def test_a_report_that_fails_leaves_what_does_not_need_it(
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


@pytest.mark.parametrize("part", ["NOTIFICATIONS_ENABLED", "METRICS_ENABLED", "RETENTION_ENABLED"])
def test_what_is_switched_off_is_missed_by_nobody(
    examine: Examine, stack: LocalStack, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    stack.connection.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded) "
        "select name, now() - interval '20 days', now() - interval '20 days', 'done', true "
        "from unnest(array['notifications', 'metrics_sync', 'retention']) name"
    )
    worker = {"METRICS_ENABLED": "metrics_sync"}.get(part, part.removesuffix("_ENABLED").lower())
    _, sections = examine(**{part: "false"})
    assert len(failed(sections["Workers"])) == 2
    assert f"{worker} is switched off" in [one["text"] for one in sections["Workers"]]
    monkeypatch.setattr(health, "CACHE_SECONDS", -1.0)
    forget_clients()
    body = json.loads(health.run_health()["body"])
    assert body["workers"][worker]["status"] == "off"
    for each in ("NOTIFICATIONS_ENABLED", "METRICS_ENABLED", "RETENTION_ENABLED"):
        monkeypatch.setenv(each, "false")
    forget_clients()
    answer = health.run_health()
    assert (answer["statusCode"], json.loads(answer["body"])["status"]) == (200, "healthy")


def test_health_answers_503_in_json_whatever_goes_wrong(
    examine: Examine, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    examine()
    monkeypatch.setattr(health, "CACHE_SECONDS", -1.0)

    def broken(*arguments: object) -> None:
        raise KeyError(f"no {stack.running.keys.secret}")

    monkeypatch.setattr(health, "assess", broken)
    answer = health.run_health()
    assert answer["statusCode"] == 503
    body = json.loads(answer["body"])
    assert (body["status"], body["reason"]) == (
        "unhealthy",
        "health could not be determined: KeyError",
    )
    assert stack.running.keys.secret not in answer["body"]
    monkeypatch.delenv("SUPABASE_URL")
    forget_clients()
    assert "configuration" in health.run_health()["body"]


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def test_the_function_returns_the_same(examine: Examine, stack: LocalStack) -> None:
    examine()
    report: dict[str, Any] = run_doctor({}, Context())
    assert report["status"] == "warning"
    with pytest.raises(ConfigurationError, match="post in the event"):
        run_doctor({"post": 1}, Context())


def test_for_people_it_is_lines_with_fixes(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, examine: Examine
) -> None:
    examine()
    stack.running.meta.add_faults(token_expired(times=None))
    out = io.StringIO()
    assert main(["doctor"], out) == 1
    text = out.getvalue()
    assert "  ok       the token has the scopes that are needed\n" in text
    assert "  FAILED   meta, Nordlys Outdoor" in text
    assert "\033" not in text
    assert "1 failed" in text
