"""The steps of a notification run as SQL, at times that the test sets."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.database.agency import NOW, Agency

RUN = uuid.uuid4()


@pytest.fixture
def agency(db: psycopg.Connection[Any]) -> Agency:
    return Agency(db)


def at(**ago: float) -> datetime:
    return NOW - timedelta(**ago)


def claim(agency: Agency, size: int = 50, as_of: datetime = NOW, **options: Any) -> list[Any]:
    arguments = {"batch_size": size, "as_of": as_of, **options}
    call = ", ".join(f"{name} => %({name})s" for name in arguments)
    return agency.connection.execute(
        f"select * from lock_and_get_notifications({call})",  # noqa: S608
        arguments,
    ).fetchall()


def start(agency: Agency, as_of: datetime = NOW, run: uuid.UUID = RUN) -> dict[str, Any]:
    row = agency.connection.execute(
        "select start_notification_run(%s, as_of => %s) as begun", (run, as_of)
    ).fetchone()
    assert row is not None
    return dict(row["begun"])


def record(
    agency: Agency, as_of: datetime = NOW, run: uuid.UUID = RUN, **lists: Any
) -> dict[str, Any]:
    arguments = {"run_id": run, "as_of": as_of, **{k: Jsonb(v) for k, v in lists.items()}}
    call = ", ".join(f"{name} => %({name})s" for name in arguments)
    row = agency.connection.execute(
        f"select record_notification_progress({call}) as answer",
        arguments,
    ).fetchone()
    assert row is not None
    return dict(row["answer"])


def told(row: dict[str, Any], result: str, index: int = 0, **more: Any) -> dict[str, Any]:
    """An outcome for a claimed row's delivery."""
    delivery = row["deliveries"][index]
    if result == "sent":
        more = {"message_ts": "1.1", "conversation_id": delivery["destination"], **more}
    return {"id": delivery["id"], "token": str(row["claim_token"]), "result": result, **more}


