"""The safety mechanisms of the metrics sync."""

from __future__ import annotations

from tests.ablation.cuts import PLAN, SYNC, WORKERS, Ablation, Cut

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
                "and (state.leased_until is null or state.leased_until <= as_of)",
            ),
            Cut(
                PLAN,
                "where state.leased_until is null or state.leased_until <= as_of",
            ),
        ),
        "looked at when connections are found and again when they are leased",
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
        f"{SYNC_TESTS}::test_a_backfill_waits_for_no_sync_and_is_not_disturbed_by_one",
        (
            Cut(
                PLAN,
                'if found then\n    return \'{"refused": "busy"}\';\n  end if;',
            ),
        ),
    ),
    Ablation(
        "order-token",
        "an order is carried out once",
        f"{TAKEOVER_TESTS}::test_of_two_at_once_one_works",
        (Cut(PLAN, "and held.token = begin_metric_sync.plan_token"),),
    ),
    Ablation(
        "fenced-syncs",
        "a sync that was taken over writes nothing",
        f"{TAKEOVER_TESTS}::test_a_sync_that_was_taken_over_writes_nothing_more",
        (Cut(PLAN, "and state.token = hold_connection.token"),),
    ),
    Ablation(
        "fenced-ends",
        "a sync that was taken over ends nothing",
        f"{TAKEOVER_TESTS}::test_a_sync_that_was_taken_over_at_its_end_is_no_success",
        (Cut(PLAN, "and held.token = end_metric_sync.token"),),
    ),
    Ablation(
        "sync-deadline",
        "deadline of a sync, while it reads",
        f"{SYNC_TESTS}::test_a_sync_without_time_is_partial_and_the_next_ones_finish_it",
        (
            Cut(
                f"{WORKERS}/metrics/platforms/fetching.py",
                "if self._clock.now() >= self._deadline:\n            raise OutOfTime",
                "pass",
            ),
        ),
    ),
    Ablation(
        "sync-deadline-steps",
        "deadline of a sync, while it derives",
        f"{SYNC_TESTS}::test_a_slow_database_does_not_keep_a_sync_beyond_its_deadline",
        (
            Cut(
                f"{WORKERS}/metrics/sync.py",
                "if self._clock.now() >= self.deadline:\n                raise OutOfTime",
            ),
        ),
    ),
    Ablation(
        "settled-derivation",
        "no figure of half a window",
        "tests/metrics/test_ledger.py::test_what_another_sync_is_still_reading_is_in_no_figure",
        (
            Cut(
                SYNC,
                "and (row.derived_at is not null\n",
                "and (true\n",
            ),
        ),
    ),
    Ablation(
        "derivation-turns",
        "connections of one request take turns",
        "tests/metrics/test_ledger.py::test_of_two_connections_that_finish_at_once_the_later_sees_both",
        (
            Cut(
                SYNC,
                "order by link.request_id, link.ad_id\n      for update;\n\n  -- Lateral",
                ";\n  -- Lateral",
            ),
        ),
    ),
    Ablation(
        "repeated-rows",
        "a row that a later page tells again is not counted twice",
        "tests/metrics/test_moving_pages.py::"
        "test_a_row_that_a_later_page_tells_again_is_not_counted_twice",
        (Cut(f"{WORKERS}/metrics/platforms/fetching.py", "                whole.take(page)\n"),),
    ),
    Ablation(
        "days-that-were-not-over",
        "a day that was not over when it was read is read again",
        f"{SYNC_TESTS}::test_a_day_that_was_not_over_is_read_again_by_a_sync_that_goes_on_after_it",
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
        (Cut(SYNC, " and count(distinct coalesce(currency, '')) = 1\n", "\n"),),
    ),
)
