"""The safety mechanisms, each with what takes it out and the test that has to fail then.

What a piece is replaced by is the same code without the mechanism: it still runs. Where two
places guard the same, either alone would do, and both are taken out at once; `remark` says so.
"""

from __future__ import annotations

from dataclasses import dataclass

WORKERS = "layers/shared/workers"
MIGRATIONS = "supabase/migrations"
LEASES = f"{MIGRATIONS}/20261124000200_worker_leases.sql"
DELIVERIES = f"{MIGRATIONS}/20261124000300_notification_deliveries.sql"
NOTIFICATIONS = f"{MIGRATIONS}/20261124000400_notification_functions.sql"
LEDGER = f"{MIGRATIONS}/20261124000700_ad_metrics.sql"
PLAN = f"{MIGRATIONS}/20261124000800_metric_plan.sql"
SYNC = f"{MIGRATIONS}/20261124000900_metric_sync.sql"
RETENTION = f"{MIGRATIONS}/20261124001100_retention.sql"
REVOKE = (
    "execute format('revoke all on function public.%s from public, anon, authenticated', brought);"
)

CLAIM_TESTS = "tests/database/test_notification_functions.py::TestClaim"
RECORD_TESTS = "tests/database/test_notification_functions.py::TestRecord"
RUN_TESTS = "tests/database/test_notification_functions.py::TestRunsAndEndings"
DELIVERY_TESTS = "tests/notifications/test_deliveries.py"
FAILURE_TESTS = "tests/notifications/test_failures.py"
SLACK_TESTS = "tests/integration/test_slack_edge.py"
SYNC_TESTS = "tests/metrics/test_syncs.py"
METRIC_FAILURES = "tests/metrics/test_failures.py"
RETENTION_TESTS = "tests/retention/test_retention.py"
ARCHIVE_TESTS = "tests/integration/test_archive.py"
BATCH_TEST = f"{RETENTION_TESTS}::test_a_batch_takes_the_oldest_and_no_more_than_asked_for"
# Of archiving and purging activity, around the limit of a batch.
OLDEST = "where due.created_at < cutoff\n              order by due.created_at"
LOCKED = "                for update skip locked\n           ))"
TABLES_TEST = (
    "tests/database/test_migrations.py::"
    "test_created_tables_are_closed_also_where_new_tables_start_out_open"
)
ACCESS_TEST = (
    "tests/database/test_migrations.py::test_nobody_but_the_server_key_may_call_a_function"
)


@dataclass(frozen=True)
class Cut:
    """A piece of a file, which is there once, and what stands there without the mechanism."""

    file: str
    piece: str
    instead: str = ""


@dataclass(frozen=True)
class Ablation:
    """A mechanism, what takes it out, and the test (a pytest node id) that has to fail."""

    name: str
    mechanism: str
    test: str
    cuts: tuple[Cut, ...]
    remark: str = ""

    def applied(self, file: str, whole: str) -> str:
        """`whole`, the text of `file`, without the mechanism."""
        for cut in self.cuts:
            if cut.file == file:
                assert whole.count(cut.piece) == 1, f"{self.name}: not once in {file}: {cut.piece}"
                whole = whole.replace(cut.piece, cut.instead)
        return whole


