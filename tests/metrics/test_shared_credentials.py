"""Refused credentials that many connections share: the deployment is at fault, no connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.fakes.google_ads import client_refused, google_error
from local.fakes.meta import token_expired
from local.fakes.tiktok import tiktok_error
from local.faults import Fault
from tests.metrics.connected import sync_request_for
from tests.metrics.world import (
    GOOGLE_CLIENT,
    GOOGLE_REFRESH,
    GOOGLE_SECRET,
    LINKEDIN_CLIENT,
    LINKEDIN_REFRESH,
    TIKTOK_TOKEN,
    World,
)
from workers.composition.connection_sync import run_connection_sync
from workers.composition.container import forget_clients
from workers.errors import SharedCredentialsError
from workers.metrics.sync_requests import SyncRequest

SECRET = "agency-dashboard-workers/metrics"
WRONG = "GOCSPX-of-last-year"
CLIENT_REFUSALS = [
    ("invalid_client", 401),
    ("unauthorized_client", 401),
    ("deleted_client", 401),
    ("disabled_client", 400),
    ("invalid_client", 400),
]


def google_connections(world: World, count: int = 3) -> list[str]:
    """Connections without a client of their own."""
    found = []
    for number in range(1, count + 1):
        account = f"500000000{number}"
        world.google_account(account, ads=[{"id": f"7{account}", "name": "B", "ad_groups": ["1"]}])
        world.request(google_ad_id=f"7{account}")
        found.append(world.connect_google(account, credentials={"refresh_token": GOOGLE_REFRESH}))
    return found


def config(world: World) -> None:
    world.agency.config(
        "C0OPERATORS", entity_type="platform_connection", event_type="sync_failed",
        template="{{account_name}} and {{connections}}: {{error}}",
    )  # fmt: skip


@pytest.mark.parametrize(("error", "status"), CLIENT_REFUSALS)
def test_a_refused_client_of_the_deployment_names_its_setting_and_parks_no_connection(
    world: World, error: str, status: int
) -> None:
    connections = google_connections(world)
    config(world)
    world.settings = replace(
        world.settings, google_client_id=GOOGLE_CLIENT, google_client_secret=GOOGLE_SECRET
    )
    world.google.faults.add(client_refused(error, status, times=None))
    for _ in range(3):
        reports = world.sync_all()
        assert set(reports) <= set(connections)
        for report in reports.values():
            assert (report.status, report.code, report.is_parked) == ("failed", error, False)
            assert report.misconfigured is not None
            assert "GOOGLE_CLIENT_ID or GOOGLE_CLIENT_SECRET" in report.misconfigured
            assert GOOGLE_SECRET not in report.misconfigured
        world.later(timedelta(minutes=21))
    for connection in connections:
        assert world.state(connection)["parked_at"] is None
        assert "GOOGLE_CLIENT_SECRET" in world.last_log(connection)["error_message"]
    assert world.rows("select * from notification_queue") == []

    world.google.faults.clear()
    assert {report.status for report in world.sync_all().values()} == {"success"}
    assert len(world.rows("select distinct request_id from performance_metrics")) == 3


def test_a_refusal_of_a_connections_own_client_concerns_that_connection_only(world: World) -> None:
    world.google_account("5000000001")
    connection = world.connect_google("5000000001")
    world.google.faults.add(client_refused(times=None))
    report = world.sync_all()[connection]
    assert (report.is_parked, report.misconfigured) == (True, None)


def test_no_client_anywhere_is_a_missing_setting(world: World) -> None:
    (connection,) = google_connections(world, 1)
    report = world.sync_all()[connection]
    assert (report.code, report.is_parked) == ("credentials_incomplete", False)
    assert "GOOGLE_CLIENT_ID" in world.last_log(connection)["error_message"]
    world.settings = replace(
        world.settings, google_client_id=GOOGLE_CLIENT, google_client_secret=GOOGLE_SECRET
    )
    world.later(timedelta(minutes=10))
    assert world.sync_all()[connection].status == "success"


@pytest.mark.parametrize(
    ("fault", "setting"),
    [
        (google_error("authorizationError", "PROJECT_DISABLED", 403, times=None),
         "GOOGLE_CLIENT_ID"),
        (google_error("authorizationError", "DEVELOPER_TOKEN_PROHIBITED", 403, times=None),
         "GOOGLE_DEVELOPER_TOKEN"),
    ],
)  # fmt: skip
def test_a_project_or_developer_token_refused_names_its_setting(
    world: World, fault: Fault, setting: str
) -> None:
    (connection,) = google_connections(world, 1)
    world.settings = replace(
        world.settings, google_client_id=GOOGLE_CLIENT, google_client_secret=GOOGLE_SECRET,
        google_developer_token="dev-token-of-the-deployment",
    )  # fmt: skip
    world.google.faults.add(replace(fault, path="googleAds:searchStream"))
    report = world.sync_all()[connection]
    assert report.misconfigured is not None
    assert f"Correct the deployment's {setting}" in report.misconfigured
    assert not report.is_parked


@pytest.mark.parametrize("code", [40101, 40113, 40118, 40124, 40125])
def test_a_refused_tiktok_app_parks_no_connection(world: World, code: int) -> None:
    connections = []
    for account in ("7000000000000000001", "7000000000000000002"):
        world.tiktok_account(account, tokens=[TIKTOK_TOKEN])
        connections.append(world.connect_tiktok(account))
    world.tiktok.faults.add(tiktok_error(code, "The app is not allowed to.", times=None))
    for connection, report in world.sync_all().items():
        assert (report.status, report.code, report.is_parked) == ("failed", str(code), False)
        assert "developer portal" in world.last_log(connection)["error_message"]
    world.tiktok.faults.clear()
    world.later(timedelta(minutes=10))
    assert [report.status for report in world.sync_all().values()] == ["success"] * 2


def test_many_connections_of_one_token_make_one_notification(world: World) -> None:
    config(world)
    connections = [world.connect_meta(f"10{number:02}") for number in range(8)]
    for number in range(8):
        world.meta_account(f"10{number:02}")
    own = world.connect_meta("1099", credentials={"access_token": "EAALOCALofItsOwn000000001"})
    world.meta.faults.add(token_expired(times=None))
    world.sync_all()
    assert all(world.state(one)["parked_at"] for one in (*connections, own))
    queued = world.rows("select event_data from notification_queue")
    assert sorted(one["event_data"]["connections"] for one in queued) == [1, 8]

    # another token, refused as well, is reported again: once
    world.connection.execute(
        "update platform_connections set credentials = "
        "jsonb_build_object('access_token', 'EAALOCALofTomorrow0000001') where id <> %s",
        (own,),
    )
    world.next_day()
    world.sync_all()
    assert len(world.rows("select 1 from notification_queue")) == 3


@pytest.fixture
def _aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("WORKERS_SECRET_NAME", SECRET)
    monkeypatch.chdir(tmp_path)
    forget_clients()
    with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}}):
        yield
    forget_clients()


def store(world: World, **changes: str) -> None:
    """The deployment's secret."""
    value = {
        "SUPABASE_SERVICE_ROLE_KEY": world.settings.supabase_service_role_key,
        "SLACK_BOT_TOKEN": "xoxb-unused", "GOOGLE_CLIENT_ID": GOOGLE_CLIENT, **changes,
    }  # fmt: skip
    manager = boto3.client("secretsmanager")
    try:
        manager.put_secret_value(SecretId=SECRET, SecretString=json.dumps(value))
    except manager.exceptions.ResourceNotFoundException:
        manager.create_secret(Name=SECRET, SecretString=json.dumps(value))