def done(row: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": str(row["id"]), "token": str(row["claim_token"]), **more}


class TestClaim:
    def test_a_noisy_config_leaves_room_for_the_others(self, agency: Agency) -> None:
        noisy, quiet = agency.config("C1"), agency.config("C2")
        agency.connection.execute(
            "insert into notification_queue (config_id, entity_id, entity_type, next_attempt_at) "
            "select %s, gen_random_uuid(), 'request', %s from generate_series(1, 2000)",
            (noisy, at(hours=1)),
        )
        new = agency.notification(quiet, next_attempt_at=NOW)
        assert new in {str(row["id"]) for row in claim(agency)}

    def test_oldest_first_within_a_config(self, agency: Agency) -> None:
        config = agency.config("C1")
        ids = [
            agency.notification(config, next_attempt_at=at(minutes=minutes))
            for minutes in (1, 9, 5, 3)
        ]
        expected = [ids[1], ids[2], ids[3], ids[0]]
        assert [str(row["id"]) for row in claim(agency)] == expected

    def test_null_columns_mean_due_now_and_five_attempts(self, agency: Agency) -> None:
        agency.notification(
            agency.config("C1"),
            next_attempt_at=None, attempts=None, max_attempts=None, is_processed=None,
            created_at=None,
        )  # fmt: skip
        (row,) = claim(agency)
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
    def test_what_is_done_dead_or_not_due_stays(
        self, agency: Agency, values: dict[str, Any]
    ) -> None:
        agency.notification(agency.config("C1"), **{"next_attempt_at": NOW, **values})
        assert claim(agency) == []

    def test_a_leased_row_is_claimed_again_only_after_the_lease(self, agency: Agency) -> None:
        agency.notification(agency.config("C1"), next_attempt_at=NOW)
        (first,) = claim(agency)
        assert claim(agency, as_of=NOW + timedelta(seconds=169)) == []
        (second,) = claim(agency, as_of=NOW + timedelta(seconds=170))
        assert second["claim_token"] != first["claim_token"]
        assert second["lost_claims"] == 1

    def test_a_stale_token_changes_nothing(self, agency: Agency) -> None:
        start(agency)
        id_ = agency.notification(agency.config("C1"), next_attempt_at=NOW)
        (old,) = claim(agency)
        later = NOW + timedelta(seconds=171)
        (new,) = claim(agency, as_of=later)
        answer = record(
            agency, later, outcomes=[told(old, "sent")], finished=[done(old)],
            starting=[told(old, "x")],
        )  # fmt: skip
        assert (answer["stale"], answer["started"]) == (1, [])
        assert agency.queued(id_)["claim_token"] == new["claim_token"]
        assert agency.deliveries(id_)[0]["state"] == "pending"

    def test_a_stale_token_condemns_nothing(self, agency: Agency) -> None:
        start(agency)
        id_ = agency.notification(agency.config("C1"), next_attempt_at=NOW)
        (old,) = claim(agency)
        later = NOW + timedelta(seconds=171)
        claim(agency, as_of=later)
        record(agency, later, finished=[done(old, error="too long")])
        assert agency.queued(id_)["outcome"] is None
        assert agency.deliveries(id_)[0]["state"] == "pending"

    def test_a_row_that_takes_workers_down_is_claimed_alone_then_dead(self, agency: Agency) -> None:
        config = agency.config("C1")
        killer = agency.notification(config, next_attempt_at=at(minutes=2), lost_claims=2)
        agency.connection.execute(
            "update notification_queue set claim_token = gen_random_uuid(), claimed_until = %s",
            (at(seconds=1),),
        )
        other = agency.notification(config, next_attempt_at=at(minutes=1))
        assert [str(row["id"]) for row in claim(agency)] == [other]
        assert claim(agency, after_lost_claims=False) == []
        (alone,) = claim(agency)
        assert (str(alone["id"]), alone["lost_claims"]) == (killer, 3)

        (again,) = claim(agency, as_of=NOW + timedelta(minutes=3), after_lost_claims=True)[-1:]
        assert str(again["id"]) in (killer, other)
        for minutes in (6, 9, 12):
            claim(agency, size=1, as_of=NOW + timedelta(minutes=minutes))
            claim(agency, size=1, as_of=NOW + timedelta(minutes=minutes))
        row = agency.queued(killer)
        assert (row["outcome"], row["attempts"], row["is_processed"]) == ("dead", 5, False)
        assert "crashed the worker" in row["last_error"]

    def test_busy_configs_and_held_destinations_are_left_out(self, agency: Agency) -> None:
        busy, held, free = agency.config("C1"), agency.config("C2"), agency.config("C3")
        for config in (busy, held, free):
            agency.notification(config, next_attempt_at=NOW)
        agency.connection.execute(
            "insert into slack_destinations (destination, not_before) values ('C2', %s)",
            (NOW + timedelta(seconds=1),),
        )
        (row,) = claim(agency, busy_configs=[busy])
        assert str(row["config_id"]) == free


class TestRoutes:
    def destinations(self, agency: Agency) -> set[str]:
        return {d["destination"] for row in claim(agency) for d in row["deliveries"]}

    def test_the_configs_channel_first_then_its_user(self, agency: Agency) -> None:
        user = agency.user("U1")
        agency.channel("C9")
        agency.notification(agency.config("C1", user_id=user), next_attempt_at=NOW)
        agency.notification(agency.config(" ", user_id=user), next_attempt_at=NOW)
        assert self.destinations(agency) == {"C1", "U1"}

    def test_connected_channels_by_type_and_event(self, agency: Agency) -> None:
        agency.channel("C0ALL00")
        agency.channel("C0TYPE0", "creative")
        agency.channel("C0EVENT", "creative", ["status_change", "other"])
        agency.channel("C0NOEVT", "creative", ["other"])
        agency.channel("C0NONE0", "creative", [])
        agency.channel("C0OTHER", "project")
        request = agency.request("creative")
        agency.notification(agency.config(), {"request_id": request}, next_attempt_at=NOW)
        assert self.destinations(agency) == {"C0ALL00", "C0TYPE0", "C0EVENT"}

    @pytest.mark.parametrize("entity_type", ["request", "requests"])
    def test_the_entity_is_the_request_when_the_data_names_none(
        self, agency: Agency, entity_type: str
    ) -> None:
        agency.channel("C1", "creative")
        agency.notification(
            agency.config(),
            {"request_id": "no uuid"},
            entity_type=entity_type,
            entity_id=agency.request("creative"),
            next_attempt_at=NOW,
        )
        assert self.destinations(agency) == {"C1"}

    @pytest.mark.parametrize("data", [None, [], "text", 7, {"request_id": None}])
    def test_without_a_request_only_channels_of_every_type(self, agency: Agency, data: Any) -> None:
        agency.channel("C1", "creative")
        agency.channel("C2")
        agency.notification(agency.config(), data, entity_type="comment", next_attempt_at=NOW)
        assert self.destinations(agency) == {"C2"}

    def test_no_route_parks_the_config_until_there_is_one(self, agency: Agency) -> None:
        lost, fine = agency.config(), agency.config("C1")
        waiting = agency.notification(lost, next_attempt_at=NOW)
        sent = agency.notification(fine, next_attempt_at=NOW)
        assert [str(row["id"]) for row in claim(agency)] == [sent]
        (pause,) = agency.pauses()
        assert (str(pause["config_id"]), pause["code"]) == (lost, "no_route")
        assert "slack_connected_channels" in pause["reason"]
        assert agency.queued(waiting)["claim_token"] is None

        agency.channel("C2")
        start(agency)
        assert [str(row["id"]) for row in claim(agency)] == [waiting]

    def test_only_what_comes_after_the_one_without_a_route_waits_for_it(
        self, agency: Agency
    ) -> None:
        agency.channel("C1", "creative")
        config = agency.config()
        routed, lost = (agency.request(kind) for kind in ("creative", "media"))
        older, _, newer = (
            agency.notification(config, {"request_id": request}, next_attempt_at=at(minutes=ago))
            for request, ago in ((routed, 3), (lost, 2), (routed, 1))
        )
        start(agency)
        (row,) = claim(agency)
        assert str(row["id"]) == older
        record(agency, outcomes=[told(row, "sent")], finished=[done(row)])
        start(agency)
        assert claim(agency) == []
        assert [pause["ended_at"] for pause in agency.pauses()] == [None]
        assert agency.queued(newer)["claim_token"] is None

    def test_an_untried_delivery_follows_a_changed_route(self, agency: Agency) -> None:
        start(agency)
        config = agency.config("C1")
        agency.notification(config, next_attempt_at=NOW)
        (row,) = claim(agency)
        record(agency, finished=[done(row)])
        agency.connection.execute("update notification_config set channel_id = 'C2'")
        (row,) = claim(agency)
        assert [d["destination"] for d in row["deliveries"]] == ["C2"]


class TestRecord:
    @pytest.fixture
    def row(self, agency: Agency) -> dict[str, Any]:
        start(agency)
        agency.notification(agency.config("C1"), next_attempt_at=at(minutes=2))
        return dict(claim(agency)[0])

    def test_sent(self, agency: Agency, row: dict[str, Any]) -> None:
        answer = record(agency, starting=[told(row, "x")])
        assert answer["started"] == [row["deliveries"][0]["id"]]
        assert agency.deliveries()[0]["state"] == "sending"
        record(agency, outcomes=[told(row, "sent")], finished=[done(row)])
        queued = agency.queued(row["id"])
        assert (queued["is_processed"], queued["processed_at"], queued["outcome"]) == (
            True, NOW, "sent",
        )  # fmt: skip
        assert (queued["claim_token"], queued["attempts"]) == (None, 0)

    def test_retried_then_dead_at_the_maximum(self, agency: Agency, row: dict[str, Any]) -> None:
        now = NOW
        for attempts in range(1, 6):
            retry = told(row, "retry", attempts=attempts, retry_in=30, error="odd", error_code="x")
            record(agency, now, outcomes=[retry], finished=[done(row)])
            queued = agency.queued(row["id"])
            assert (queued["attempts"], queued["is_processed"]) == (attempts, False)
            assert queued["last_error"] == "odd"
            assert claim(agency, as_of=now) == []
            now += timedelta(seconds=30)
            if attempts < 5:
                (row,) = claim(agency, as_of=now)
                assert row["waited"] == 120 + 30 * attempts, "it ages from its first due time"
        assert (queued["outcome"], agency.deliveries()[0]["state"]) == ("dead", "dead")
        assert claim(agency, as_of=now) == []

    def test_waiting_costs_no_attempt_and_keeps_its_place(
        self, agency: Agency, row: dict[str, Any]
    ) -> None:
        record(agency, outcomes=[told(row, "wait", hold_in=60)], finished=[done(row)])
        queued = agency.queued(row["id"])
        assert (queued["attempts"], queued["next_attempt_at"]) == (0, at(minutes=2))
        assert claim(agency) == []
        assert len(claim(agency, as_of=NOW + timedelta(seconds=60))) == 1

    def test_once_more_changes_nothing_more(self, agency: Agency, row: dict[str, Any]) -> None:
        retry = told(row, "retry", attempts=1, retry_in=30, error="odd")
        call = {"outcomes": [retry], "finished": [done(row)], "starting": [told(row, "x")]}
        record(agency, **call)
        before = (agency.queued(row["id"]), agency.deliveries())
        answer = record(agency, **call)
        assert (agency.queued(row["id"]), agency.deliveries()) == before
        assert answer["stale"] == 1

    def test_an_error_of_the_notification_ends_all_its_deliveries(
        self, agency: Agency, row: dict[str, Any]
    ) -> None:
        record(agency, finished=[done(row, error="unreadable")])
        queued = agency.queued(row["id"])
        assert (queued["outcome"], queued["last_error"]) == ("dead", "unreadable")
        assert agency.deliveries()[0]["state"] == "dead"

    def test_dead_and_sent_destinations_end_apart(self, agency: Agency) -> None:
        start(agency)
        agency.channel("C1")
        agency.channel("C2")
        id_ = agency.notification(agency.config(), next_attempt_at=NOW)
        (row,) = claim(agency)
        record(agency, outcomes=[told(row, "dead", 0, attempts=1, error="too long")])
        assert agency.queued(id_)["claim_token"] is not None, "it is not finished yet"
        record(agency, outcomes=[told(row, "retry", 1, attempts=1, retry_in=30)])
        record(agency, finished=[done(row)])
        queued = agency.queued(id_)
        assert (queued["outcome"], queued["attempts"]) == (None, 1), "one still waits"
        (row,) = claim(agency, as_of=NOW + timedelta(seconds=30))
        assert [d["destination"] for d in row["deliveries"]] == ["C2"]
        record(agency, outcomes=[told(row, "sent")], finished=[done(row)])
        queued = agency.queued(id_)
        assert (queued["outcome"], queued["attempts"], queued["last_error"]) == (
            "dead", 5, "too long",
        )  # fmt: skip
        assert [d["state"] for d in agency.deliveries(id_)] == ["dead", "sent"]

    def test_a_run_that_lost_its_lease_starts_nothing(
        self, agency: Agency, row: dict[str, Any]
    ) -> None:
        assert start(agency, NOW + timedelta(seconds=31), uuid.uuid4())["acquired"]
        answer = record(agency, starting=[told(row, "x")], outcomes=[])
        assert (answer["held"], answer["started"]) == (False, [])

    def test_a_direct_message_is_opened_once(self, agency: Agency) -> None:
        start(agency)
        config = agency.config(user_id=agency.user("U1"))
        for minutes in (2, 1):
            agency.notification(config, next_attempt_at=at(minutes=minutes))
        first, second = claim(agency)
        sent = told(first, "sent", conversation_id="D1", posted_ago=0.5)
        record(agency, outcomes=[sent], finished=[done(first), done(second)])
        (row,) = claim(agency)
        delivery = row["deliveries"][0]
        assert (delivery["conversation_id"], delivery["idle_for"]) == ("D1", 0.5)

    def test_what_was_being_posted_when_the_worker_died_is_unknown(
        self, agency: Agency, row: dict[str, Any]
    ) -> None:
        record(agency, starting=[told(row, "x")])
        (row,) = claim(agency, as_of=NOW + timedelta(seconds=171))
        delivery = row["deliveries"][0]
        assert (delivery["state"], delivery["error_code"]) == ("unknown", "worker_lost")
        assert delivery["first_attempt"] == NOW.timestamp()


class TestRunsAndEndings:
    def test_one_drainer_at_a_time(self, agency: Agency) -> None:
        other = uuid.uuid4()
        assert start(agency)["acquired"]
        assert start(agency)["acquired"], "the same run goes on"
        assert start(agency, NOW + timedelta(seconds=29), other) == {"acquired": False}
        assert start(agency, NOW + timedelta(seconds=30), other)["acquired"]

    def test_a_finished_run_hands_over_at_once(self, agency: Agency) -> None:
        start(agency)
        agency.connection.execute(
            "select finish_notification_run(%s, %s, %s)", (RUN, Jsonb({"tokens": 7}), NOW)
        )
        begun = start(agency, NOW + timedelta(seconds=5), uuid.uuid4())
        assert (begun["handover"], begun["handover_age"]) == ({"tokens": 7}, 5)

    def test_last_months_rows_expire_and_inactive_ones_are_skipped(self, agency: Agency) -> None:
        config = agency.config("C1")
        old = agency.notification(config, next_attempt_at=at(days=31))
        edge = agency.notification(config, next_attempt_at=at(hours=24))
        young = agency.notification(config, next_attempt_at=at(hours=23.9))
        unborn = agency.notification(config, next_attempt_at=None, created_at=at(days=31))
        off = agency.notification(agency.config("C1", is_active=False), next_attempt_at=NOW)
        orphan = agency.notification(None, next_attempt_at=NOW)
        begun = start(agency)
        assert (begun["expired"], begun["skipped"], begun["dead"]) == (3, 1, 1)
        outcomes = [agency.queued(i)["outcome"] for i in (old, edge, young, unborn, off, orphan)]
        assert outcomes == ["expired", "expired", None, "expired", "skipped", "dead"]
        assert agency.queued(old)["processed_at"] == NOW
        assert agency.queued(off)["is_processed"]
        assert not agency.queued(orphan)["is_processed"]
        assert agency.queued(orphan)["attempts"] == 5

    def test_what_a_run_has_in_hand_is_not_ended_under_it(self, agency: Agency) -> None:
        config, switched_off = agency.config("C1"), agency.config("C2")
        claimed = {"next_attempt_at": at(days=31), "claimed_until": NOW + timedelta(seconds=1)}
        for held in (config, switched_off, None):
            agency.notification(held, **claimed)
        agency.connection.execute(
            "update notification_config set is_active = false where id = %s", (switched_off,)
        )
        begun = start(agency)
        assert (begun["expired"], begun["skipped"], begun["dead"]) == (0, 0, 0)
        later = start(agency, NOW + timedelta(seconds=1))
        assert (later["expired"], later["skipped"], later["dead"]) == (1, 1, 1)

    def test_a_long_backlog_ends_piece_by_piece(self, agency: Agency) -> None:
        agency.connection.execute(
            "insert into notification_queue (config_id, entity_id, entity_type, next_attempt_at) "
            "select %s, gen_random_uuid(), 'request', %s from generate_series(1, 4500)",
            (agency.config("C1"), at(days=31)),
        )
        counts = [start(agency) for _ in range(4)]
        assert [begun["expired"] for begun in counts] == [2000, 2000, 500, 0]
        assert [begun["more"] for begun in counts] == [True, True, True, False]

    def test_the_clock_stands_still_while_parked_or_stopped(self, agency: Agency) -> None:
        parked, other = agency.config("C1"), agency.config("C2")
        waits = agency.notification(parked, next_attempt_at=at(hours=30))
        stopped = agency.notification(other, next_attempt_at=at(hours=25))
        pause = (
            "insert into notification_pauses (config_id, code, reason, started_at, ended_at) "
            "values (%s, 'x', 'x', %s, %s)"
        )
        # 7 h in all: the two overlap by an hour
        agency.connection.execute(pause, (parked, at(hours=20), at(hours=14)))
        agency.connection.execute(pause, (None, at(hours=15), at(hours=13)))
        assert start(agency)["expired"] == 0
        assert start(agency, NOW + timedelta(hours=1))["expired"] == 2
        assert agency.queued(waits)["outcome"] == "expired"
        assert agency.queued(stopped)["outcome"] == "expired"

    def test_nothing_expires_while_it_is_parked(self, agency: Agency) -> None:
        config = agency.config("C1")
        agency.notification(config, next_attempt_at=at(hours=20))
        agency.connection.execute(
            "insert into notification_pauses (config_id, code, reason, started_at) "
            "values (%s, 'x', 'x', %s)",
            (config, at(hours=1)),
        )
        assert start(agency, NOW + timedelta(days=30))["expired"] == 0
        assert claim(agency) == []
