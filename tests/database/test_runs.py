"""The start, the polls, the handover and the end of a run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.database.agency import NOW, Agency
from tests.database.runs import Run, at, call, later, outcome_of


class TestLease:
    def test_one_drainer_at_a_time(self, agency: Agency) -> None:
        run, other = Run(agency), Run(agency)
        assert run.start()["acquired"]
        assert run.start()["acquired"], "the same run continues"
        assert other.start(later(seconds=29)) == {"acquired": False, "lingers": False}
        assert other.start(later(seconds=30))["acquired"]

    def test_a_finished_run_releases_the_lease_at_once(self, agency: Agency, run: Run) -> None:
        run.finish(handover={"tokens": 7})
        started = Run(agency).start(later(seconds=5))
        assert (started["handover"], started["handover_age"]) == ({"tokens": 7}, 5)

    def test_an_expired_lease_keeps_its_last_handover(self, agency: Agency, run: Run) -> None:
        run.record(later(seconds=10), handover={"tokens": 3})
        run.record(later(seconds=20))
        started = Run(agency).start(later(seconds=50))
        assert (started["handover"], started["handover_age"]) == ({"tokens": 3}, 30)

    def test_a_successor_asks_a_lingering_one(self, agency: Agency) -> None:
        run, successor = Run(agency), Run(agency)
        run.start(lingers=True)
        assert run.poll(later(seconds=1)) == {"held": True, "wanted": False, "due": False}
        assert successor.start(later(seconds=2)) == {"acquired": False, "lingers": True}
        assert run.poll(later(seconds=2))["wanted"] is True
        assert run.record(later(seconds=2))["wanted"] is True
        run.finish(later(seconds=2))
        assert successor.start(later(seconds=2.5))["acquired"]
        assert successor.poll(later(seconds=3))["wanted"] is False, (
            "the request was to the other run"
        )
        assert run.poll(later(seconds=3))["held"] is False

    def test_an_old_request_for_the_lease_is_forgotten(self, agency: Agency) -> None:
        run = Run(agency)
        run.start(lingers=True)
        Run(agency).start(later(seconds=1))
        assert run.poll(later(seconds=5.9))["wanted"] is True
        assert run.poll(later(seconds=6))["wanted"] is False

    def test_polls_renew_it(self, agency: Agency, run: Run) -> None:
        for seconds in range(0, 120, 20):
            assert run.poll(later(seconds=seconds))["held"]
        assert not Run(agency).start(later(seconds=120))["acquired"]


class TestLooks:
    def test_it_sees_what_a_claim_would_take(self, agency: Agency, run: Run) -> None:
        assert run.poll()["due"] is False
        agency.notification(agency.config("C1"), next_attempt_at=later(seconds=5))
        assert run.poll(later(seconds=4))["due"] is False
        assert run.poll(later(seconds=5))["due"] is True
        (row,) = run.take(later(seconds=5))
        assert run.poll(later(seconds=5))["due"] is False, "in flight"
        run.record(later(seconds=6), outcomes=[outcome_of(row, "retry", attempts=1, retry_in=30)])
        assert run.poll(later(seconds=35))["due"] is False
        assert run.poll(later(seconds=36))["due"] is True

    @pytest.mark.parametrize("why", ["parked", "held", "apart", "leased"])
    def test_it_does_not_see_what_a_claim_would_leave(
        self, agency: Agency, run: Run, why: str
    ) -> None:
        channel = None if why == "apart" else "C1"
        id_ = agency.notification(
            agency.config(channel), entity_type="task", next_attempt_at=at(minutes=1)
        )
        if why == "leased":
            agency.connection.execute(
                "update notification_queue set claimed_until = %s", (later(minutes=1),)
            )
        else:
            run.start()
        if why == "parked":
            run.record(parks=[{"destination": "C1", "code": "x", "reason": "x"}])
        if why == "held":
            agency.connection.execute(
                "insert into slack_destinations (destination, not_before) values ('C1', %s)",
                (later(minutes=1),),
            )
        assert run.poll()["due"] is False
        assert run.take() == []
        assert agency.queued(id_)["outcome"] is None


class TestEndings:
    def test_last_months_rows_expire(self, agency: Agency, run: Run) -> None:
        config = agency.config("C1")
        old = agency.notification(config, next_attempt_at=at(days=31))
        edge = agency.notification(config, next_attempt_at=at(hours=24))
        young = agency.notification(config, next_attempt_at=at(hours=23.9))
        unborn = agency.notification(config, next_attempt_at=None, created_at=at(days=31))
        started = run.start()
        assert (started["expired"], started["skipped"], started["dead"]) == (3, 0, 0)
        outcomes = [agency.queued(id_)["outcome"] for id_ in (old, edge, young, unborn)]
        assert outcomes == ["expired", "expired", None, "expired"]
        assert agency.queued(old)["processed_at"] == NOW
        assert "24:00:00" in agency.queued(old)["last_error"]

    def test_what_is_in_doubt_stays_so(self, agency: Agency, run: Run) -> None:
        agency.notification(agency.config("C1"), next_attempt_at=NOW)
        run.announce(*run.take())
        heir = Run(agency)
        assert heir.start(later(hours=24))["expired"] == 1
        (delivery,) = agency.deliveries()
        assert (delivery["state"], delivery["in_doubt"]) == ("expired", True)

    def test_what_a_run_has_in_flight_is_not_ended_under_it(self, agency: Agency, run: Run) -> None:
        off, old = agency.config("C1"), agency.config("C2")
        for config in (off, old):
            agency.notification(config, next_attempt_at=at(hours=23))
        assert len(run.take()) == 2
        agency.connection.execute(
            "update notification_config set is_active = false where id = %s", (off,)
        )
        started = run.start(later(hours=2))
        assert (started["expired"], started["skipped"]) == (0, 0)

    def test_a_long_backlog_ends_piece_by_piece(self, agency: Agency, run: Run) -> None:
        agency.connection.execute(
            "insert into notification_queue (config_id, entity_id, entity_type, next_attempt_at) "
            "select %s, gen_random_uuid(), 'request', %s from generate_series(1, 45)",
            (agency.config("C1"), NOW),
        )
        run.start()
        run.finish()
        heir = Run(agency)
        counts = [heir.start(later(days=2), row_limit=20) for _ in range(4)]
        assert [started["expired"] for started in counts] == [20, 20, 5, 0]
        assert [started["more"] for started in counts] == [True, True, False, False]

    def test_the_oldest_due_is_one_that_nothing_holds_up(self, agency: Agency, run: Run) -> None:
        assert run.finish() == {"oldest_due": None, "parked": 0}
        run.start()
        agency.notification(agency.config("C1"), next_attempt_at=at(minutes=9))
        agency.notification(agency.config(), entity_type="task", next_attempt_at=at(minutes=8))
        agency.notification(agency.config("C2"), next_attempt_at=at(minutes=7))
        run.start()
        run.record(parks=[{"destination": "C1", "code": "x", "reason": "x"}])
        assert run.finish() == {"oldest_due": 7 * 60, "parked": 1}
        agency.notification(agency.config("C3"), next_attempt_at=at(minutes=20))
        assert call(agency.connection, "oldest_due_notification", as_of=NOW) == 20 * 60


AGAIN = {"is_processed": "is_processed = false", "attempts": "attempts = 0"}


class TestByHand:
    """Dashboards ask for another attempt by resetting attempts or is_processed."""

    def again(self, agency: Agency, id_: str, by: str) -> None:
        agency.connection.execute(
            f"update notification_queue set {AGAIN[by]} where id = %s",  # noqa: S608
            (id_,),
        )

    @pytest.mark.parametrize(
        ("ended", "by"),
        [
            ("sent", "is_processed"),
            ("expired", "is_processed"),
            ("skipped", "is_processed"),
            ("dead", "attempts"),
        ],
    )
    def test_what_ended_is_posted_again(
        self, agency: Agency, run: Run, ended: str, by: str
    ) -> None:
        id_ = agency.notification(agency.config("C1"), next_attempt_at=at(hours=23))
        if ended == "expired":
            run.start()
            run.start(later(hours=2))
        elif ended == "skipped":
            call(agency.connection, "skip_notifications", notification_ids=[id_], as_of=NOW)
        else:
            (row,) = run.take()
            run.announce(row)
            run.record(outcomes=[outcome_of(row, ended, error="x")])
        assert agency.queued(id_)["outcome"] == ended
        days_later = later(days=9)
        self.again(agency, id_, by)
        (row,) = run.take(days_later)
        assert (row["notification_id"], row["attempts"], row["waited"]) == (id_, 0, 0)
        run.announce(row, as_of=days_later)
        run.record(days_later, outcomes=[outcome_of(row, "sent")])
        assert agency.queued(id_)["outcome"] == "sent"
        assert len(agency.deliveries(id_)) == 1

    def test_only_what_was_not_sent_is_posted_again(self, agency: Agency, run: Run) -> None:
        agency.channel("C1")
        agency.channel("C2")
        id_ = agency.notification(agency.config(), entity_type="task", next_attempt_at=NOW)
        first, second = run.take()
        run.record(outcomes=[outcome_of(first, "sent"), outcome_of(second, "dead")])
        self.again(agency, id_, "attempts")
        (row,) = run.take()
        assert row["destination"] == second["destination"]

    @pytest.mark.parametrize("waits", ["in its channel", "apart", "in flight"])
    def test_rows_marked_done_and_undone(self, agency: Agency, run: Run, waits: str) -> None:
        config = agency.config(None if waits == "apart" else "C1")
        id_ = agency.notification(config, entity_type="task", next_attempt_at=NOW)
        run.start()
        (row, *_) = run.take() if waits == "in flight" else [None]
        agency.connection.execute("update notification_queue set is_processed = true")
        if row:
            assert run.announce(row)["started"] == []
        run.finish(later(minutes=1))
        heir = Run(agency)
        heir.start(later(minutes=1))
        assert heir.take(later(minutes=1)) == []
        assert agency.unrouted() == []
        self.again(agency, id_, "is_processed")
        agency.connection.execute("update notification_config set channel_id = 'C1'")
        (row,) = heir.take(later(minutes=2))
        assert row["notification_id"] == id_

    def test_what_an_earlier_worker_ended(self, agency: Agency, run: Run) -> None:
        """Its rows have no deliveries and outcomes."""
        config = agency.config("C1")
        values = {"next_attempt_at": at(days=9), "created_at": at(days=9)}
        sent = agency.notification(config, is_processed=True, processed_at=at(days=9), **values)
        dead = agency.notification(config, attempts=5, last_error="odd", **values)
        assert run.take() == []
        self.again(agency, sent, "is_processed")
        self.again(agency, dead, "attempts")
        assert {row["notification_id"] for row in run.take()} == {sent, dead}


def test_what_is_new_waits_for_its_turn_as_before(agency: Agency, run: Run) -> None:
    """A row that never ended keeps its place, whatever its columns contain."""
    old: dict[str, Any] = {"next_attempt_at": at(hours=3), "attempts": 2, "last_error": "odd"}
    first = agency.notification(agency.config("C1"), **old)
    second = agency.notification(agency.config("C1"), next_attempt_at=at(hours=2))
    rows = run.take()
    assert [row["notification_id"] for row in rows] == [first, second]
    assert rows[0]["attempts"] == 2
