"""The safety mechanisms that are common to all workers: redirects, redaction, access."""

from __future__ import annotations

from tests.ablation.cuts import (
    BEGIN,
    DELIVERIES,
    LEASES,
    LEDGER,
    PLAN,
    RECORDS,
    RETENTION,
    STORE,
    WORKERS,
    Ablation,
    Cut,
)

SYNC_LOG_TESTS = "tests/metrics/test_sync_logs.py"
TABLES_TEST = (
    "tests/database/test_migrations.py::"
    "test_created_tables_are_closed_even_where_new_tables_start_open"
)
ACCESS_TEST = "tests/database/test_migrations.py::test_only_the_server_key_may_call_a_function"
REVOKE = (
    "execute format('revoke all on function public.%s from public, anon, authenticated', "
    "signature);"
)

REDIRECTS = (
    Ablation(
        "redirects-slack",
        "redirects of Slack are not followed",
        "tests/integration/test_slack_edge.py::test_a_redirect_is_not_followed",
        (
            Cut(
                f"{WORKERS}/notifications/slack_client.py",
                "def _perform_urllib_http_request_internal(",
                "def _not_called(",
            ),
        ),
        "removes the client's own transport, which does not follow them",
    ),
    Ablation(
        "redirects-platforms",
        "redirects of ad platforms are not followed",
        "tests/metrics/test_failures.py::"
        "test_one_failure_is_recorded_and_the_others_are_complete[redirect]",
        (
            Cut(
                f"{WORKERS}/metrics/platforms/fetching.py",
                "allow_redirects=False,",
                "allow_redirects=True,",
            ),
        ),
    ),
    Ablation(
        "redirects-database",
        "redirects of the data API are not followed",
        "tests/integration/test_database_edge.py::"
        "test_a_redirect_is_not_followed_and_names_the_setting",
        (
            Cut(f"{WORKERS}/database.py", "follow_redirects=False", "follow_redirects=True"),
            Cut(f"{WORKERS}/database.py", "if response.is_redirect:", "if False:"),
        ),
        "they are not followed, and refused before that",
    ),
)

SECRETS = (
    Ablation(
        "redaction-shapes",
        "redaction: what looks like a secret",
        "tests/unit/test_redaction.py::test_what_looks_like_a_credential_is_removed",
        (
            Cut(
                f"{WORKERS}/redaction.py",
                'return _SHAPES.sub(_masked, f" {text}")[1:]',
                "return text",
            ),
        ),
    ),
    Ablation(
        "redaction-forms",
        "redaction: a known secret in every written form",
        "tests/unit/test_redaction.py::test_a_secret_is_removed_in_every_form",
        (
            Cut(
                f"{WORKERS}/redaction.py",
                "text = _written(secret).sub(_MASK, text)",
                "text = text.replace(secret, _MASK)",
            ),
        ),
    ),
    Ablation(
        "redaction-remembered",
        "redaction: secrets that were read are remembered",
        "tests/unit/test_redaction.py::test_a_remembered_secret_is_removed_from_every_text",
        (
            Cut(
                f"{WORKERS}/redaction.py",
                "            pool[text] = None\n",
                "            pass\n",
            ),
        ),
    ),
    Ablation(
        "credentials-settings",
        "credentials of the settings are checked",
        "tests/unit/test_credentials.py::test_a_setting_is_refused_by_name",
        (
            Cut(
                f"{WORKERS}/settings.py",
                "if flaw := flaw_of(raw.strip()):",
                "if flaw := None:",
            ),
        ),
    ),
    Ablation(
        "credentials-connections",
        "credentials of connections are checked",
        "tests/unit/test_credentials.py::"
        "test_a_connections_credential_is_refused_as_a_fault_of_its_own",
        (
            Cut(
                f"{WORKERS}/metrics/platforms/protocol.py",
                "flaw = flaw_of(value)",
                "flaw = None",
            ),
        ),
    ),
    Ablation(
        "redaction-sync-logs",
        "redaction: platforms' messages in sync logs",
        f"{SYNC_LOG_TESTS}::test_no_secret_is_shown_anywhere",
        (
            Cut(
                f"{WORKERS}/metrics/sync.py",
                "message = redact(str(error), run.secrets)",
                "message = str(error)",
            ),
        ),
    ),
    Ablation(
        "redaction-sync-failures",
        "redaction: a sync's own failure in sync logs",
        f"{SYNC_LOG_TESTS}::test_a_failure_that_quotes_a_secret_is_recorded_without_it",
        (
            Cut(
                f"{WORKERS}/metrics/sync_run.py",
                'message = redact(f"The sync itself failed: {error}", self.secrets)',
                'message = f"The sync itself failed: {error}"',
            ),
        ),
    ),
    Ablation(
        "redaction-retention",
        "redaction: a policy's failure",
        "tests/retention/test_retention.py::test_a_failure_that_quotes_a_secret_is_reported_without_it",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                'report.error = redact(f"{error.code}: {error}")',
                'report.error = f"{error.code}: {error}"',
            ),
        ),
    ),
    Ablation(
        "redaction-runs",
        "redaction: a run's failure, in its row and log",
        "tests/integration/test_composition.py::test_a_failure_that_quotes_a_secret_is_reported_without_it",
        (
            Cut(
                f"{WORKERS}/composition/runs.py",
                "message = redact(str(error))",
                "message = str(error)",
            ),
        ),
    ),
    Ablation(
        "redaction-sentry",
        "redaction: what Sentry receives",
        "tests/integration/test_error_tracking.py::test_an_error_is_sent_once_and_without_secrets",
        (
            Cut(
                f"{WORKERS}/composition/error_tracking.py",
                'exception["value"] = redact(str(exception.get("value") or ""))',
                'exception["value"] = str(exception.get("value") or "")',
            ),
        ),
    ),
)

ACCESS = (
    *(
        Ablation(
            f"grants-{name}",
            f"revoked grants: functions of {what}",
            ACCESS_TEST,
            (Cut(file, REVOKE),),
        )
        for name, what, file in (
            ("leases", "leases", LEASES),
            ("notifications", "notifications", RECORDS),
            ("plan", "the metrics plan", PLAN),
            ("syncs", "the metrics syncs", BEGIN),
            ("facts", "the metrics ledger", STORE),
            ("retention", "retention", RETENTION),
        )
    ),
    Ablation(
        "grants-lease-table",
        "revoked grants: table of leases",
        TABLES_TEST,
        (Cut(LEASES, "revoke all on public.worker_leases from public, anon, authenticated;"),),
    ),
    Ablation(
        "grants-deliveries",
        "revoked grants: tables of notifications",
        TABLES_TEST,
        (
            Cut(
                DELIVERIES,
                "execute format('revoke all on public.%I from public, anon, authenticated', "
                "table_name);",
            ),
        ),
    ),
    Ablation(
        "grants-ledger",
        "revoked grants: tables of metrics",
        TABLES_TEST,
        (
            Cut(
                LEDGER,
                "execute format('revoke all on public.%I from public, anon, authenticated', "
                "table_name);",
            ),
        ),
    ),
    Ablation(
        "row-security",
        "row level security, below the grants",
        "tests/database/test_migrations.py::"
        "test_created_tables_are_closed_to_everyone_but_the_server_key",
        (
            Cut(
                LEDGER,
                "execute format('alter table public.%I enable row level security', table_name);",
            ),
        ),
    ),
)
