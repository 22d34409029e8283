"""Every credential, as careless people and strange platforms provide it, through the handlers, the
doctor and the commands: it is in no table, no log and no output, in no form."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from local.faults import Fault
from local.stack import Control
from tests.conftest import LocalStack
from tests.unit.test_redaction import FORMS
from workers.clock import SystemClock
from workers.composition.container import database, forget_clients
from workers.composition.health import run_health
from workers.composition.metrics_sync import run_metrics_sync
from workers.composition.notifications import run_notifications
from workers.composition.retention import run_retention
from workers.composition.runs import recorded_run
from workers.errors import UnknownError, WorkerError
from workers.metrics.planning import plan_syncs
from workers.metrics.platforms import MAPPING_KEYS
from workers.operate.__main__ import main

# Which credentials each connection of the sample agency may have.
CREDENTIALS = {
    "meta": ("access_token", "app_secret"),
    "google_ads": ("refresh_token", "client_secret", "developer_token"),
    "tiktok": ("access_token", "secret"),
    "linkedin": ("refresh_token", "client_secret", "access_token"),
}
IDS = {
    "google_ads": {"client_id": "400000000001-local.apps.googleusercontent.com"},
    "linkedin": {"client_id": "77localsample01"},
}
INSIDE = {
    "nothing": "-",
    "line break": "\n",
    "carriage return": "\r\n",
    "tab": "\t",
    "blank": " ",
    "zero width": "\u200b",
    "letters": "Ä漢",
    "quotes": "\"'",
    "percent": "%20%n%",
    "JSON": '{"a":["b\\"}',
    "slashes": "/+=\\",
}
# Whatever a request is answered with, all that the platform got is quoted in the error.
ECHOES = {
    "meta": '{{"error": {{"message": {0}, "code": 190, "type": "x", "fbtrace_id": "A"}}}}',
    "google_ads": '{{"error": {{"code": 403, "message": {0}, "status": "PERMISSION_DENIED"}}}}',
    "tiktok": '{{"code": 40001, "message": {0}, "request_id": "1", "data": {{}}}}',
    "linkedin": '{{"message": {0}, "status": 403, "serviceErrorCode": 100}}',
}


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class Queue:
    """Stands for SQS: keeps the messages."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def send(self, bodies: list[str]) -> list[str]:
        self.bodies += bodies
        return []


