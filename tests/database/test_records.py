"""What a run records about its deliveries, and what happens to their notifications."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.database.agency import NOW, Agency
from tests.database.runs import Run, at, later, named, outcome_of, starting


@pytest.fixture
def row(agency: Agency, run: Run) -> dict[str, Any]:
    agency.notification(agency.config("C1"), next_attempt_at=at(minutes=2))
    (delivery,) = run.take()
    return delivery


def queued(agency: Agency, row: dict[str, Any]) -> dict[str, Any]:
    return agency.queued(row["notification_id"])


class TestOutcomes:
    def test_sent(self, agency: Agency, run: Run, row: dict[str, Any]) -> None:
        answer = run.announce(row)
        assert (answer["held"], answer["started"]) == (True, [row["id"]])
        (sending,) = agency.deliveries()
        assert (sending["state"], sending["in_doubt"]) == ("sending", True)
        run.record(outcomes=[outcome_of(row, "sent", request_id="r1")])
        notification = queued(agency, row)
        assert (notification["is_processed"], notification["processed_at"]) == (True, NOW)
        assert (notification["outcome"], notification["attempts"]) == ("sent", 0)
        (sent,) = agency.deliveries()
        assert (sent["state"], sent["in_doubt"], sent["claim_token"]) == ("sent", False, None)
        assert (sent["message_ts"], sent["request_id"]) == ("1.1", "r1")

    def test_retried_then_dead_at_the_maximum(
        self, agency: Agency, run: Run, row: dict[str, Any]
    ) -> None:
        now = NOW
        for attempts in range(1, 6):
            retry = outcome_of(
                row, "retry", attempts=attempts, retry_in=30, error="odd", error_code="x"
            )
            run.record(now, outcomes=[retry])
            notification = queued(agency, row)
            assert (notification["attempts"], notification["is_processed"]) == (attempts, False)
            assert notification["last_error"] == "odd"
            now += timedelta(seconds=30)
            if attempts < 5:
                assert notification["next_attempt_at"] == now
                assert run.take(now - timedelta(seconds=1)) == []
                (row,) = run.take(now)
                assert row["waited"] == 120 + 30 * attempts, "it ages from its first due time"
        assert (notification["outcome"], agency.deliveries()[0]["state"]) == ("dead", "dead")
        assert run.take(now) == []

    def test_waiting_uses_no_attempt_and_holds_the_destination(
        self, agency: Agency, run: Run, row: dict[str, Any]
    ) -> None:
        run.record(outcomes=[outcome_of(row, "wait", retry_in=0, hold_in=60)])
        assert queued(agency, row)["attempts"] == 0
        assert run.take(later(seconds=59)) == []
        (again,) = run.take(later(seconds=60))
        assert (again["state"], again["in_doubt"]) == ("pending", False)

    def test_what_is_released_is_as_before(
        self, agency: Agency, run: Run, row: dict[str, Any]
    ) -> None:
        before = agency.deliveries()
        run.record(released=[named(row)])
        (after,) = agency.deliveries()
        assert after == {**before[0], "claimed_by": None, "claim_token": None}
        (again,) = run.take()
        assert again["id"] == row["id"]

    def test_the_same_run_by_an_older_claim_changes_nothing(
        self, run: Run, row: dict[str, Any]
    ) -> None:
        run.record(released=[named(row)])
        (again,) = run.take()
        answer = run.record(
            outcomes=[outcome_of(row, "dead")], starting=starting(row), released=[named(row)]
        )
        assert (answer["held"], answer["stale"], answer["started"]) == (True, 1, [])
        assert run.announce(again)["started"] == [again["id"]]

    @pytest.mark.parametrize("in_doubt", [False, True])
    def test_what_was_announced_but_not_posted_is_not_in_doubt(
        self, agency: Agency, run: Run, row: dict[str, Any], in_doubt: bool
    ) -> None:
        run.announce(row)
        run.record(outcomes=[outcome_of(row, "unstarted", in_doubt=in_doubt)])
        (again,) = run.take()
        assert again["state"] == ("unknown" if in_doubt else "pending")
        assert again["in_doubt"] is in_doubt

    def test_a_search_continues_where_it_was_interrupted(
        self, agency: Agency, run: Run, row: dict[str, Any]
    ) -> None:
        run.announce(row)
        run.record(outcomes=[outcome_of(row, "unknown", retry_in=60)])
        (first,) = run.take(later(seconds=60))
        assert (first["looked_for"], first["looked_down_to"]) == (None, None)
        looking: dict[str, Any] = {"looking": True, "retry_in": 30}
        run.record(
            later(seconds=60),
            outcomes=[outcome_of(first, "unknown", looked_down_to="9.9", **looking)],
        )
        (second,) = run.take(later(seconds=90))
        assert (second["looked_for"], second["looked_down_to"]) == (30, "9.9")
        run.record(later(seconds=90), outcomes=[outcome_of(second, "unknown", **looking)])
        (third,) = run.take(later(seconds=120))
        assert (third["looked_for"], third["looked_down_to"]) == (60, None)

    def test_recording_again_changes_nothing(
        self, agency: Agency, run: Run, row: dict[str, Any]
    ) -> None:
        agency.notification(agency.config("C2"), next_attempt_at=NOW)
        (other,) = run.take()
        retry = outcome_of(row, "retry", attempts=1, retry_in=30, error="odd")
        call: dict[str, Any] = {"outcomes": [retry], "starting": starting(other)}
        run.record(**call)
        before = (queued(agency, row), agency.deliveries())
        answer = run.record(**call)
        assert (queued(agency, row), agency.deliveries()) == before
        assert (answer["stale"], answer["started"]) == (1, [other["id"]])

    def test_a_direct_message_is_opened_once_and_the_pace_is_known(
        self, agency: Agency, run: Run
    ) -> None:
        config = agency.config(user_id=agency.user("U1"))
        for minutes in (2, 1):
            agency.notification(config, next_attempt_at=at(minutes=minutes))
        first, second = run.take()
        run.record(
            outcomes=[outcome_of(first, "sent", conversation_id="D1", posted_ago=0.5)],
            released=[named(second)],
        )
        (row,) = run.take(later(seconds=1))
        assert (row["conversation_id"], row["idle_for"], row["ready_in"]) == ("D1", 1.5, 0)

    def test_characters_that_json_lacks_do_not_lose_a_batch(
        self, agency: Agency, run: Run, row: dict[str, Any]
    ) -> None:
        run.record(outcomes=[outcome_of(row, "dead", error="\ufffd \U0001f600 '\"\\ {}")])
        assert queued(agency, row)["last_error"] == "\ufffd \U0001f600 '\"\\ {}"


class TestNotifications:
    @pytest.mark.parametrize(
        ("states", "outcome"),
        [
            (["sent", "sent"], "sent"),
            (["sent", "dead"], "dead"),
            (["sent", "expired"], "expired"),
            (["expired", "dead"], "dead"),
        ],
    )
    def test_dead_before_expired_before_sent(
        self, agency: Agency, run: Run, states: list[str], outcome: str
    ) -> None:
        for number in range(len(states)):
            agency.channel(f"C{number}")
        id_ = agency.notification(agency.config(), entity_type="task", next_attempt_at=at(hours=23))
        rows = sorted(run.take(), key=lambda row: str(row["destination"]))
        for row, state in zip(rows, states, strict=True):
            if state == "expired":
                run.record(released=[named(row)])
            else:
                run.record(outcomes=[outcome_of(row, state, error="too long")])
            ended = row is rows[-1] and state != "expired" and "expired" not in states
            assert (agency.queued(id_)["outcome"] is not None) is ended
        if "expired" in states:
            assert run.claim(later(hours=1))["ended"]["expired"] == 1
        notification = agency.queued(id_)
        assert notification["outcome"] == outcome
        assert notification["is_processed"] is (outcome != "dead")
        assert (notification["attempts"] == 5) is (outcome == "dead")
        assert [row["state"] for row in agency.deliveries(id_)] == states

    def test_it_shows_what_still_waits(self, agency: Agency, run: Run) -> None:
        agency.channel("C1")
        agency.channel("C2")
        id_ = agency.notification(agency.config(), entity_type="task", next_attempt_at=NOW)
        first, second = run.take()
        run.record(
            outcomes=[
                outcome_of(first, "dead", attempts=5, error="too long"),
                outcome_of(second, "retry", attempts=1, retry_in=30, error="odd"),
            ]
        )
        row = agency.queued(id_)
        assert (row["outcome"], row["attempts"], row["is_processed"]) == (None, 4, False)
        assert row["next_attempt_at"] == later(seconds=30)


class TestLease:
    def test_a_record_renews_the_lease_and_shows_that_it_is_wanted(
        self, agency: Agency, run: Run
    ) -> None:
        answer = run.record(later(seconds=20))
        assert (answer["held"], answer["wanted"]) == (True, False)
        assert Run(agency).start(later(seconds=49)) == {"acquired": False, "lingers": False}
        assert run.record(later(seconds=49))["wanted"] is True

    def test_a_run_without_the_lease_starts_nothing_and_settles_its_own(
        self, agency: Agency, run: Run, row: dict[str, Any]
    ) -> None:
        run.announce(row)
        agency.notification(agency.config("C2"), next_attempt_at=NOW)
        (other,) = run.take()
        agency.connection.execute("update worker_leases set holder = gen_random_uuid()")
        answer = run.record(starting=starting(other), outcomes=[outcome_of(row, "sent")])
        assert (answer["held"], answer["started"], answer["stale"]) == (False, [], 0)
        assert queued(agency, row)["outcome"] == "sent", "it was posted"

    def test_a_record_after_the_end_does_not_revive_the_lease(
        self, agency: Agency, run: Run, row: dict[str, Any]
    ) -> None:
        run.finish()
        assert run.record(later(seconds=1), outcomes=[outcome_of(row, "sent")])["held"] is False
        assert run.claim(later(seconds=1))["held"] is False
        assert run.poll(later(seconds=1))["held"] is False
        assert Run(agency).start(later(seconds=1))["acquired"]


class TestLocked:
    """Rows that someone has locked in psql, in an open transaction."""

    @pytest.fixture
    def psql(self, db: psycopg.Connection[Any]) -> Any:
        with psycopg.connect(db.info.dsn, password=db.info.password) as other:
            yield other

    def rows(self, agency: Agency, run: Run) -> list[dict[str, Any]]:
        for number in range(3):
            agency.notification(agency.config(f"C{number}"), next_attempt_at=NOW)
        return run.take()

    @pytest.mark.parametrize("table", ["notification_queue", "notification_deliveries"])
    def test_a_record_postpones_only_locked_rows(
        self, agency: Agency, run: Run, psql: Any, table: str
    ) -> None:
        held, ended, begun = self.rows(agency, run)
        column = "notification_id" if table == "notification_deliveries" else "id"
        psql.execute(
            f"select from {table} where {column} = %s for update",
            (held["notification_id"],),
        )
        call: dict[str, Any] = {
            "outcomes": [outcome_of(held, "sent"), outcome_of(ended, "sent")],
            "starting": starting(begun),
        }
        answer = run.record(**call)
        assert (answer["postponed"], answer["stale"]) == ([held["id"]], 0)
        assert answer["started"] == [begun["id"]]
        assert queued(agency, ended)["outcome"] == "sent"
        psql.rollback()
        assert run.record(outcomes=[outcome_of(held, "sent")])["postponed"] == []
        assert queued(agency, held)["outcome"] == "sent"

    def test_a_claim_and_a_start_skip_locked_rows(
        self, agency: Agency, run: Run, psql: Any
    ) -> None:
        ids = [agency.notification(agency.config(f"C{n}"), next_attempt_at=NOW) for n in range(2)]
        new = agency.notification(agency.config("C9"), next_attempt_at=NOW)
        run.start(row_limit=2)
        psql.execute(
            "select from notification_queue where id = any (%s) for update", ([ids[0], new],)
        )
        assert [row["notification_id"] for row in run.take()] == [ids[1]]
        assert Run(agency).start(later(hours=30))["expired"] == 1
        psql.rollback()
        assert Run(agency).start(later(hours=31))["expired"] == 2

    def test_a_takeover_leaves_locked_rows_to_the_next(
        self, agency: Agency, run: Run, psql: Any
    ) -> None:
        held, free, _ = self.rows(agency, run)
        psql.execute("select from notification_deliveries where id = %s for update", (held["id"],))
        heir = Run(agency)
        heir.start(later(seconds=30))
        assert held["id"] not in {row["id"] for row in heir.take(later(seconds=30))}
        assert free["id"] in {str(row["id"]) for row in agency.deliveries() if row["claim_token"]}
        psql.rollback()
        heir.start(later(seconds=31))
        assert [row["id"] for row in heir.take(later(seconds=31))] == [held["id"]]


class TestThreads:
    REQUEST = "5b8e7a0e-6f0c-4d7e-9a55-0c5a3c7a0001"

    def sent(self, agency: Agency, run: Run, ts: str, parent_ts: str | None = None) -> Any:
        """Post one about the request to that channel; returns its delivery."""
        queued = agency.notification(
            agency.config("C1"), entity_id=self.REQUEST, next_attempt_at=NOW
        )
        (taken,) = run.take(threads=True)
        run.record(starting=[named(taken, post_id=taken["id"], parent_ts=parent_ts)])
        assert agency.deliveries(queued)[0]["parent_ts"] == parent_ts
        more = {"message_ts": ts, "parent_ts": parent_ts, "thread": self.REQUEST}
        run.record(outcomes=[outcome_of(taken, "sent", **more)])
        return agency.deliveries(queued)[0]

    def thread(self, agency: Agency) -> Any:
        (row,) = agency.connection.execute("select * from slack_threads").fetchall()
        return row["destination"], str(row["request_id"]), row["parent_ts"]

    def test_the_first_message_begins_a_thread_and_refers_to_itself(
        self, agency: Agency, run: Run
    ) -> None:
        assert self.sent(agency, run, "5.000001")["parent_ts"] == "5.000001"
        assert self.thread(agency) == ("C1", self.REQUEST, "5.000001")
        assert self.sent(agency, run, "6.000001", "5.000001")["parent_ts"] == "5.000001"
        assert self.thread(agency) == ("C1", self.REQUEST, "5.000001")

    def test_a_later_message_in_the_channel_begins_it_again(self, agency: Agency, run: Run) -> None:
        self.sent(agency, run, "5.000001")
        self.sent(agency, run, "6.000001")
        assert self.thread(agency) == ("C1", self.REQUEST, "6.000001")

    def test_a_message_found_late_does_not_begin_it_again(self, agency: Agency, run: Run) -> None:
        self.sent(agency, run, "5.000001")
        self.sent(agency, run, "4.000001")
        assert self.thread(agency) == ("C1", self.REQUEST, "5.000001")

    def test_outside_of_threads_the_log_names_no_thread(self, agency: Agency, run: Run) -> None:
        queued = agency.notification(agency.config("C1"), next_attempt_at=NOW)
        (taken,) = run.take()
        run.record(starting=starting(taken))
        run.record(outcomes=[outcome_of(taken, "sent")])
        assert agency.deliveries(queued)[0]["parent_ts"] is None
        assert agency.connection.execute("select * from slack_threads").fetchall() == []
