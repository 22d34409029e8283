"""The safety mechanisms of the notifications worker."""

from __future__ import annotations

from tests.ablation.cuts import LEASES, NOTIFICATIONS, WORKERS, Ablation, Cut

CLAIM_TESTS = "tests/database/test_notification_functions.py::TestClaim"
RECORD_TESTS = "tests/database/test_notification_functions.py::TestRecord"
RUN_TESTS = "tests/database/test_notification_functions.py::TestRunsAndEndings"
DATA_API_TESTS = "tests/notifications/test_data_api_failures.py"
RECONCILIATION_TESTS = "tests/notifications/test_reconciliation.py"
HISTORY_TESTS = "tests/integration/test_slack_history.py"
DELIVERY_TESTS = "tests/notifications/test_deliveries.py"

ABLATIONS = (
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
    Ablation(
        "announcement",
        "recorded as sending before the post",
        f"{DATA_API_TESTS}::test_what_cannot_be_announced_is_not_posted",
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
        f"{DATA_API_TESTS}::test_the_data_api_is_down_from_the_post_until_after_the_lease",
        (Cut(NOTIFICATIONS, "     set state = 'unknown',\n", "     set state = 'pending',\n"),),
    ),
    Ablation(
        "reconciliation",
        "looked for before it is posted again",
        f"{RECONCILIATION_TESTS}::test_accepted_but_unconfirmed_is_found_and_not_posted_again[reset]",
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
        f"{RECONCILIATION_TESTS}::test_a_lagging_history_is_waited_for_before_anything_is_repeated",
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
        f"{HISTORY_TESTS}::test_where_the_reading_goes_on",
        (
            Cut(
                f"{WORKERS}/notifications/slack.py",
                'if not (cursor or answer.get("has_more")):\n        return None',
                "return None",
            ),
        ),
    ),
    Ablation(
        "own-messages",
        "another app's metadata proves nothing",
        f"{HISTORY_TESTS}::test_a_page_holds_our_own_posts_alone",
        (Cut(f"{WORKERS}/notifications/slack.py", 'entry.get("bot_id") != bot_id or '),),
    ),
    Ablation(
        "duplicate-mark",
        "a possible duplicate says so",
        f"{RECONCILIATION_TESTS}::test_where_the_bot_cannot_look_the_repeat_says_so",
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
        f"{RECONCILIATION_TESTS}::test_a_repeat_that_is_refused_says_so_later_too",
        (
            Cut(
                NOTIFICATIONS,
                "             when outcome.in_doubt then 'unknown'\n",
            ),
        ),
    ),
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
        "tests/notifications/test_rate_limits.py::test_slack_asks_to_wait",
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
        "tests/notifications/test_outages.py::"
        "test_slack_out_of_reach_trips_the_breaker_and_then_sends_one_probe",
        (
            Cut(
                f"{WORKERS}/notifications/throttle.py",
                "TROUBLE_LIMIT: Final = 4",
                "TROUBLE_LIMIT: Final = 1_000_000",
            ),
        ),
    ),
    Ablation(
        "escaping",
        "values are escaped: no mention, no link",
        "tests/unit/notifications/test_rendering.py::test_a_value_opens_no_link_and_no_mention",
        (
            Cut(
                f"{WORKERS}/notifications/mrkdwn.py",
                'return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")',
                "return text",
            ),
        ),
    ),
)