ABLATIONS = (
    # --- notifications: who may work on what ---
    Ablation(
        "row-lease",
        "a claimed row is nobody else's",
        f"{CLAIM_TESTS}::test_a_leased_row_is_claimed_again_only_after_the_lease",
        (
            Cut(
                NOTIFICATIONS,
                "and (queued.claimed_until is null or queued.claimed_until <= as_of)\n"
                "              and (coalesce(queued.lost_claims",
                "and (coalesce(queued.lost_claims",
            ),
            Cut(
                NOTIFICATIONS,
                "and (queued.claimed_until is null or queued.claimed_until <= as_of)\n"
                "       order by queued.id\n",
                "order by queued.id\n",
            ),
        ),
        "looked at when the row is found and again when it is locked",
    ),
    Ablation(
        "row-lease-endings",
        "a claimed row is not ended by others",
        f"{RUN_TESTS}::test_what_a_run_has_in_hand_is_not_ended_under_it",
        (
            Cut(
                NOTIFICATIONS,
                "and (queued.claimed_until is null or queued.claimed_until <= as_of)\n"
                "      limit row_limit)",
                "limit row_limit)",
            ),
            Cut(
                NOTIFICATIONS,
                "and (waiting.claimed_until is null or waiting.claimed_until <= as_of)\n"
                "               limit row_limit\n",
                "limit row_limit\n",
            ),
            Cut(
                NOTIFICATIONS,
                "and (waiting.claimed_until is null or waiting.claimed_until <= as_of)\n"
                "                 and as_of - ",
                "and as_of - ",
            ),
            Cut(
                NOTIFICATIONS,
                "and (queued.claimed_until is null or queued.claimed_until <= as_of)\n"
                "       for update of queued skip locked",
                "for update of queued skip locked",
            ),
        ),
        "looked at when the rows are found, in three ways, and again when they are locked",
    ),
    Ablation(
        "drainer-lease",
        "one drainer at a time",
        f"{RUN_TESTS}::test_one_drainer_at_a_time",
        (
            Cut(
                LEASES,
                "where held.holder = excluded.holder or held.expires_at <= as_of",
            ),
        ),
    ),
    Ablation(
        "lost-lease-announces",
        "a drainer without its lease announces nothing",
        f"{RECORD_TESTS}::test_a_run_that_lost_its_lease_starts_nothing",
        (Cut(NOTIFICATIONS, "  if held then\n", "  if true then\n"),),
    ),
    Ablation(
        "lost-lease-stops",
        "a drainer without its lease stops",
        f"{DELIVERY_TESTS}::test_a_run_that_loses_its_lease_stops",
        (
            Cut(
                f"{WORKERS}/notifications/drain.py",
                'if not answer["held"]:\n            self._end("lease_lost")',
            ),
        ),
    ),
    Ablation(
        "fenced-outcomes",
        "fencing token: outcomes of an older claim",
        f"{CLAIM_TESTS}::test_a_stale_token_changes_nothing",
        (Cut(NOTIFICATIONS, "and queued.claim_token = told.token"),),
    ),
    Ablation(
        "fenced-endings",
        "fencing token: an older claim ends a row",
        f"{CLAIM_TESTS}::test_a_stale_token_changes_nothing",
        (
            Cut(
                NOTIFICATIONS,
                "and queued.claim_token = verdict.token\n      left join",
                "left join",
            ),
        ),
    ),
    Ablation(
        "fenced-verdicts",
        "fencing token: an older claim condemns a row",
        f"{CLAIM_TESTS}::test_a_stale_token_condemns_nothing",
        (
            Cut(
                NOTIFICATIONS,
                "and queued.claim_token = verdict.token\n     and delivery.notification_id",
                "and delivery.notification_id",
            ),
        ),
    ),
    Ablation(
        "fenced-announcements",
        "fencing token: an older claim announces",
        f"{CLAIM_TESTS}::test_a_stale_token_changes_nothing",
        (Cut(NOTIFICATIONS, "and queued.claim_token = start.token"),),
    ),
    # --- notifications: once ---
    Ablation(
        "announcement",
        "recorded as sending before the post",
        f"{FAILURE_TESTS}::test_what_cannot_be_announced_is_not_posted",
        (
            Cut(
                f"{WORKERS}/notifications/drain.py",
                'if lane.ready_at(now) > now or lane.waiting[0].state != "announced":',
                "if lane.ready_at(now) > now:",
            ),
        ),
    ),
    Ablation(
        "announced-is-unknown",
        "what was announced when a run died is unknown",
        f"{FAILURE_TESTS}::test_the_data_api_is_down_from_the_post_until_after_the_lease",
        (Cut(NOTIFICATIONS, "     set state = 'unknown',\n", "     set state = 'pending',\n"),),
    ),
    Ablation(
        "reconciliation",
        "looked for before it is posted again",
        f"{FAILURE_TESTS}::test_accepted_but_unconfirmed_is_found_and_not_posted_again[reset]",
        (
            Cut(
                f"{WORKERS}/notifications/hand.py",
                "look_first=delivery.is_unknown",
                "look_first=False",
            ),
        ),
    ),
    Ablation(
        "settling-time",
        "not looked for before the history has settled",
        f"{FAILURE_TESTS}::test_a_lagging_history_is_waited_for_before_anything_is_repeated",
        (
            Cut(
                f"{WORKERS}/notifications/outcomes.py",
                "SETTLING_TIME: Final = 60.0",
                "SETTLING_TIME: Final = 0.0",
            ),
        ),
    ),
    Ablation(
        "whole-history",
        "half a history proves nothing",
        f"{SLACK_TESTS}::test_half_a_history_is_an_error",
        (
            Cut(
                f"{WORKERS}/notifications/slack.py",
                'if answer.get("has_more"):\n                    raise _incomplete()',
            ),
        ),
    ),
    Ablation(
        "own-messages",
        "another app's metadata proves nothing",
        f"{SLACK_TESTS}::test_history_reads_all_pages_and_knows_its_own",
        (Cut(f"{WORKERS}/notifications/slack.py", 'entry.get("bot_id") != bot_id or '),),
    ),
    Ablation(
        "duplicate-mark",
        "a possible duplicate says so",
        f"{FAILURE_TESTS}::test_where_the_bot_cannot_look_the_repeat_says_so",
        (
            Cut(
                f"{WORKERS}/notifications/posting.py",
                "if work.possible_duplicate:\n        message = mark_repeat(message)",
            ),
        ),
    ),
    Ablation(
        "doubt-kept",
        "what may have been posted stays in doubt while it waits",
        f"{FAILURE_TESTS}::test_a_repeat_that_is_refused_says_so_later_too",
        (
            Cut(
                NOTIFICATIONS,
                "             when outcome.in_doubt then 'unknown'\n",
            ),
        ),
    ),
    # --- notifications: in time ---
    Ablation(
        "deadline-stop",
        "nothing is begun near the deadline",
        f"{DELIVERY_TESTS}::test_a_run_ends_before_its_deadline_and_gives_back_the_rest",
        (
            Cut(
                f"{WORKERS}/notifications/drain.py",
                "self._cutoff = deadline - self._slack.timeout - SETTLE_MARGIN",
                "self._cutoff = deadline",
            ),
        ),
    ),
    Ablation(
        "deadline-release",
        "rows are given back before the deadline",
        f"{DELIVERY_TESTS}::test_a_run_ends_before_its_deadline_and_gives_back_the_rest",
        (
            Cut(
                f"{WORKERS}/notifications/drain.py",
                "self._hand.release_all()",
                "pass",
            ),
        ),
    ),
    # --- notifications: not too fast ---
    Ablation(
        "channel-pace",
        "pace of a channel",
        f"{DELIVERY_TESTS}::test_a_queue_is_drained_in_order_at_the_channels_pace",
        (
            Cut(
                f"{WORKERS}/notifications/pacing.py",
                "if not self.rate or self.last_start == _NEVER:",
                "if True:",
            ),
        ),
    ),
    Ablation(
        "channel-pace-handover",
        "pace of a channel, from run to run",
        f"{DELIVERY_TESTS}::test_the_pace_holds_from_run_to_run",
        (
            Cut(
                f"{WORKERS}/notifications/hand.py",
                "pace.last_start = now - delivery.idle_for",
                "pass",
            ),
        ),
    ),
    Ablation(
        "workspace-pace",
        "pace of the workspace",
        f"{DELIVERY_TESTS}::test_the_workspace_has_a_pace_too",
        (
            Cut(
                f"{WORKERS}/notifications/throttle.py",
                "return now >= self.hold_until and self._bucket.take(now)",
                "return now >= self.hold_until",
            ),
        ),
    ),
    Ablation(
        "workspace-pace-handover",
        "pace of the workspace, from run to run",
        f"{DELIVERY_TESTS}::test_what_one_run_used_up_the_next_one_lacks",
        (
            Cut(
                f"{WORKERS}/notifications/throttle.py",
                'float(handover.get("tokens", burst)) + age * rate',
                "burst",
            ),
        ),
    ),
    Ablation(
        "slack-waits",
        "a wait that Slack asked for",
        f"{FAILURE_TESTS}::test_slack_asks_to_wait",
        (
            Cut(
                f"{WORKERS}/notifications/pacing.py",
                "self.not_before = max(self.not_before, time)",
                "pass",
            ),
        ),
    ),
    Ablation(
        "breaker",
        "all stands still while Slack is in trouble",
        f"{FAILURE_TESTS}::test_slack_out_of_reach_trips_the_breaker_and_then_sends_one_probe",
        (
            Cut(
                f"{WORKERS}/notifications/throttle.py",
                "TROUBLE_LIMIT: Final = 4",
                "TROUBLE_LIMIT: Final = 1_000_000",
            ),
        ),
    ),
    # --- notifications: readable, in the right place ---
    Ablation(
        "escaping",
        "values are escaped: no mention, no link",
        "tests/unit/notifications/test_rendering.py::test_a_value_opens_no_link_and_no_mention",
        (
            Cut(
                f"{WORKERS}/notifications/rendering.py",
                'return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")',
                "return text",
            ),
        ),
    ),
    Ablation(
        "redirects-slack",
        "redirects of Slack are not followed",
        f"{SLACK_TESTS}::test_a_redirect_is_not_followed",
        (
            Cut(
                f"{WORKERS}/notifications/slack.py",
                "def _perform_urllib_http_request_internal(",
                "def _not_called(",
            ),
        ),
        "the client's own transport is taken out, and with it what it does not do",
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
        "not followed, and refused before it could be",
    ),
    # --- metrics: who may work on what ---
    Ablation(
        "connection-lease",
        "a connection is planned once",
        f"{SYNC_TESTS}::test_a_plan_is_not_made_twice",
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
        f"{SYNC_TESTS}::test_a_second_planner_at_the_same_moment_plans_nothing",
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
        f"{SYNC_TESTS}::test_of_two_at_once_one_works",
        (Cut(PLAN, "and held.token = begin_metric_sync.plan_token"),),
    ),
    Ablation(
        "fenced-syncs",
        "a sync that was taken over writes nothing",
        f"{SYNC_TESTS}::test_a_sync_that_was_taken_over_writes_nothing_more",
        (Cut(PLAN, "and state.token = hold_connection.token"),),
    ),
    Ablation(
        "fenced-ends",
        "a sync that was taken over ends nothing",
        f"{SYNC_TESTS}::test_a_sync_that_was_taken_over_at_its_end_is_no_success",
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
    # --- metrics: true figures ---
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
        f"{METRIC_FAILURES}::test_a_row_that_a_later_page_tells_again_is_not_counted_twice",
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
    # --- secrets ---
    Ablation(
        "redaction-shapes",
        "redaction: what looks like a secret",
        "tests/unit/test_redaction.py::test_what_looks_like_a_credential_goes",
        (Cut(f"{WORKERS}/redaction.py", 'text = _SHAPES.sub(_mask, f" {text}")[1:]'),),
    ),
    Ablation(
        "redaction-sync-logs",
        "redaction: what a platform said, in sync logs",
        f"{SYNC_TESTS}::test_no_secret_is_told_anywhere",
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
        "redaction: a sync's own failure, in sync logs",
        f"{SYNC_TESTS}::test_a_failure_that_quotes_a_secret_is_recorded_without_it",
        (
            Cut(
                f"{WORKERS}/metrics/sync.py",
                'message = redact(f"The sync itself failed: {error}", self.secrets)',
                'message = f"The sync itself failed: {error}"',
            ),
        ),
    ),
    Ablation(
        "redaction-retention",
        "redaction: a policy's failure",
        f"{RETENTION_TESTS}::test_a_failure_that_quotes_a_secret_is_told_without_it",
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
        "tests/integration/test_composition.py::test_a_failure_that_quotes_a_secret_is_told_without_it",
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
        "redaction: what Sentry is told",
        "tests/integration/test_error_tracking.py::test_an_error_is_told_once_and_without_secrets",
        (
            Cut(
                f"{WORKERS}/composition/error_tracking.py",
                'exception["value"] = redact(str(exception.get("value") or ""))',
                'exception["value"] = str(exception.get("value") or "")',
            ),
        ),
    ),
    # --- retention ---
    Ablation(
        "verified-objects",
        "verified purge: each object is read back",
        f"{ARCHIVE_TESTS}::test_what_reads_back_otherwise_was_not_stored",
        (
            Cut(
                f"{WORKERS}/retention/archive.py",
                "\n        self._verified(manifest)\n",
                "\n",
            ),
        ),
    ),
    Ablation(
        "verified-manifests",
        "verified purge: each manifest is read back",
        f"{ARCHIVE_TESTS}::test_a_manifest_that_reads_back_otherwise_was_not_stored",
        (
            Cut(
                f"{WORKERS}/retention/archive.py",
                "if self._get(manifest.key) != body:",
                "if False:",
            ),
        ),
    ),
    Ablation(
        "verified-contents",
        "verified purge: what is read back is compared",
        "tests/unit/retention/test_cold.py::test_no_byte_of_an_object_may_change",
        (
            Cut(
                f"{WORKERS}/retention/cold.py",
                "if hashlib.sha256(body).hexdigest() != manifest.sha256:",
                "if False:",
            ),
        ),
    ),
    Ablation(
        "verified-before-purge",
        "verified purge: only what is stored goes",
        f"{RETENTION_TESTS}::test_of_rows_that_were_read_only_those_that_are_stored_are_purged",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                '"purge_archived_lines", lines=stored)',
                '"purge_archived_lines", lines=lines)',
            ),
        ),
    ),
    Ablation(
        "unchanged-rows",
        "verified purge: only what is still as stored goes",
        f"{RETENTION_TESTS}::test_rows_that_changed_on_their_way_are_not_purged",
        (Cut(RETENTION, "and to_jsonb(archived)::text = kept.text"),),
    ),
    Ablation(
        "bounded-archiving",
        "bounded batches: archiving",
        f"{BATCH_TEST}[archiving]",
        (
            Cut(
                RETENTION,
                f"{OLDEST}\n              limit batch_size\n{LOCKED}\n    returning activity.id",
                f"{OLDEST}\n{LOCKED}\n    returning activity.id",
            ),
        ),
    ),
    Ablation(
        "bounded-archived",
        "bounded batches: purging archived activity",
        f"{BATCH_TEST}[archived]",
        (
            Cut(
                RETENTION,
                f"{OLDEST}\n              limit batch_size\n{LOCKED}\n    returning 1",
                f"{OLDEST}\n{LOCKED}\n    returning 1",
            ),
        ),
    ),
    Ablation(
        "bounded-notifications",
        "bounded batches: purging notifications",
        f"{BATCH_TEST}[notifications]",
        (
            Cut(
                RETENTION,
                "(due, active_cutoff, archive_cutoff)\n"
                "              order by due.created_at\n"
                "              limit batch_size\n",
                "(due, active_cutoff, archive_cutoff)\n              order by due.created_at\n",
            ),
        ),
    ),
    Ablation(
        "bounded-sync-logs",
        "bounded batches: purging sync logs",
        f"{BATCH_TEST}[sync-logs]",
        (
            Cut(
                RETENTION,
                "order by due.start_time\n              limit batch_size",
                "order by due.start_time",
            ),
        ),
    ),
    Ablation(
        "retention-deadline",
        "deadline of retention",
        f"{RETENTION_TESTS}::test_out_of_time_it_stops_and_later_runs_finish",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                "if self._clock.now() >= self._deadline:\n            raise OutOfTime",
                "pass",
            ),
        ),
    ),
    Ablation(
        "retention-lease",
        "one retention run at a time",
        f"{RETENTION_TESTS}::test_two_runs_at_once_do_the_work_once",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                'if not self._take_lease():\n            return RetentionReport("busy")',
                "self._take_lease()",
            ),
        ),
    ),
    Ablation(
        "retention-lost-lease",
        "a retention run without its lease stops",
        f"{RETENTION_TESTS}::test_a_run_that_loses_its_lease_stops",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                "if not self._take_lease():\n            raise TransientError(",
                "if not self._take_lease() and False:\n            raise TransientError(",
            ),
        ),
    ),
    # --- access ---
    Ablation(
        "grants-leases",
        "revoked grants: functions of leases",
        ACCESS_TEST,
        (
            Cut(
                LEASES,
                "revoke all on function public.take_worker_lease"
                "(text, uuid, interval, timestamptz)\n  from public, anon, authenticated;",
            ),
        ),
    ),
    *(
        Ablation(
            f"grants-{name}",
            f"revoked grants: functions of {what}",
            ACCESS_TEST,
            (Cut(file, REVOKE),),
        )
        for name, what, file in (
            ("notifications", "notifications", NOTIFICATIONS),
            ("plan", "the metrics plan", PLAN),
            ("sync", "the metrics sync", SYNC),
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
                "revoke all on\n"
                "  public.notification_deliveries,\n"
                "  public.slack_destinations,\n"
                "  public.notification_pauses\n"
                "from public, anon, authenticated;",
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
                "brought);",
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
                "execute format('alter table public.%I enable row level security', brought);",
            ),
        ),
    ),
)
