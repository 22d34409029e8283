"""Claims: which deliveries, in which order, and to whom they belong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.database.agency import NOW, Agency
from tests.database.runs import Run, at, call, later, outcome_of


def queue(agency: Agency, config: str, count: int, since: Any) -> None:
    agency.connection.execute(
        "insert into notification_queue (config_id, entity_id, entity_type, next_attempt_at) "
        "select %s, gen_random_uuid(), 'request', %s::timestamptz + n * interval '1 ms' "
        "from generate_series(1, %s) n",
        (config, since, count),
    )


class TestFairness:
    def test_many_configs_of_one_channel_leave_room_for_a_quiet_one(
        self, agency: Agency, run: Run
    ) -> None:
        for _ in range(40):
            queue(agency, agency.config("CNOISY"), 10, at(hours=1))
        new = agency.notification(agency.config("CQUIET"), next_attempt_at=NOW)
        taken = run.take(batch_size=50)
        assert new in {delivery["notification_id"] for delivery in taken}
        assert len(taken) == 50

    def test_each_destination_gives_its_oldest_before_any_gives_a_second(
        self, agency: Agency, run: Run
    ) -> None:
        for channel in ("C1", "C2", "C3"):
            queue(agency, agency.config(channel), 9, at(hours=1))
        assert [row["destination"] for row in run.take(batch_size=6)] == ["C1", "C2", "C3"] * 2

    def test_a_few_destinations_can_fill_a_batch(self, agency: Agency, run: Run) -> None:
        queue(agency, agency.config("C1"), 200, at(hours=1))
        for number in range(60):
            queue(agency, agency.config(f"C9{number}"), 1, at(hours=1))
        assert len(run.take(batch_size=200)) == 200

    def test_busy_held_and_parked_destinations_are_left_out(self, agency: Agency, run: Run) -> None:
        for channel in ("CBUSY", "CHELD", "CPARKED", "CFREE"):
            queue(agency, agency.config(channel), 2, at(hours=1))
        agency.connection.execute(
            "insert into slack_destinations (destination, not_before) values ('CHELD', %s)",
            (later(seconds=1),),
        )
        run.record(parks=[{"destination": "CPARKED", "code": "is_archived", "reason": "x"}])
        free = run.take(busy=["CBUSY"])
        assert {row["destination"] for row in free} == {"CFREE"}
        tried = run.take(busy=["CBUSY"], trials=["CPARKED"])
        assert [row["destination"] for row in tried] == ["CPARKED"], "one delivery is tried"
        held = run.take(later(seconds=1))
        assert {row["destination"] for row in held} == {"CHELD", "CBUSY"}


class TestOrder:
    def test_by_first_due_across_configs_then_by_created_at_then_by_id(
        self, agency: Agency, run: Run
    ) -> None:
        one, other = agency.config("C1"), agency.config("C1")
        third = agency.notification(one, next_attempt_at=at(minutes=1), created_at=at(minutes=1))
        tied = [
            agency.notification(config, next_attempt_at=at(minutes=5), created_at=at(minutes=5))
            for config in (one, other, one)
        ]
        first = agency.notification(other, next_attempt_at=at(minutes=5), created_at=at(minutes=9))
        never = agency.notification(one, next_attempt_at=at(minutes=5), created_at=None)
        assert [row["notification_id"] for row in run.take()] == [
            first, *sorted(tied), never, third,
        ]  # fmt: skip

    def test_a_released_delivery_keeps_its_place(self, agency: Agency, run: Run) -> None:
        config = agency.config("C1")
        first = agency.notification(config, next_attempt_at=at(minutes=2))
        second = agency.notification(config, next_attempt_at=at(minutes=1))
        older, _ = run.take()
        run.finish()
        heir = Run(agency)
        heir.start()
        agency.notification(config, next_attempt_at=at(minutes=3))
        assert [row["notification_id"] for row in heir.take()][1:] == [first, second]
        assert older["notification_id"] == first

    def test_nulls_mean_due_now_and_five_attempts(self, agency: Agency, run: Run) -> None:
        agency.notification(
            agency.config("C1"),
            next_attempt_at=None, attempts=None, max_attempts=None, is_processed=None,
            created_at=None,
        )  # fmt: skip
        (row,) = run.take()
        assert (row["attempts"], row["max_attempts"], row["waited"]) == (0, 5, 0)

    @pytest.mark.parametrize(
        "values",
        [
            {"is_processed": True},
            {"attempts": 5},
            {"attempts": 3, "max_attempts": 3},
            {"next_attempt_at": NOW + timedelta(seconds=1)},
        ],
    )
    def test_what_is_done_dead_or_not_due_is_not_claimed(
        self, agency: Agency, run: Run, values: dict[str, Any]
    ) -> None:
        agency.notification(agency.config("C1"), **{"next_attempt_at": NOW, **values})
        assert run.take() == []


class TestWhose:
    def test_nothing_is_claimed_without_the_drainers_lease(self, agency: Agency, run: Run) -> None:
        agency.notification(agency.config("C1"), next_attempt_at=NOW)
        nothing = {"held": False, "more": False, "ended": {}, "deliveries": []}
        assert Run(agency).claim() == nothing, "it never had it"
        assert Run(agency).start(later(seconds=30))["acquired"]
        assert run.claim(later(seconds=30)) == nothing, "it was taken over"
        assert agency.deliveries()[0]["claim_token"] is None

    def test_an_expired_lease_that_no_one_took_is_still_valid(
        self, agency: Agency, run: Run
    ) -> None:
        agency.notification(agency.config("C1"), next_attempt_at=NOW)
        assert len(run.take(later(minutes=5))) == 1

    def test_what_a_dead_run_did_not_announce_is_free_at_once(
        self, agency: Agency, run: Run
    ) -> None:
        for channel in ("C1", "C2"):
            agency.notification(agency.config(channel), next_attempt_at=NOW)
        first, second = run.take()
        run.announce(second)
        heir = Run(agency)
        heir.start(later(seconds=30))
        (taken,) = heir.take(later(seconds=30))
        assert (taken["id"], taken["lost_claims"]) == (first["id"], 0)
        assert taken["token"] != first["token"]

        assert heir.take(later(seconds=59)) == []
        (doubtful,) = heir.take(later(seconds=60))
        assert (doubtful["id"], doubtful["state"]) == (second["id"], "unknown")
        assert (doubtful["error_code"], doubtful["lost_claims"]) == ("worker_lost", 1)
        assert doubtful["post_id"] == second["id"]
        assert doubtful["first_attempt"] == NOW.timestamp()

    def test_a_channel_with_something_in_doubt_waits_in_order(
        self, agency: Agency, run: Run
    ) -> None:
        config = agency.config("C1")
        ids = [agency.notification(config, next_attempt_at=at(minutes=9 - n)) for n in range(3)]
        run.announce(run.take()[0])
        heir = Run(agency)
        heir.start(later(seconds=30))
        assert heir.take(later(seconds=30)) == [], "nothing overtakes what is in doubt"
        assert [row["notification_id"] for row in heir.take(later(seconds=60))] == ids

    def test_a_stale_token_changes_nothing(self, agency: Agency, run: Run) -> None:
        agency.notification(agency.config("C1"), next_attempt_at=NOW)
        (old,) = run.take()
        heir = Run(agency)
        heir.start(later(seconds=30))
        (new,) = heir.take(later(seconds=30))
        answer = run.record(
            later(seconds=31),
            outcomes=[outcome_of(old, "sent")],
            released=[{**old}],
            starting=[{**old}],
        )
        assert (answer["held"], answer["stale"], answer["started"]) == (False, 1, [])
        (delivery,) = agency.deliveries()
        assert (delivery["state"], str(delivery["claim_token"])) == ("pending", new["token"])

    def test_a_delivery_that_crashes_runs_is_handled_alone_then_dead(self, agency: Agency) -> None:
        config = agency.config("C1")
        killer = agency.notification(config, next_attempt_at=at(minutes=2))
        now = NOW
        for life in range(5):
            run = Run(agency)
            begun = run.start(now)
            assert begun["suspects"] is (life >= 3)
            if life == 3:
                other = agency.notification(agency.config("C2"), next_attempt_at=now)
                (row,) = run.take(now)
                assert row["notification_id"] == other, "it affects no others"
            (suspect,) = run.take(now, alone=life >= 3)
            assert (suspect["notification_id"], suspect["lost_claims"]) == (killer, life)
            run.announce(suspect, as_of=now)
            now += timedelta(minutes=2)
        assert Run(agency).start(now)["dead"] == 1
        row = agency.queued(killer)
        assert (row["outcome"], row["attempts"], row["is_processed"]) == ("dead", 5, False)
        assert "crashed the worker" in row["last_error"]


class TestOldCall:
    def test_it_never_returns_what_a_run_announced(self, agency: Agency, run: Run) -> None:
        for channel in ("C1", "C2"):
            agency.notification(agency.config(channel), next_attempt_at=NOW)
        announced, claimed = run.take()
        run.announce(announced)
        given = old_call(agency)
        assert given == [claimed["notification_id"]], (
            "what is only claimed may still be claimed by it"
        )
        assert run.announce(claimed)["started"] == [], "and is then not announced"

    def test_a_run_waits_for_the_end_of_its_lease(self, agency: Agency, run: Run) -> None:
        id_ = agency.notification(agency.config("C1"), next_attempt_at=NOW)
        assert old_call(agency) == [id_]
        assert old_call(agency) == []
        assert run.take(later(seconds=169)) == []
        (row,) = run.take(later(seconds=170))
        assert row["notification_id"] == id_

    def test_what_it_took_from_a_run_returns_to_that_run(self, agency: Agency, run: Run) -> None:
        id_ = agency.notification(agency.config("C1"), next_attempt_at=NOW)
        (row,) = run.take()
        assert old_call(agency) == [id_]
        run.announce(row)
        assert run.take(later(seconds=100)) == []
        assert [one["notification_id"] for one in run.take(later(seconds=170))] == [id_]

    def test_what_its_caller_posted_ends(self, agency: Agency, run: Run) -> None:
        id_ = agency.notification(agency.config("C1"), next_attempt_at=NOW)
        (row,) = run.take()
        old_call(agency)
        agency.connection.execute("update notification_queue set is_processed = true")
        assert run.announce(row)["started"] == []
        assert run.take(later(minutes=5)) == []
        assert agency.deliveries(id_)[0]["state"] == "skipped"


def old_call(agency: Agency) -> list[str]:
    rows = agency.connection.execute(
        "select id from lock_and_get_notifications(batch_size => 50, as_of => %s)", (NOW,)
    )
    return [str(row["id"]) for row in rows]


class TestSize:
    def test_a_claim_is_bounded_in_bytes(self, agency: Agency, run: Run) -> None:
        config = agency.config("C1")
        for minute in range(9):
            agency.notification(config, {"n": "x" * 9_000}, next_attempt_at=at(minutes=minute))
        assert len(run.take(byte_limit=30_000)) == 4
        assert len(run.take(byte_limit=1)) == 1, "one is always claimed, whatever its size"
        assert len(run.take()) == 4, "the others follow with the next claims"

    def test_templates_count_towards_the_size(self, agency: Agency, run: Run) -> None:
        config = agency.config("C1", template="x" * 50_000)
        for minute in range(4):
            agency.notification(config, {}, next_attempt_at=at(minutes=minute))
        assert len(run.take(byte_limit=100_000)) == 2

    @pytest.mark.parametrize(
        "odd",
        ['{"n": 1e6000}', "[" * 5_000 + "]" * 5_000, '{"n": "\\ud83d\\ude00"}', "1.50", "null"],
    )
    def test_data_is_returned_as_text(self, agency: Agency, run: Run, odd: str) -> None:
        config = agency.config("C1")
        agency.connection.execute(
            "insert into notification_queue (config_id, entity_id, entity_type, event_data) "
            "values (%s, gen_random_uuid(), 'request', %s)",
            (config, odd),
        )
        agency.connection.execute("update notification_queue set next_attempt_at = %s", (NOW,))
        (row,) = run.take()
        same = agency.connection.execute(
            "select %s::jsonb = %s::jsonb as is_same", (odd, row["event_data"])
        )
        assert same.fetchone() == {"is_same": True}

    def test_an_overlong_value_is_cut_and_the_others_stay_whole(self, agency: Agency) -> None:
        data = {
            "title": "Spring launch", "body": "ä" * 300_000, "list": list(range(100_000)),
            "deep": {"body": "y" * 90_000, "deeper": {"body": "y" * 90_000, "n": 1}},
            **{f"k{number}": "z" * 900 for number in range(10)},
        }  # fmt: skip
        carried = call(agency.connection, "carried_value", carried=data)
        assert (carried["title"], carried["k9"]) == ("Spring launch", "z" * 900)
        assert carried["deep"]["deeper"]["n"] == 1
        for cut in (carried["body"], carried["deep"]["body"], carried["list"]):
            assert len(cut) > 3_000, "as much as a section of a message shows"
        assert len(str(carried).encode()) < 80_000
        assert call(agency.connection, "carried_value", carried={"a": 1}) == {"a": 1}

    def test_of_too_many_values_the_longest_are_left_out(self, agency: Agency) -> None:
        data = {
            "x" * 9_000: 1,
            "title": "Spring launch",
            **{f"k{n}": "z" * 9_000 for n in range(50)},
        }
        carried = call(agency.connection, "carried_value", carried=data)
        assert carried["title"] == "Spring launch"
        assert 3 < len(carried) < 10


class TestThreads:
    REQUEST = "5b8e7a0e-6f0c-4d7e-9a55-0c5a3c7a0001"

    @pytest.fixture(autouse=True)
    def known(self, agency: Agency) -> None:
        agency.connection.execute(
            "insert into slack_threads values ('C1', %s, '5.000001', %s)", (self.REQUEST, NOW)
        )

    def of(self, run: Run, **options: Any) -> tuple[str | None, str | None]:
        (taken,) = run.take(**options)
        return taken["thread"], taken["thread_ts"]

    def test_each_delivery_names_its_thread_if_threads_are_wanted(
        self, agency: Agency, run: Run
    ) -> None:
        config = agency.config("C1")
        about = {"request_id": self.REQUEST}
        agency.notification(config, about, entity_type="comment", next_attempt_at=NOW)
        assert self.of(run, threads=True) == (self.REQUEST, "5.000001")
        agency.notification(config, entity_id=self.REQUEST, next_attempt_at=NOW)
        assert self.of(run) == (None, None)

    def test_a_message_about_another_request_or_elsewhere_begins_its_own_thread(
        self, agency: Agency, run: Run
    ) -> None:
        other = agency.notification(agency.config("C1"), next_attempt_at=NOW)
        assert self.of(run, threads=True) == (str(agency.queued(other)["entity_id"]), None)
        agency.notification(agency.config("C2"), entity_id=self.REQUEST, next_attempt_at=NOW)
        assert self.of(run, threads=True) == (self.REQUEST, None)

    @pytest.mark.parametrize("destination", ["U1", "W1", "D1"])
    def test_a_direct_message_has_no_thread(
        self, agency: Agency, run: Run, destination: str
    ) -> None:
        config = agency.config(destination)
        agency.notification(config, entity_id=self.REQUEST, next_attempt_at=NOW)
        assert self.of(run, threads=True) == (None, None)

    def test_a_message_without_a_request_has_no_thread(self, agency: Agency, run: Run) -> None:
        agency.notification(agency.config("C1"), entity_type="client", next_attempt_at=NOW)
        assert self.of(run, threads=True) == (None, None)
