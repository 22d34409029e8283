"""What the server key may do with what the workers bring: this list, and no more."""

from __future__ import annotations

from typing import Any

import psycopg

GRANTS = {
    "worker_leases": "SELECT INSERT UPDATE",
    "notification_deliveries": "SELECT INSERT UPDATE DELETE",
    "notification_unrouted": "SELECT INSERT UPDATE DELETE",
    "slack_destinations": "SELECT INSERT UPDATE",
    "slack_threads": "SELECT INSERT UPDATE DELETE",
    "slack_workspace": "SELECT INSERT UPDATE",
    "ad_metrics": "SELECT INSERT UPDATE DELETE",
    "metric_ad_links": "SELECT INSERT UPDATE DELETE",
    "metric_names": "SELECT INSERT UPDATE",
    "metric_unnamed_ads": "SELECT INSERT UPDATE DELETE",
    "metric_days": "SELECT INSERT UPDATE DELETE",
    "metric_spend_changes": "SELECT INSERT UPDATE DELETE",
    "metric_named_ads": "SELECT INSERT",
    "metric_unsettled_requests": "SELECT INSERT UPDATE DELETE",
    "metric_staged_rows": "SELECT INSERT UPDATE DELETE",
    "metric_ledger": "SELECT INSERT UPDATE",
    "metric_accounts": "SELECT INSERT UPDATE",
    "metric_connection_states": "SELECT INSERT UPDATE",
    "metric_platform_pauses": "SELECT INSERT UPDATE",
    "metric_backfills": "SELECT INSERT UPDATE",
    "retention_progress": "SELECT INSERT UPDATE",
    "archived_activity_leftovers": "SELECT INSERT UPDATE DELETE",
    "worker_runs": "SELECT INSERT DELETE",
    "console_actions": "SELECT INSERT UPDATE DELETE",
}


def test_the_grants_are_those_that_are_written_down(db: psycopg.Connection[Any]) -> None:
    found: dict[str, set[str]] = {}
    for row in db.execute(
        "select table_name, privilege_type from information_schema.table_privileges "
        "where table_schema = 'public' and grantee = 'service_role'"
    ):
        found.setdefault(row["table_name"], set()).add(row["privilege_type"])
    ours = {table: privileges for table, privileges in found.items() if table in GRANTS}
    assert ours == {table: set(shown.split()) for table, shown in GRANTS.items()}


def test_no_one_else_has_any(db: psycopg.Connection[Any]) -> None:
    rows = db.execute(
        "select table_name, grantee from information_schema.table_privileges "
        "where table_schema = 'public' and grantee in ('PUBLIC', 'anon', 'authenticated') "
        "and table_name = any (%s)",
        (list(GRANTS),),
    ).fetchall()
    assert rows == []


def test_every_new_table_is_on_the_list(db: psycopg.Connection[Any]) -> None:
    from tests.integration.test_access import OWN_TABLES

    assert set(OWN_TABLES) == set(GRANTS)
