"""The safety mechanisms of the notifications worker."""

from __future__ import annotations

from tests.ablation.cuts import (
    CLAIMS,
    LEASES,
    MIGRATIONS,
    OUTCOMES,
    RECORDS,
    TAKEOVERS,
    WORKERS,
    Ablation,
    Cut,
)

CLAIM_TESTS = "tests/database/test_claims.py"
RECORD_TESTS = "tests/database/test_records.py"
RUN_TESTS = "tests/database/test_runs.py"
ROUTING_TESTS = "tests/database/test_routing.py"
DATA_API_TESTS = "tests/notifications/test_data_api_failures.py"
RECONCILIATION_TESTS = "tests/notifications/test_reconciliation.py"
THREAD_TESTS = "tests/notifications/test_threads.py"
HISTORY_TESTS = "tests/integration/test_slack_history.py"
DELIVERY_TESTS = "tests/notifications/test_deliveries.py"
PARKING_TESTS = "tests/notifications/test_parking.py"
LINGERING_TESTS = "tests/notifications/test_lingering.py"
NOTIFICATIONS = f"{WORKERS}/notifications"

ABLATIONS = (
    Ablation(
        "drainer-lease",
        "one drainer at a time",
        f"{RUN_TESTS}::TestLease::test_one_drainer_at_a_time",
        (Cut(LEASES, "where held.holder = excluded.holder or held.expires_at <= as_of"),),
    ),
    Ablation(
        "claim-lease",
        "nothing is claimed without the drainer's lease",
        f"{CLAIM_TESTS}::TestWhose::test_nothing_is_claimed_without_the_drainers_lease",
        (
            Cut(
                CLAIMS,
                "if not public.holds_worker_lease('notifications', run_id) then",
                "if false then",
            ),
        ),
    ),
    Ablation(
        "lease-returned",
        "a record that arrives after the end does not revive the lease",
        f"{RECORD_TESTS}::TestLease::test_a_record_after_the_end_does_not_revive_the_lease",
        (Cut(LEASES, "set holder = '00000000-0000-0000-0000-000000000000',\n         ", "set "),),
    ),
    Ablation(
        "lost-lease-announces",
        "a drainer without its lease announces nothing",
        f"{RECORD_TESTS}::TestLease::"
        "test_a_run_without_the_lease_starts_nothing_and_settles_its_own",
        (
            Cut(
                RECORDS,
                "if (renewed ->> 'held')::boolean and starting <> '[]' then",
                "if starting <> '[]' then",
            ),
        ),
    ),
    Ablation(
        "lost-lease-stops",
        "a drainer without its lease stops",
        f"{DELIVERY_TESTS}::test_a_run_that_loses_its_lease_stops",
        (
            Cut(
                f"{NOTIFICATIONS}/recorder.py",
                'if not answer.held:\n            self._report.end("lease_lost")\n        elif',
                "if",
            ),
            Cut(
                f"{NOTIFICATIONS}/claimer.py",
                'if not answer.held:\n            self._report.end("lease_lost")\n'
                "            return\n        self._report.count_ended",
                "self._report.count_ended",
            ),
        ),
        "noticed with the next record or the next claim",
    ),
    Ablation(
        "fenced-outcomes",
        "fencing token: outcomes of an older claim",
        f"{CLAIM_TESTS}::TestWhose::test_a_stale_token_changes_nothing",
        (Cut(OUTCOMES, "\n       and delivery.claim_token = result.token"),),
    ),
    Ablation(
        "fenced-announcements",
        "fencing token: an older claim announces",
        f"{RECORD_TESTS}::TestOutcomes::test_the_same_run_by_an_older_claim_changes_nothing",
        (
            Cut(
                RECORDS,
                "and delivery.claim_token = start.token\n         and delivery.state in",
                "and delivery.state in",
            ),
        ),
    ),
    Ablation(
        "earlier-workers-lease",
        "what the one-argument call holds is not announced",
        f"{CLAIM_TESTS}::TestOldCall::test_what_it_took_from_a_run_returns_to_that_run",
        (
            Cut(
                RECORDS,
                "and (queued.claimed_until is null or queued.claimed_until <= as_of)\n"
                "      returning delivery.id",
                "returning delivery.id",
            ),
        ),
    ),
    Ablation(
        "announcement",
        "recorded as sending before the post",
        f"{DATA_API_TESTS}::test_nothing_is_posted_without_its_announcement",
        (
            Cut(
                f"{NOTIFICATIONS}/poster.py",
                'if queue.ready_at(now) > now or queue.waiting[0].state != "announced":',
                "if queue.ready_at(now) > now:",
            ),
        ),
    ),
    Ablation(
        "announced-is-unknown",
        "what was announced when a run died is unknown",
        f"{DATA_API_TESTS}::test_the_data_api_is_down_from_the_post_until_after_the_lease",
        (
            Cut(
                TAKEOVERS,
                "when delivery.state = 'sending' then 'unknown' else",
                "when delivery.state = 'sending' then 'pending' else",
            ),
        ),
    ),
    Ablation(
        "doubt-holds-its-channel",
        "what was announced when a run died is settled before what comes after it",
        f"{CLAIM_TESTS}::TestWhose::test_a_channel_with_something_in_doubt_waits_in_order",
        (
            Cut(
                TAKEOVERS,
                "announced.last_attempt_at + interval '60 seconds'",
                "announced.last_attempt_at",
            ),
        ),
    ),
    Ablation(
        "alone",
        "a delivery that crashes runs is handled alone",
        f"{CLAIM_TESTS}::TestWhose::test_a_delivery_that_crashes_runs_is_handled_alone_then_dead",
        (
            Cut(
                f"{MIGRATIONS}/20261124000430_notification_turns.sql",
                "where next.lost_claims < 3",
                "where true",
            ),
        ),
    ),
    Ablation(
        "unrouted",
        "what has no route waits separately",
        f"{ROUTING_TESTS}::TestUnrouted::test_lookups_are_repeated_after_one_to_ten_minutes",
        (
            Cut(
                f"{MIGRATIONS}/20261124000420_notification_routing.sql",
                "lookup_at = as_of + least(power(2, least(waiting.lookups, 4)), 10) "
                "* interval '1 minute'",
                "lookup_at = as_of",
            ),
        ),
    ),
    Ablation(
        "park",
        "nothing more is posted to a refused destination",
        f"{PARKING_TESTS}::test_a_refusal_that_slack_does_not_show_is_probed_by_single_posts_at_growing_intervals[restricted_action]",
        (
            Cut(
                f"{NOTIFICATIONS}/poster.py",
                "self._recorder.park(queue.destination, error.code, str(error))",
                "pass",
            ),
        ),
    ),
    Ablation(
        "moved",
        "what may have been posted in the old channel is settled there first",
        f"{PARKING_TESTS}::test_moved_while_in_doubt_and_found_in_the_old_channel_is_not_repeated",
        (
            Cut(
                f"{NOTIFICATIONS}/in_flight.py",
                "search_first=delivery.is_unknown,",
                "search_first=delivery.is_unknown and not delivery.moved,",
            ),
        ),
    ),
    Ablation(
        "hand-over",
        "a run that lingers gives up its lease when another asks",
        f"{LINGERING_TESTS}::test_it_gives_up_the_lease_when_another_run_asks",
        (
            Cut(
                f"{NOTIFICATIONS}/claimer.py",
                "elif answer.wanted:",
                "elif False:",
            ),
        ),
    ),
    Ablation(
        "stop-of-a-run",
        "a run ends when its process is asked to end",
        f"{LINGERING_TESTS}::test_asked_to_end_at_any_call_it_releases_the_rest",
        (
            Cut(
                f"{NOTIFICATIONS}/drain.py",
                "return self._clock.now() < min(until, self._clock.stop_at)",
                "return self._clock.now() < until",
            ),
        ),
    ),
    Ablation(
        "search-patience",
        "a search ends at some point",
        "tests/unit/notifications/test_poster.py::TestLooking::test_a_search_ends_at_some_point",
        (
            Cut(
                f"{NOTIFICATIONS}/poster.py",
                "SEARCH_PATIENCE: Final = 900.0",
                "SEARCH_PATIENCE: Final = 1e9",
            ),
        ),
    ),
    Ablation(
        "reconciliation",
        "looked for before it is posted again",
        f"{RECONCILIATION_TESTS}::test_accepted_but_unconfirmed_is_found_and_not_posted_again[reset]",
        (
            Cut(
                f"{NOTIFICATIONS}/in_flight.py",
                "search_first=delivery.is_unknown",
                "search_first=False",
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
        "an incomplete history proves nothing",
        f"{HISTORY_TESTS}::test_where_reading_continues",
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
        f"{HISTORY_TESTS}::test_a_page_contains_only_our_own_posts",
        (Cut(f"{WORKERS}/notifications/slack.py", 'entry.get("bot_id") != bot_id or '),),
    ),
    Ablation(
        "duplicate-mark",
        "a possible duplicate is marked",
        f"{RECONCILIATION_TESTS}::test_if_the_bot_cannot_read_the_repeat_is_noted",
        (
            Cut(
                f"{WORKERS}/notifications/posting.py",
                "return mark_repeat(message) if post.possible_duplicate else message",
                "return message",
            ),
        ),
    ),
    Ablation(
        "doubt-kept",
        "what may have been posted stays in doubt while it waits",
        f"{RECONCILIATION_TESTS}"
        "::test_after_a_refused_repeat_it_is_searched_for_once_the_history_can_be_read",
        (
            Cut(
                OUTCOMES,
                "             when outcome.in_doubt then 'unknown'\n",
            ),
            Cut(
                OUTCOMES,
                "             else coalesce(outcome.in_doubt, false)\n",
                "             else false\n",
            ),
        ),
        remark="the state says so, and a flag; a claim reads either",
    ),
    Ablation(
        "deadline-stop",
        "nothing is started near the deadline",
        f"{DELIVERY_TESTS}::test_a_run_ends_before_its_deadline_and_releases_the_rest",
        (
            Cut(
                f"{WORKERS}/notifications/drain.py",
                "cutoff = deadline - self._slack.timeout - SETTLE_MARGIN",
                "cutoff = deadline",
            ),
        ),
    ),
    Ablation(
        "deadline-release",
        "rows are released before the deadline",
        f"{DELIVERY_TESTS}::test_a_run_ends_before_its_deadline_and_releases_the_rest",
        (
            Cut(
                f"{WORKERS}/notifications/poster.py",
                "self._recorder.release(self._in_flight.release_all())",
                "self._in_flight.release_all()",
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
                "if not self.rate or self.last_post == _NEVER:",
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
                f"{WORKERS}/notifications/in_flight.py",
                "pace.posted(now - delivery.idle_for)",
                "pass",
            ),
        ),
    ),
    Ablation(
        "workspace-pace",
        "pace of the workspace",
        f"{DELIVERY_TESTS}::test_the_workspace_has_its_own_pace",
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
        f"{DELIVERY_TESTS}::test_the_next_run_lacks_the_tokens_that_one_run_used",
        (
            Cut(
                f"{WORKERS}/notifications/throttle.py",
                "tokens + handover.age * rate",
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
        "everything pauses while Slack is failing",
        "tests/notifications/test_outages.py::"
        "test_unreachable_slack_trips_the_breaker_and_then_gets_one_probe",
        (
            Cut(
                f"{WORKERS}/notifications/throttle.py",
                "FAILURE_LIMIT: Final = 4",
                "FAILURE_LIMIT: Final = 1_000_000",
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
    Ablation(
        "thread-announced",
        "a reply is announced with its thread",
        f"{THREAD_TESTS}::TestLooking::test_in_the_thread[comment_added]",
        (Cut(RECORDS, "             parent_ts = start.parent_ts,\n"),),
    ),
    Ablation(
        "thread-looked-into",
        "a reply is looked for in its thread",
        f"{THREAD_TESTS}::TestLooking::test_in_the_thread[comment_added]",
        (
            Cut(
                f"{NOTIFICATIONS}/posting.py",
                "            _read_thread(slack, channel, parent_ts, oldest, end, found)\n",
            ),
        ),
    ),
    Ablation(
        "unthreaded-looked-for",
        "a reply whose parent was deleted is looked for in the channel too",
        f"{THREAD_TESTS}::TestLooking::test_in_the_channel_where_the_parent_was_deleted",
        (
            Cut(
                f"{NOTIFICATIONS}/posting.py",
                "if all(post.id in found for post in posts):",
                "if all(post.parent_ts or post.id in found for post in posts):",
            ),
        ),
    ),
    Ablation(
        "thread-announced-again",
        "what is announced for an outdated place is announced again",
        f"{THREAD_TESTS}::test_later_messages_go_into_the_thread_of_the_first",
        (
            Cut(
                f"{NOTIFICATIONS}/in_flight.py",
                "            if post.first.thread == thread and not post.search_first:\n"
                '                post.state = "new"\n',
                "            pass\n",
            ),
        ),
    ),
    Ablation(
        "thread-answer",
        "an outdated announcement starts nothing",
        "tests/unit/notifications/test_recorder.py::"
        "test_a_reply_is_announced_with_its_thread_and_again_if_that_begins_again",
        (
            Cut(
                f"{NOTIFICATIONS}/recorder.py",
                "if post.parent_ts == self._in_flight.queues[post.destination].parent_of(post):",
                "if True:",
            ),
        ),
    ),
    Ablation(
        "thread-newest",
        "what is found late does not reset a thread",
        f"{RECORD_TESTS}::TestThreads::test_a_message_found_late_does_not_begin_it_again",
        (
            Cut(
                OUTCOMES,
                'greatest(begun.parent_ts collate "C", excluded.parent_ts collate "C")',
                "excluded.parent_ts",
            ),
        ),
    ),
    Ablation(
        "thread-deleted",
        "nothing is posted in the thread of a deleted message",
        f"{THREAD_TESTS}::TestGoneParent::test_it_begins_again_while_the_old_replies_stay",
        (
            Cut(
                f"{NOTIFICATIONS}/posting.py",
                "return parent_ts if slack.takes_replies(channel, parent_ts) else None, 0.0",
                "return parent_ts, 0.0",
            ),
        ),
    ),
    Ablation(
        "only-people-are-mentioned",
        "a profile's slack_id mentions a person or no one",
        "tests/unit/notifications/test_plain_line.py::test_who_did_it_is_mentioned_or_named",
        (
            Cut(
                f"{WORKERS}/notifications/plain_line.py",
                "if person.slack_id and _PERSON.fullmatch(person.slack_id):",
                "if person.slack_id:",
            ),
        ),
    ),
)
