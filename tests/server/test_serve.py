"""`python -m server` as a long-running process: schedules, endpoints, signals, outages."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.faults import Fault, How
from local.services.proxy import proxy
from tests.conftest import LocalStack
from tests.integration.processes import eventually
from tests.server.process import NEVER, ServerProcess, server
from workers.operate.__main__ import main as operate

# Each worker runs once, at the start.
RUNS_ONCE = {
    "NOTIFICATIONS_SCHEDULE": NEVER,
    "METRICS_SCHEDULE": NEVER,
    "RETENTION_SCHEDULE": NEVER,
    "SLACK_CHANNEL_RATE": "0",
    "SLACK_WORKSPACE_RATE": "0",
}
# A run each second; there is no minute to linger in.
BUSY = {
    "NOTIFICATION_LINGER_SECONDS": "0",
    "NOTIFICATIONS_SCHEDULE": "rate(1 second)",
    "METRICS_SCHEDULE": "rate(1 second)",
    "RETENTION_SCHEDULE": "rate(1 second)",
}
METRICS = {
    "notifications_sent", "notifications_dead", "oldest_due_seconds", "parked",
    "credentials_refused", "syncs_succeeded", "syncs_failed", "hours_since_retention",
    "connections_parked", "retention_failed",
}  # fmt: skip


def texts(stack: LocalStack) -> Counter[str]:
    """What the fake for Slack holds: each message's channel and text, and how often."""
    return Counter(
        f"{channel} {message['text']}"
        for channel, messages in stack.running.slack.state()["messages"].items()
        for message in messages
    )


def wait_for_failed_drain(serving: ServerProcess) -> None:
    """Until a run of the notifications failed: it has nothing in flight any more."""
    eventually(
        lambda: any(line["service"] == "notifications" for line in serving.of("run_failed")),
        "no drain failed",
    )


