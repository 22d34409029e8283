"""The safety mechanisms of the metrics sync."""

from __future__ import annotations

from tests.ablation.cuts import (
    BEGIN,
    END,
    FAILURES,
    FIGURES,
    KINDS,
    PLAN,
    STORE,
    WORKERS,
    Ablation,
    Cut,
)

NOTICE_TESTS = "tests/metrics/test_failure_notices.py"
LEDGER_TESTS = "tests/metrics/test_ledger.py"
PLAN_TESTS = "tests/metrics/test_plans.py"
SYNC_TESTS = "tests/metrics/test_syncs.py"
TAKEOVER_TESTS = "tests/metrics/test_takeovers.py"

ABLATIONS = (
    Ablation(
        "connection-lease",
        "a connection is planned once",
        f"{PLAN_TESTS}::test_a_plan_is_not_made_twice",
        (
            Cut(
                PLAN,
                "and (account.leased_until is null or account.leased_until <= as_of)",
            ),
            Cut(
                PLAN,
                "where account.leased_until is null or account.leased_until <= as_of",
            ),
        ),
        "checked when connections are found and again when they are leased",
    ),
    Ablation(
        "planner-lock",
        "one planner at a time",
        f"{PLAN_TESTS}::test_a_second_planner_at_the_same_moment_plans_nothing",
        (
            Cut(
                PLAN,
                "if not pg_try_advisory_xact_lock(hashtextextended('plan_metric_syncs', 0)) then",
                "if false then",
            ),
        ),
    ),
    Ablation(
        "connection-lease-backfill",
        "a backfill waits for a sync",
        f"{SYNC_TESTS}::test_a_backfill_does_not_run_during_a_sync_nor_a_sync_during_it",
        (
            Cut(
                BEGIN,
                "if account.leased_until > as_of then\n"
                '    return \'{"refused": "busy"}\';\n  end if;',
            ),
        ),
    ),
    Ablation(
        "sync-request-token",
        "a sync request is carried out once",
        f"{TAKEOVER_TESTS}::test_of_two_identical_requests_at_once_one_syncs",
        (Cut(BEGIN, "held.token = begin_metric_sync.plan_token\n     and "),),
    ),
    Ablation(
        "fenced-syncs",
        "a sync that was taken over writes nothing",
        f"{TAKEOVER_TESTS}::test_a_sync_that_was_taken_over_no_longer_writes",
        (Cut(END, "where account.token = hold_account.token", "where account.token is not null"),),
    ),
    Ablation(
        "fenced-ends",
        "a sync that was taken over ends nothing",
        f"{TAKEOVER_TESTS}::test_a_sync_that_was_taken_over_at_its_end_is_not_a_success",
        (Cut(END, "where held.token = end_metric_sync.token", "where held.token is not null"),),
    ),
    Ablation(
        "sync-deadline",
        "deadline of a sync, while it reads",
        f"{SYNC_TESTS}::test_a_sync_without_time_is_partial_and_the_next_ones_finish_it",
        (
            Cut(
                f"{WORKERS}/metrics/platforms/fetching.py",
                "if self._clock.now() >= min(self._deadline, self._clock.stop_at):",
                "if False:",
            ),
        ),
    ),
    Ablation(
        "sync-deadline-steps",
        "deadline of a sync, while it derives",
        f"{SYNC_TESTS}::test_a_slow_database_does_not_keep_a_sync_beyond_its_deadline",
        (
            Cut(
                f"{WORKERS}/metrics/ledger.py",
                "            self._heed_deadline()\n",
                "            pass\n",
            ),
        ),
    ),
    Ablation(
        "whole-days",
        "no figure of half a day",
        f"{LEDGER_TESTS}::test_no_figure_has_half_of_a_day",
        (
            Cut(
                STORE,
                "  insert into public.metric_staged_rows as staged (token, part, rows)\n",
                "  insert into public.ad_metrics (platform, account_id, date, ad_group_id, ad_id,\n"
                "    measures, time_zone, sync_id)\n"
                "  select 'meta', '2', row.date, row.ad_group_id, row.ad_id, row.measures, 'UTC',\n"
                "         gen_random_uuid()\n"
                "    from jsonb_to_recordset(rows) row (date date, ad_group_id text, ad_id text,\n"
                "      measures jsonb);\n"
                "  insert into public.metric_staged_rows as staged (token, part, rows)\n",
            ),
        ),
    ),
    Ablation(
        "derivation-turns",
        "accounts of one request take turns",
        f"{LEDGER_TESTS}::test_of_two_accounts_that_derive_at_once_the_later_sees_both",
        (
            Cut(
                FIGURES,
                "            order by link.level, link.id\n              for update\n",
            ),
        ),
    ),
    Ablation(
        "unchanged-facts",
        "rows that did not change are not written",
        f"{LEDGER_TESTS}::test_unchanged_rows_are_not_written",
        (
            Cut(
                STORE,
                "or (stored.measures, stored.kind,",
                "or true or (stored.measures, stored.kind,",
            ),
        ),
    ),
    Ablation(
        "second-try",
        "an answer that lacks most of what is stored is asked for again",
        "tests/metrics/test_history.py::test_a_response_that_lacks_most_rows_is_requested_again",
        (
            Cut(
                f"{WORKERS}/metrics/sync_run.py",
                "if compared.stored > 2 * read.rows_named:",
                "if False:",
            ),
        ),
    ),
    Ablation(
        "manual-changes",
        "figures that someone changed or deleted manually are restored",
        "tests/metrics/test_history.py::"
        "test_what_someone_deleted_or_changed_is_restored[sync-meta]",
        (
            Cut(
                f"{WORKERS}/metrics/sync_run.py",
                "self._check = self._ledger.check(self._range.days)",
                "pass",
            ),
        ),
    ),
    Ablation(
        "four-at-once",
        "no more than four requests at a time for one account",
        "tests/unit/metrics/test_reading.py::test_four_windows_are_read_at_once_and_come_in_order",
        (
            Cut(
                f"{WORKERS}/metrics/reading.py",
                "ThreadPoolExecutor(AT_ONCE,",
                "ThreadPoolExecutor(2 * AT_ONCE,",
            ),
        ),
    ),
    Ablation(
        "queued-pauses",
        "what is queued heeds a pause",
        "tests/metrics/test_accounts.py::test_a_queued_sync_respects_a_pause",
        (Cut(BEGIN, " and candidate.paused_until is null;", ";"),),
    ),
    Ablation(
        "aged-figures",
        "figures of days that retention purged stay",
        "tests/metrics/test_history.py::test_figures_outlive_the_facts_that_retention_purged",
        (
            Cut(
                FIGURES,
                "select from public.metric_ledger ledger where ledger.whole_from > any (dates)",
                "select from public.metric_ledger ledger where false",
            ),
        ),
    ),
    Ablation(
        "repeated-rows",
        "a row that a later page tells again is not counted twice",
        "tests/metrics/test_moving_pages.py::"
        "test_a_row_that_a_later_page_repeats_is_not_counted_twice",
        (
            Cut(
                f"{WORKERS}/metrics/platforms/fetching.py",
                "yield whole.take(page)",
                "yield page",
            ),
        ),
    ),
    Ablation(
        "days-that-were-not-over",
        "a day that was not over when it was read is read again",
        f"{SYNC_TESTS}::test_a_day_that_was_not_over_is_read_again_by_a_sync_that_continues_after_it",
        (
            Cut(
                f"{WORKERS}/metrics/windows.py",
                "return {day for day, at in read.items() if day >= today or "
                "day < at.astimezone(zone).date()}",
                "return set(read)",
            ),
        ),
    ),
    Ablation(
        "currency-guard",
        "money of two currencies is not summed",
        "tests/metrics/test_figures.py::test_money_of_two_currencies_is_not_summed",
        (Cut(KINDS, "when 'money' then 'not is_mixed'", "when 'money' then 'true'"),),
    ),
    Ablation(
        "reported-once",
        "a lasting failure is reported once",
        f"{NOTICE_TESTS}::test_failing_for_a_day",
        (
            Cut(
                FAILURES, "if problem is not distinct from reported then", "if problem is null then"
            ),
        ),
    ),
    Ablation(
        "last-of-a-token",
        "of connections that share a token the last reports that all work",
        f"{NOTICE_TESTS}::test_of_connections_that_share_a_token_the_last_one_reports_the_recovery",
        (Cut(FAILURES, "and state.parked_token = parked.parked_token", "and false"),),
    ),
)
