"""Where notifications go, and how those without a destination wait."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.database.agency import NOW, Agency
from tests.database.runs import Run, at, call, later, outcome_of, starting


def destinations(run: Run, as_of: datetime = NOW) -> set[str]:
    return {row["destination"] for row in run.take(as_of)}


class TestRoutes:
    def test_the_configs_channel_first_then_its_user(self, agency: Agency, run: Run) -> None:
        user = agency.user("\u2060U1\u200b")
        agency.channel("C9")
        agency.notification(agency.config("\u202aC1 \u202c", user_id=user), next_attempt_at=NOW)
        agency.notification(agency.config("\u200b ", user_id=user), next_attempt_at=NOW)
        assert destinations(run) == {"C1", "U1"}

    def test_connected_channels_by_type_and_event(self, agency: Agency, run: Run) -> None:
        agency.channel("C0ALL00")
        agency.channel("C0TYPE0", "creative")
        agency.channel(" C0TYPE0", "creative", ["status_change"])
        agency.channel("C0EVENT", "creative", ["status_change", "other"])
        agency.channel("C0NOEVT", "creative", ["other"])
        agency.channel("C0NONE0", "creative", [])
        agency.channel("C0OTHER", "project")
        request = agency.request("creative")
        agency.notification(agency.config(), {"request_id": request}, next_attempt_at=NOW)
        agency.notification(agency.config(), f'{{"request_id": "{request}"}}', next_attempt_at=NOW)
        taken = [row["destination"] for row in run.take()]
        assert sorted(taken) == sorted(["C0ALL00", "C0TYPE0", "C0EVENT"] * 2)

    @pytest.mark.parametrize("entity_type", ["request", "requests"])
    def test_the_entity_is_the_request_when_the_data_names_none(
        self, agency: Agency, run: Run, entity_type: str
    ) -> None:
        agency.channel("C1", "creative")
        agency.notification(
            agency.config(),
            {"request_id": "no uuid"},
            entity_type=entity_type,
            entity_id=agency.request("creative"),
            next_attempt_at=NOW,
        )
        assert destinations(run) == {"C1"}

    @pytest.mark.parametrize("data", [None, [], "text", 7, {"request_id": None}])
    def test_without_a_request_only_channels_of_every_type(
        self, agency: Agency, run: Run, data: Any
    ) -> None:
        agency.channel("C1", "creative")
        agency.channel("C2")
        agency.notification(agency.config(), data, entity_type="comment", next_attempt_at=NOW)
        assert destinations(run) == {"C2"}


class TestUnrouted:
    def test_a_notification_without_a_route_holds_only_itself(
        self, agency: Agency, run: Run
    ) -> None:
        agency.channel("C1", "creative")
        config = agency.config()
        routed, lost = (agency.request(kind) for kind in ("creative", "media"))
        ids = [
            agency.notification(config, {"request_id": request}, next_attempt_at=at(minutes=ago))
            for request, ago in ((routed, 3), (lost, 2), (routed, 1))
        ]
        assert [row["notification_id"] for row in run.take()] == [ids[0], ids[2]]
        (waiting,) = agency.unrouted()
        assert str(waiting["notification_id"]) == ids[1]
        for word in (ids[1], "media", "status_change", "slack_connected_channels"):
            assert word in waiting["reason"]
        assert agency.queued(ids[1])["last_error"] == waiting["reason"]
        assert agency.parked() == {}

    def test_a_user_without_a_slack_id_is_reported(self, agency: Agency, run: Run) -> None:
        agency.notification(agency.config(user_id=agency.user()), next_attempt_at=NOW)
        agency.connection.execute("update notification_queue set entity_type = 'task'")
        run.claim()
        assert "profiles.slack_id" in agency.unrouted()[0]["reason"]

    def test_lookups_are_repeated_after_one_to_ten_minutes(self, agency: Agency, run: Run) -> None:
        lost(agency)
        run.claim()
        now, waits = NOW, []
        for _ in range(7):
            lookup_at = agency.unrouted()[0]["lookup_at"]
            waits.append((lookup_at - now) / timedelta(minutes=1))
            just_before = Run(agency)
            assert just_before.start(lookup_at - timedelta(seconds=1))["acquired"]
            just_before.finish(lookup_at)
            assert agency.unrouted()[0]["lookup_at"] == lookup_at
            Run(agency).start(lookup_at)
            now = lookup_at
            agency.connection.execute("update worker_leases set expires_at = %s", (now,))
        assert waits == [1, 2, 4, 8, 10, 10, 10]

    def test_lookups_per_run_are_limited_earliest_due_first(self, agency: Agency) -> None:
        config = agency.config()
        ids = [
            agency.notification(config, entity_type="task", next_attempt_at=at(minutes=9 - n))
            for n in range(5)
        ]
        run = Run(agency)
        assert run.start(row_limit=9)["more"] is False
        looked = run_after_look(agency, later(minutes=1), row_limit=3)
        assert sorted(looked) == sorted(ids[:3])
        assert sorted(run_after_look(agency, later(minutes=1), row_limit=3)) == sorted(ids)

    def test_a_late_route_keeps_the_order_of_first_due(self, agency: Agency, run: Run) -> None:
        ids = [lost(agency, next_attempt_at=at(minutes=ago)) for ago in (2, 9, 5)]
        run.claim()
        agency.channel("C1")
        agency.notification(agency.config("C1"), next_attempt_at=at(minutes=4))
        run.start(later(minutes=1))
        run.finish(later(minutes=1))
        heir = Run(agency)
        heir.start(later(minutes=1))
        taken = [row["notification_id"] for row in heir.take(later(minutes=1))]
        assert [id_ for id_ in taken if id_ in ids] == [ids[1], ids[2], ids[0]]
        assert taken[2] not in ids
        assert agency.unrouted() == []

    def test_a_notification_whose_request_is_gone_is_skipped(
        self, agency: Agency, run: Run
    ) -> None:
        agency.channel("C1", "creative")
        gone = agency.notification(agency.config(), next_attempt_at=NOW)
        late = agency.request("media")
        later_gone = agency.notification(agency.config(), {"request_id": late}, next_attempt_at=NOW)
        assert run.claim()["ended"] == {"dead": 0, "skipped": 1, "expired": 0}
        agency.connection.execute("delete from requests where id = %s", (late,))
        assert Run(agency).start(later(minutes=1))["skipped"] == 1
        for id_ in (gone, later_gone):
            row = agency.queued(id_)
            assert (row["outcome"], row["is_processed"]) == ("skipped", True)
            assert "request" in row["last_error"]
        assert agency.unrouted() == []

    def test_it_expires_like_any_other(self, agency: Agency, run: Run) -> None:
        id_ = lost(agency, next_attempt_at=at(hours=1))
        run.claim()
        assert Run(agency).start(later(hours=22.9))["expired"] == 0
        run_over(agency)
        assert Run(agency).start(later(hours=23))["expired"] == 1
        assert agency.queued(id_)["outcome"] == "expired"


def lost(agency: Agency, **values: Any) -> str:
    """A notification that has nowhere to go."""
    values = {"next_attempt_at": NOW, "entity_type": "task", **values}
    return agency.notification(agency.config(), **values)


def run_over(agency: Agency) -> None:
    agency.connection.execute("update worker_leases set expires_at = '-infinity'")


def run_after_look(agency: Agency, as_of: datetime, **options: Any) -> list[str]:
    """The ids that were looked up twice after one more start of a run."""
    run_over(agency)
    Run(agency).start(as_of, **options)
    return [str(row["notification_id"]) for row in agency.unrouted() if row["lookups"] > 1]


class TestChanges:
    def test_a_moved_config_continues_in_its_new_channel(self, agency: Agency, run: Run) -> None:
        config = agency.config("C1")
        first, second = (
            agency.notification(config, next_attempt_at=at(minutes=ago)) for ago in (2, 1)
        )
        run.record(parks=[{"destination": "C1", "code": "is_archived", "reason": "x"}])
        agency.connection.execute("update notification_config set channel_id = 'C2'")
        run_over(agency)
        heir = Run(agency)
        heir.start(later(seconds=1))
        taken = heir.take(later(seconds=1))
        assert [(row["notification_id"], row["destination"]) for row in taken] == [
            (first, "C2"), (second, "C2"),
        ]  # fmt: skip

    def test_within_a_run_the_claim_notices(self, agency: Agency, run: Run) -> None:
        config = agency.config("C1")
        agency.notification(config, next_attempt_at=NOW)
        run.start()
        agency.connection.execute("update notification_config set channel_id = 'C2'")
        answer = run.claim()
        assert (answer["deliveries"], answer["more"]) == ([], True)
        assert destinations(run) == {"C2"}

    def test_what_may_be_in_the_old_channel_is_settled_there(
        self, agency: Agency, run: Run
    ) -> None:
        config = agency.config("C1")
        agency.notification(config, next_attempt_at=NOW)
        run.announce(*run.take())
        agency.connection.execute("update notification_config set channel_id = 'C2'")
        run_over(agency)
        heir = Run(agency)
        heir.start(later(minutes=1))
        (doubtful,) = heir.take(later(minutes=1))
        assert (doubtful["destination"], doubtful["moved"]) == ("C1", True)
        # it was not found there
        heir.record(later(minutes=1), outcomes=[outcome_of(doubtful, "moved")])
        (row,) = heir.take(later(minutes=1))
        assert (row["destination"], row["possible_duplicate"]) == ("C2", False)

    def test_if_the_old_channel_is_unreadable_it_continues_marked(
        self, agency: Agency, run: Run
    ) -> None:
        agency.notification(agency.config("C1"), next_attempt_at=NOW)
        (row,) = run.take()
        run.record(starting=starting(row))
        run.record(
            outcomes=[outcome_of(row, "unknown", retry_in=0.0)],
            parks=[{"destination": "C1", "code": "is_archived", "reason": "x"}],
        )
        agency.connection.execute("update notification_config set channel_id = 'C2'")
        run_over(agency)
        heir = Run(agency)
        heir.start(later(seconds=1))
        (again,) = heir.take(later(seconds=1))
        assert (again["destination"], again["possible_duplicate"]) == ("C2", True)

    @pytest.mark.parametrize("state", ["routed", "apart", "in doubt"])
    def test_what_belongs_to_a_switched_off_config_is_skipped(
        self, agency: Agency, run: Run, state: str
    ) -> None:
        config = agency.config(None if state == "apart" else "C1")
        id_ = agency.notification(config, next_attempt_at=NOW, entity_type="task")
        taken = run.take()
        if state == "in doubt":
            run.announce(*taken)
        agency.connection.execute("update notification_config set is_active = false")
        run_over(agency)
        assert Run(agency).start(later(minutes=1))["skipped"] == 1
        row = agency.queued(id_)
        assert (row["outcome"], row["is_processed"]) == ("skipped", True)
        assert "not active" in row["last_error"]
        assert [one["in_doubt"] for one in agency.deliveries()] == {
            "routed": [False], "apart": [], "in doubt": [True],
        }[state]  # fmt: skip

    def test_new_notifications_without_an_active_config_end(self, agency: Agency, run: Run) -> None:
        off = agency.notification(agency.config("C1", is_active=False), next_attempt_at=NOW)
        orphan = agency.notification(None, next_attempt_at=NOW)
        unset = agency.notification(agency.config("C1", is_active=None), next_attempt_at=NOW)
        answer = run.claim()
        assert answer["ended"] == {"dead": 1, "skipped": 1, "expired": 0}
        assert [row["notification_id"] for row in answer["deliveries"]] == [unset]
        assert agency.queued(off)["outcome"] == "skipped"
        row = agency.queued(orphan)
        assert (row["outcome"], row["attempts"], row["is_processed"]) == ("dead", 5, False)

    def test_a_long_queue_is_routed_in_batches_oldest_first(self, agency: Agency) -> None:
        config = agency.config("C1")
        agency.connection.execute(
            "insert into notification_queue (config_id, entity_id, entity_type, next_attempt_at) "
            "select %s, gen_random_uuid(), 'request', %s - n * interval '1 s' "
            "from generate_series(1, 25) n",
            (config, NOW),
        )
        run = Run(agency)
        assert [run.start(row_limit=10)["more"] for _ in range(3)] == [True, True, False]
        due = [row["due_at"] for row in agency.deliveries()]
        assert due[:10] == sorted(due)[:10] or max(due[:10]) < min(due[10:])
        assert call(agency.connection, "oldest_due_notification", as_of=NOW) == 25