def value(stack: LocalStack, query: str) -> Any:
    row = stack.connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def all_is_released(stack: LocalStack) -> bool:
    """Whether no run or sync holds a lease."""
    return bool(
        value(
            stack,
            """
            select not exists (
                     select from worker_leases
                      where holder <> '00000000-0000-0000-0000-000000000000'
                        and expires_at > now()
                   )
               and not exists (select from metric_accounts where leased_until > now())
               and not exists (select from metric_sync_logs where status = 'in_progress')
            """,
        )
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_stops_it(stack: LocalStack, number: int) -> None:
    with server({**stack.environment(), **RUNS_ONCE}) as serving:
        serving.wait_for("connection_sync", 4)
        serving.wait_for("retention")
        eventually(lambda: sum(texts(stack).values()) == 8, "the queue is not drained")
        status, body = serving.get("/live")
        assert (status, json.loads(body)) == (200, {"status": "live", "hanging": []})
        assert serving.end(number) == 0
        assert serving.of("notifications_run")[0]["outcome"] == "drained"
        assert serving.actions()[-1] == "stopped"
    assert all_is_released(stack)


def test_its_endpoints(stack: LocalStack) -> None:
    environment = {**stack.environment(), **RUNS_ONCE, "NOTIFICATION_LINGER_SECONDS": "0"}
    with server(environment) as serving:
        serving.wait_for("notifications_run")
        serving.wait_for("connection_sync", 4)
        serving.wait_for("retention")

        # the same as the health function returns
        eventually(lambda: serving.get("/health")[0] == 200, "it is not healthy")
        health = json.loads(serving.get("/health?deep=1")[1])
        assert set(health["workers"]) == {"notifications", "metrics_sync", "retention"}
        assert health["status"] == "healthy"
        assert health["lastProcessedAt"] is not None

        # the ten metrics of CloudWatch
        eventually(lambda: "hours_since_retention{" in serving.get("/metrics")[1], "no plan")
        status, body = serving.get("/metrics")
        named = {line.split()[2] for line in body.splitlines() if line.startswith("# TYPE")}
        assert {name.removesuffix("_total") for name in named} >= METRICS
        assert 'notifications_sent_total{worker="notifications"} 8.0' in body
        assert 'syncs_succeeded_total{worker="connection_sync"} 4.0' in body
        assert "process_resident_memory_bytes" in body

        status, body = serving.get("/nothing")
        assert status == 404
        assert "/health, /live, /metrics" in body

        address = serving.wait_for("ready")[0]["address"]
        with server({**environment, "PORT": address.rpartition(":")[2]}) as second:
            assert second.wait() == 2
            assert address in second.lines[-1]["message"]


def test_health_covers_the_workers_that_run_here(stack: LocalStack) -> None:
    with server({**stack.environment(), **RUNS_ONCE}, "retention") as serving:
        serving.wait_for("retention")
        eventually(lambda: serving.get("/health")[0] == 200, "it is not healthy")
        health = json.loads(serving.get("/health")[1])["workers"]
    assert health["retention"]["status"] == "healthy"
    assert health["notifications"]["status"] == health["metrics_sync"]["status"] == "off"


def test_a_drain_that_is_asked_to_stop_releases_the_rest(stack: LocalStack) -> None:
    stack.queue_notifications(240, 6)
    stack.running.slack.configure(latency=0.05)
    with server({**stack.environment(), **RUNS_ONCE}, "notifications") as serving:
        stack.running.slack.wait_for_requests(40, "chat.postMessage")
        assert serving.end() == 0
        [run] = serving.of("notifications_run")
    assert run["released"] > 0
    assert all_is_released(stack)
    assert value(stack, "select count(*) from notification_deliveries where state = 'sending'") == 0
    with server({**stack.environment(), **RUNS_ONCE}, "notifications") as serving:
        eventually(lambda: sum(texts(stack).values()) == 248, "the rest is not delivered")
        serving.end()
    assert set(texts(stack).values()) == {1}, "some were delivered twice"


def test_a_hanging_post_does_not_delay_shutdown(stack: LocalStack) -> None:
    stack.running.slack.add_faults(Fault("hang", path="chat.postMessage", seconds=60, times=1))
    with server({**stack.environment(), **RUNS_ONCE}, "notifications") as serving:
        eventually(lambda: stack.running.slack.faults()[0]["struck"] == 1, "nothing hangs")
        assert serving.end() == 0
    assert all_is_released(stack)
    stack.running.slack.clear_faults()


def test_a_sync_that_is_asked_to_stop_releases_its_account(stack: LocalStack) -> None:
    for number, fake in enumerate(stack.running.ad_platforms.values()):
        how: How = "trickle" if number % 2 else "hang"
        fake.add_faults(Fault(how, when="after", skip=1, seconds=60, times=None))
    with server(
        {**stack.environment(), **RUNS_ONCE, "METRICS_CONCURRENCY": "3"}, "metrics"
    ) as serving:
        serving.wait_for("metrics_plan")
        eventually(
            lambda: sum(fake.count() for fake in stack.running.ad_platforms.values()) >= 6,
            "the syncs do not start",
        )
        assert serving.end() == 0
        assert serving.actions()[-1] == "stopped"
        assert "left" not in serving.lines[-1]
    assert all_is_released(stack)
    assert not value(stack, "select count(*) from metric_sync_logs where status = 'success'")
    for fake in stack.running.ad_platforms.values():
        fake.clear_faults()
    with server({**stack.environment(), **RUNS_ONCE}, "metrics") as serving:
        found = serving.wait_for("connection_sync", 4)
    assert [one["status"] for one in found] == ["success"] * 4, "they are planned again at once"


def test_retention_that_is_asked_to_stop_leaves_each_row_in_one_table(stack: LocalStack) -> None:
    stack.connection.execute(
        """
        insert into activity_log (id, entity_type, entity_id, action, created_at)
        select gen_random_uuid(), 'request', gen_random_uuid(), 'x', now() - interval '200 days'
          from generate_series(1, 60000)
        """
    )
    before = value(stack, "select count(*) from activity_log") + value(
        stack, "select count(*) from archived_activity_log"
    )
    with server({**stack.environment(), **RUNS_ONCE}, "retention") as serving:
        serving.wait_for("ready")
        eventually(
            lambda: value(stack, "select count(*) from archived_activity_log") > 0,
            "it does nothing",
        )
        assert serving.end() == 0
    assert all_is_released(stack)
    after = value(stack, "select count(*) from activity_log") + value(
        stack, "select count(*) from archived_activity_log"
    )
    assert 0 < after <= before
    both = "select count(*) from activity_log join archived_activity_log using (id)"
    assert value(stack, both) == 0


def test_a_killed_server_loses_nothing(stack: LocalStack) -> None:
    stack.queue_notifications(60, 3)
    with server({**stack.environment(), **RUNS_ONCE}, "notifications") as serving:
        stack.running.slack.wait_for_requests(10, "chat.postMessage")
        serving.process.kill()
    # as if its lease had expired, and the wait for what it may have posted were over
    stack.connection.execute("update worker_leases set expires_at = now()")
    stack.connection.execute(
        "update notification_deliveries set last_attempt_at = last_attempt_at - interval '2 min'"
    )
    with server({**stack.environment(), **BUSY}, "notifications") as serving:
        eventually(lambda: len(texts(stack)) == 68, "some are lost")
        assert serving.end() == 0
    assert value(stack, "select count(*) from notification_deliveries where state = 'dead'") == 0
    assert set(texts(stack).values()) == {1}


def test_two_servers_over_one_database_do_nothing_twice(stack: LocalStack) -> None:
    stack.queue_notifications(160, 8)
    environment = {
        **stack.environment(),
        **BUSY,
        "SLACK_CHANNEL_RATE": "0",
        "SLACK_WORKSPACE_RATE": "0",
    }
    with server(environment) as one, server(environment) as other:
        eventually(lambda: sum(texts(stack).values()) >= 168, "not all is delivered")
        eventually(
            lambda: len(one.of("connection_sync") + other.of("connection_sync")) >= 4, "no syncs"
        )
        eventually(lambda: bool(one.of("retention") and other.of("retention")), "no retention")
        assert one.end() == 0
        assert other.end() == 0
    assert set(texts(stack).values()) == {1}
    syncs = [line["status"] for line in one.of("connection_sync") + other.of("connection_sync")]
    assert syncs.count("success") == 4
    assert all_is_released(stack)


def test_a_token_in_a_file_can_be_rotated(stack: LocalStack, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("xoxb-of-yesterday\n", encoding="utf-8")
    environment = {**stack.environment(), **BUSY, "SLACK_BOT_TOKEN_FILE": str(file)}
    token = environment.pop("SLACK_BOT_TOKEN")
    with server(environment, "notifications") as serving:
        assert serving.wait_for("run_failed")[0]["error_class"] == "CredentialsError"
        file.write_text(f"{token}\n", encoding="utf-8")
        eventually(lambda: sum(texts(stack).values()) == 8, "it keeps the old token")
        assert 'credentials_refused_total{worker="notifications"}' in serving.get("/metrics")[1]
        assert serving.end() == 0
    assert "xoxb-of-yesterday" not in json.dumps(serving.lines)


def test_sighup_makes_it_reread_its_settings(stack: LocalStack, tmp_path: Path) -> None:
    file = tmp_path / "token"
    environment = {**stack.environment(), **BUSY, "SLACK_BOT_TOKEN_FILE": str(file)}
    file.write_text(environment.pop("SLACK_BOT_TOKEN"), encoding="utf-8")
    with server(environment, "notifications") as serving:
        eventually(lambda: sum(texts(stack).values()) == 8, "the queue is not drained")
        file.write_text("not-a-token", encoding="utf-8")
        serving.process.send_signal(signal.SIGHUP)
        assert "SLACK_BOT_TOKEN" in serving.wait_for("settings_refused")[0]["error"]
        file.write_text("xoxb-local-1-sample", encoding="utf-8")
        serving.process.send_signal(signal.SIGHUP)
        serving.wait_for("settings_read")
        stack.queue_notifications(2, 1)
        eventually(lambda: sum(texts(stack).values()) == 10, "it does not continue")
        assert serving.end() == 0


def test_it_continues_after_an_outage_of_the_data_api(stack: LocalStack) -> None:
    with proxy(stack.running.api_url) as gateway:
        environment = {
            **stack.environment(), **BUSY, "SUPABASE_URL": gateway.url,
            "DATABASE_URL": stack.running.database_url,
        }  # fmt: skip
        with server(environment) as serving:
            serving.wait_for("listening")
            eventually(lambda: sum(texts(stack).values()) == 8, "the queue is not drained")
            gateway.faults.add(Fault("close", times=None))
            stack.connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'agency-dashboard-workers listen'"
            )
            serving.wait_for("run_failed", 2)
            serving.wait_for("listen_failed")
            assert serving.get("/live")[0] == 200, "no reason to restart it"
            gateway.faults.clear()
            stack.queue_notifications(2, 1)
            eventually(lambda: sum(texts(stack).values()) == 10, "it does not continue")
            serving.wait_for("listening", 2)
            assert serving.end() == 0


def test_two_servers_survive_a_restart_of_the_database(
    stack: LocalStack, database_stopped: Callable[[], AbstractContextManager[None]]
) -> None:
    stack.queue_notifications(200, 8)
    stack.running.slack.configure(latency=0.02)
    environment = {
        **stack.environment(), **BUSY, "SLACK_CHANNEL_RATE": "0", "SLACK_WORKSPACE_RATE": "0",
        "DATABASE_URL": stack.running.database_url,
    }  # fmt: skip
    with server(environment) as one, server(environment) as other:
        one.wait_for("listening")
        other.wait_for("listening")
        stack.running.slack.wait_for_requests(50, "chat.postMessage")
        with database_stopped():
            for each in (one, other):
                each.wait_for("run_failed")
                each.wait_for("listen_failed")
                assert each.get("/live")[0] == 200, "no reason to restart it"
        assert sum(texts(stack).values()) < 208, "the drain was already over"
        with psycopg.connect(stack.running.database_url, autocommit=True) as connection:
            again = LocalStack(stack.running, connection)
            # As if the leases from before the restart had expired, and the wait for what may have
            # been posted were over. What runs began since then is theirs.
            connection.execute(
                "update worker_leases set expires_at = now() "
                "where renewed_at < pg_postmaster_start_time()"
            )
            connection.execute(
                "update metric_accounts set leased_until = now() "
                "where attempted_at < pg_postmaster_start_time()"
            )
            connection.execute(
                "update notification_deliveries "
                "set last_attempt_at = last_attempt_at - interval '2 min' "
                "where state <> 'sent' and last_attempt_at < pg_postmaster_start_time()"
            )
            eventually(lambda: len(texts(stack)) == 208, "some are lost")
            eventually(
                lambda: value(
                    again, "select bool_and(whole_read_at is not null) from metric_accounts"
                ),
                "some accounts are not synced",
            )
            for each in (one, other):
                each.wait_for("listening", 2)
                assert each.end() == 0
            assert set(texts(stack).values()) == {1}, "some were delivered twice"
            dead = "select count(*) from notification_deliveries where state = 'dead'"
            assert value(again, dead) == 0
            assert all_is_released(again)


def test_listening_delivers_without_polling(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_DB_URL", stack.running.database_url)
    assert operate(["listen", "--on"]) == 0
    environment = {
        **stack.environment(), **RUNS_ONCE, "NOTIFICATION_LINGER_SECONDS": "0",
        "DATABASE_URL": stack.running.database_url,
    }  # fmt: skip
    with server(environment, "notifications") as serving:
        serving.wait_for("listening")
        eventually(lambda: sum(texts(stack).values()) == 8, "the queue is not drained")
        stack.queue_notifications(2, 1)
        eventually(lambda: sum(texts(stack).values()) == 10, "it does not wake")
        assert serving.end() == 0
    assert operate(["listen", "--off"]) == 0
    assert value(stack, "select count(*) from pg_trigger where tgname like '%announce%'") == 0
