"""Who may call and read what, asked over the API with each kind of key."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest

from tests.conftest import Api
from tests.integration.data_api_client import local_client

KEYS = ("anon", "authenticated")
DASHBOARD_TABLES = {
    "profiles", "clients", "requests", "assets", "notification_config", "notification_queue",
    "slack_connected_channels", "platform_connections", "performance_metrics",
    "metric_sync_logs", "activity_log", "archived_activity_log", "retention_policies",
}  # fmt: skip
OWN_TABLES = (
    "worker_leases",
    "notification_deliveries",
    "notification_unrouted",
    "slack_destinations",
    "slack_threads",
    "slack_workspace",
    "ad_metrics",
    "metric_ad_links",
    "metric_names",
    "metric_unnamed_ads",
    "metric_days",
    "metric_spend_changes",
    "metric_named_ads",
    "metric_unsettled_requests",
    "metric_staged_rows",
    "metric_ledger",
    "metric_accounts",
    "metric_connection_states",
    "metric_platform_pauses",
    "metric_backfills",
    "retention_progress",
    "archived_activity_leftovers",
    "worker_runs",
    "console_actions",
)


def client(api: Api, role: str) -> httpx.Client:
    headers = {"apikey": api.keys.publishable}
    if role == "authenticated":
        headers["Authorization"] = f"Bearer {api.keys.user_token(api.user_id)}"
    return local_client(base_url=f"{api.url}/rest/v1", headers=headers)


def functions(connection: psycopg.Connection[Any]) -> list[tuple[str, list[str]]]:
    """Every function that the migrations bring, with its arguments' names."""
    return [
        (row["proname"], list(row["proargnames"] or [])[: row["pronargs"]])
        for row in connection.execute(
            "select proname, proargnames, pronargs from pg_proc "
            "where pronamespace = 'public'::regnamespace and prorettype <> 'trigger'::regtype"
        )
    ]


@pytest.mark.parametrize("role", KEYS)
def test_no_function_can_be_called(api: Api, role: str) -> None:
    with client(api, role) as http, api.connect() as connection:
        brought = functions(connection)
        assert {"lock_and_get_notifications", "archive_old_activities"} <= {n for n, _ in brought}
        for name, arguments in brought:
            answer = http.post(f"/rpc/{name}", json=dict.fromkeys(arguments))
            assert answer.status_code in (401, 403, 404), (name, answer.text)


@pytest.mark.parametrize("role", KEYS)
@pytest.mark.parametrize("table", OWN_TABLES)
def test_no_table_can_be_touched(api: Api, role: str, table: str) -> None:
    with client(api, role) as http:
        for answer in (
            http.get(f"/{table}", params={"select": "*"}),
            http.post(f"/{table}", json={}),
            http.patch(f"/{table}", params={"limit": "1"}, json={"x": 1}),
            http.delete(f"/{table}", params={"limit": "1"}),
        ):
            assert answer.status_code >= 400, answer.text


def test_the_migrations_create_these_tables(api: Api) -> None:
    with api.connect() as connection:
        found = connection.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace "
            "and relkind in ('r', 'v', 'm', 'p', 'f')"
        ).fetchall()
    brought = {row["relname"] for row in found} - DASHBOARD_TABLES
    assert brought == set(OWN_TABLES)
