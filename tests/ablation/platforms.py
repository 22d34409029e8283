"""The safety mechanisms at the ad platforms' edge."""

from __future__ import annotations

from tests.ablation.cuts import FAILURES, MIGRATIONS, WORKERS, Ablation, Cut

ODD_TESTS = "tests/metrics/test_conformance_odd.py"
SHARED_TESTS = "tests/metrics/test_shared_credentials.py"
PLATFORMS = f"{WORKERS}/metrics/platforms"

ABLATIONS = (
    Ablation(
        "refused-letters",
        "letters that cannot be stored are replaced",
        f"{ODD_TESTS}::test_characters_that_cannot_be_stored_end_no_sync[meta]",
        (Cut(f"{WORKERS}/database.py", "_storable(arguments))", "arguments)"),),
    ),
    Ablation(
        "headers-deadline",
        "an answer's headers end at the deadline",
        f"{ODD_TESTS}::test_trickling_headers_end_at_the_deadline[meta]",
        (Cut(f"{PLATFORMS}/fetching.py", "answered_until(left)", "answered_until(1e9)"),),
    ),
    Ablation(
        "longest-answer",
        "no answer is held that is longer than memory allows",
        f"{ODD_TESTS}::test_an_endless_response_is_requested_in_smaller_pieces[meta]",
        (Cut(f"{PLATFORMS}/protocol.py", "if size > MOST_BYTES:", "if size < 0:"),),
    ),
    Ablation(
        "longest-stream",
        "no stream goes on for ever",
        f"{ODD_TESTS}::test_an_endless_response_is_requested_in_smaller_pieces[google_ads]",
        (Cut(f"{PLATFORMS}/fetching.py", "if size > MOST_STREAMED:", "if size < 0:"),),
    ),
    Ablation(
        "shared-credentials",
        "the deployment's client refused parks nobody",
        f"{SHARED_TESTS}::"
        "test_a_refused_client_of_the_deployment_names_its_setting_and_parks_no_connection[invalid_client-401]",
        (Cut(f"{PLATFORMS}/google_ads.py", 'shared=self._shared_fix("GOOGLE_CLIENT_"),', ""),),
    ),
    Ablation(
        "rotated-client",
        "a refused client secret is read again",
        f"{SHARED_TESTS}::"
        "test_a_rotated_client_secret_is_read_after_a_refusal_in_any_wording[invalid_client-401]",
        (
            Cut(
                f"{WORKERS}/composition/runs.py",
                "isinstance(error, CredentialsError | SharedCredentialsError)",
                "isinstance(error, CredentialsError)",
            ),
        ),
    ),
    Ablation(
        "one-token",
        "a token that many connections share is reported once",
        f"{SHARED_TESTS}::test_many_connections_of_one_token_make_one_notification",
        (Cut(FAILURES, "if is_known then", "if false then"),),
    ),
    Ablation(
        "apps-pause",
        "the limit of one app holds no other",
        "tests/metrics/test_throttling.py::"
        "test_a_daily_quota_of_the_project_pauses_all_that_use_it_and_no_others",
        (
            Cut(
                f"{MIGRATIONS}/20261124000750_metric_accounts.sql",
                "     and pause.app = public.metric_app(connection.credentials)\n",
            ),
        ),
    ),
    Ablation(
        "quota-of-the-day",
        "a quota of the day is waited for",
        "tests/metrics/test_throttling.py::"
        "test_after_a_daily_quota_of_linkedin_the_next_sync_is_at_midnight_utc[app]",
        (Cut(f"{WORKERS}/metrics/outcomes.py", "if error.until_midnight:", "if False:"),),
    ),
    Ablation(
        "short-credentials",
        "a short credential garbles no message",
        "tests/unit/test_redaction.py::test_no_message_is_garbled_because_a_credential_is_short",
        (Cut(f"{WORKERS}/redaction.py", "if len(secret) >= SHORTEST_SECRET}", "if secret}"),),
    ),
)