@pytest.fixture(autouse=True)
def _settings(stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    forget_clients()
    yield
    forget_clients()


def secret_of(name: str, inside: str) -> str:
    """One that occurs nowhere else, in two halves that each identify it."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % 10**9
    return f"firsthalf{number}{inside}secondhalf{number}"


def assert_silent(text: str, secret: str) -> None:
    for half in (secret[:18], secret[-19:]):
        assert half not in text
    for form, written in ((form, write(secret)) for form, write in FORMS.items()):
        assert written not in text, form
    # of base64, without what depends on the characters next to it
    encoded = FORMS["base64"](secret)[:-4]
    assert encoded not in text


def tables(stack: LocalStack) -> str:
    """All that is in the database, but for where the credentials themselves are kept."""
    names = [
        name
        for (name,) in stack.connection.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace "
            "and relkind in ('r', 'p')"
        ).fetchall()
    ]
    assert len(names) > 20
    found = []
    for name in names:
        rows = stack.connection.execute(
            f"select (to_jsonb(t) - 'credentials')::text from {name} t".encode()  # noqa: S608
        )
        found += [row[0] for row in rows.fetchall()]
    return "\n".join(found)


def operate(*arguments: str) -> str:
    out = io.StringIO()
    assert main(arguments, out) in (0, 1)
    return out.getvalue()


def servers(stack: LocalStack) -> dict[str, Control]:
    running = stack.running
    return {
        "meta": running.meta,
        "google_ads": running.google,
        "tiktok": running.tiktok,
        "linkedin": running.linkedin,
    }


def sync_all(stack: LocalStack) -> str:
    """Plans and syncs as the handlers do; what they returned and raised."""
    from workers.composition.connection_sync import run_connection_sync

    queue = Queue()
    plan_syncs(database(), queue, MAPPING_KEYS, 10)
    assert len(queue.bodies) == len(CREDENTIALS)
    output = []
    for body in queue.bodies:
        try:
            output.append(str(run_connection_sync(body, Context())))
        except Exception as error:  # noqa: BLE001 - Lambda would write it into the log
            output.append(repr(error))
    return "\n".join(output)


@pytest.mark.parametrize("inside", INSIDE)
def test_no_credential_of_a_platform_is_shown(
    stack: LocalStack, capfd: pytest.CaptureFixture[str], inside: str
) -> None:
    secrets: list[str] = []
    # every other one quotes it, the others refuse it in words of their own
    turn = list(INSIDE).index(inside)
    for place, (platform, names) in enumerate(CREDENTIALS.items()):
        own = {name: secret_of(f"{platform} {name}", INSIDE[inside]) for name in names}
        secrets += own.values()
        stack.connection.execute(
            "update platform_connections set credentials = %s where platform = %s",
            (Jsonb({**IDS.get(platform, {}), **own}), platform),
        )
        if (turn + place) % 2:
            quoted = json.dumps(" | ".join(write(one) for one in own.values() for write in (
                str, json.dumps, repr, FORMS["percent"], FORMS["basic"],
            )))  # fmt: skip
            servers(stack)[platform].add_faults(
                Fault("answer", status=400, body=ECHOES[platform].format(quoted), times=None)
            )
    output = [sync_all(stack)]
    output += [
        operate(*arguments, "--json")
        for arguments in (("doctor",), ("connections", "list"), ("syncs", "list"), ("status",))
    ]
    output += [operate("doctor"), operate("connections", "list"), operate("syncs", "list")]
    run_metrics_sync_quietly()
    captured = capfd.readouterr()
    everything = "\n".join([*output, captured.out, captured.err, tables(stack)])
    for secret in secrets:
        assert_silent(everything, secret)
    failed = stack.connection.execute(
        "select error_message from metric_sync_logs where status = 'failed'"
    ).fetchall()
    assert len(failed) == len(CREDENTIALS), "each is recorded as failed, with words"
    assert all(message for (message,) in failed)


def run_metrics_sync_quietly() -> None:
    with suppress(WorkerError):  # there is no queue here
        run_metrics_sync(Context())


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("platform", CREDENTIALS)
def test_connecting_an_account_shows_no_credentials(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    platform: str, inside: str,
) -> None:  # fmt: skip
    accounts = {"meta": "act_1", "google_ads": "1", "tiktok": "1", "linkedin": "1"}
    own = {name: secret_of(name, INSIDE[inside]) for name in CREDENTIALS[platform]}
    typed = json.dumps({**IDS.get(platform, {}), **own})
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["connections", "add", platform, accounts[platform]], io.StringIO()) == 1
    captured = capfd.readouterr()
    assert captured.err.count("\n") <= 6
    for secret in own.values():
        assert_silent(captured.out + captured.err + tables(stack), secret)


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize(
    ("name", "start"), [("SUPABASE_SERVICE_ROLE_KEY", "sb_secret_"), ("SLACK_BOT_TOKEN", "xoxb-")]
)
def test_neither_slacks_token_nor_supabases_key_is_shown(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    name: str, start: str, inside: str,
) -> None:  # fmt: skip
    secret = f"{start}{secret_of(name, INSIDE[inside])}"
    monkeypatch.setenv(name, secret)
    output = []
    for run in (run_notifications, run_metrics_sync):
        try:
            output.append(str(run(Context())))
        except Exception as error:  # noqa: BLE001 - as above
            output.append(repr(error))
    try:
        output.append(str(run_retention({}, Context())))
    except Exception as error:  # noqa: BLE001 - as above
        output.append(repr(error))
    output.append(str(run_health()))
    output += [operate("doctor", "--json"), operate("doctor"), operate("connections", "list")]
    captured = capfd.readouterr()
    everything = "\n".join([*output, captured.out, captured.err, tables(stack)])
    assert_silent(everything, secret)
    if not secret.isascii() or any(one.isspace() for one in secret):
        assert f"{name} contains" in everything


def test_an_error_of_our_own_that_quotes_a_secret_is_raised_without_it(stack: LocalStack) -> None:
    key = stack.running.keys.secret
    database()
    with pytest.raises(UnknownError) as caught, recorded_run("retention", SystemClock()):
        raise KeyError(f"no {key} here")
    assert_silent(str(caught.value), key)
    assert caught.value.code == "KeyError"
    row = stack.connection.execute("select error from worker_runs").fetchone()
    assert row is not None
    assert "[redacted]" in row[0]


def test_what_an_older_worker_wrote_is_shown_without_its_secrets(stack: LocalStack) -> None:
    token = "EAABsbCS1234ZBsecretsecret"
    url = f"https://graph.facebook.com/v18.0/act_1/insights?access_token={token}&fields=x"
    stack.connection.execute(
        "insert into metric_sync_logs (platform_connection_id, status, start_time, error_message) "
        "select id, 'failed', now(), %s from platform_connections",
        (f"Request failed: {url}",),
    )
    stack.connection.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, error) "
        "values ('notifications', now(), now(), 'failed', false, %s)",
        (url,),
    )
    for arguments in (("doctor",), ("connections", "list"), ("syncs", "list"), ("status",)):
        for form in ((), ("--json",)):
            output = operate(*arguments, *form)
            assert token not in output
            assert "Request failed" in output or arguments == ("status",)


def test_the_database_is_quoted_without_the_contents_of_rows(stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into retention_policies (entity_type, active_retention_days, "
        "archive_retention_days) select 'activity_log', 90, 365 "
        "where not exists (select from retention_policies where entity_type = 'activity_log');"
        "alter table archived_activity_log add constraint no_comments "
        "check (details ->> 'comment' is null);"
        "insert into activity_log (entity_type, entity_id, action, details, created_at) values "
        "('request', gen_random_uuid(), 'x', '{\"comment\": \"Zenobia Quill, salary 5000\"}', "
        "now() - interval '100 days')"
    )
    try:
        summary: dict[str, Any] = run_retention({}, Context())
    finally:
        stack.connection.execute("alter table archived_activity_log drop constraint no_comments")
    (activity,) = [one for one in summary["policies"] if one["entity_type"] == "activity_log"]
    assert "violates check constraint" in activity["error"]
    kept = tables(stack).replace("Zenobia", "", 1)  # the row itself
    assert "Zenobia" not in str(summary) + kept