class Context:
    """As much of Lambda's context as a run needs."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def invoke(world: World, sync_request: SyncRequest) -> dict[str, Any]:
    """The sync request, in this warm container and by the real clock."""
    world.connection.execute("update metric_accounts set leased_until = now() + interval '1 hour'")
    return run_connection_sync(sync_request.body(), Context())


@pytest.mark.usefixtures("_aws")
@pytest.mark.parametrize(("error", "status"), CLIENT_REFUSALS)
def test_a_rotated_client_secret_is_read_after_a_refusal_in_any_wording(
    world: World, monkeypatch: pytest.MonkeyPatch, error: str, status: int
) -> None:
    for name in ("supabase_url", "google_ads_url", "google_token_url"):
        monkeypatch.setenv(name.upper(), getattr(world.settings, name))
    (connection,) = google_connections(world, 1)
    store(world, GOOGLE_CLIENT_SECRET=WRONG)
    world.google.faults.add(client_refused(error, status, times=None))
    with pytest.raises(SharedCredentialsError, match="GOOGLE_CLIENT_SECRET"):
        invoke(world, sync_request_for(world, connection))
    (run,) = world.rows(
        "select outcome, error_class from worker_runs where worker = 'connection_sync' "
        "order by started_at desc limit 1"
    )
    assert (run["outcome"], run["error_class"]) == ("failed", "SharedCredentialsError")

    world.google.faults.clear()
    store(world, GOOGLE_CLIENT_SECRET=GOOGLE_SECRET)
    world.connection.execute("update metric_accounts set leased_until = null")
    assert invoke(world, sync_request_for(world, connection))["status"] == "success"


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client"])
def test_linkedins_client_is_always_the_connections_own(world: World, error: str) -> None:
    world.linkedin_account("507000042")
    credentials = {
        "refresh_token": LINKEDIN_REFRESH, "client_id": LINKEDIN_CLIENT,
        "client_secret": "of-someone-else",
    }  # fmt: skip
    connection = world.connect_linkedin("507000042", credentials=credentials)
    world.linkedin.faults.add(
        Fault("answer", path="token", status=401, body=json.dumps({"error": error}), times=None)
    )
    report = world.sync_all()[connection]
    assert (report.is_parked, report.code, report.misconfigured) == (True, error, None)
