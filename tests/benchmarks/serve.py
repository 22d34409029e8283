"""The cost of a server: memory, idle processor time, and the benefit and cost of LISTEN."""

from __future__ import annotations

import os
import re
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from local.http_server import HttpServer
from local.stack import Running, Stack
from tests.benchmarks.figures import Figure
from tests.benchmarks.network import API_LATENCY, SLACK_LATENCY, distant
from tests.benchmarks.sizes import Progress, Sizes
from tests.integration.moto_s3 import CREDENTIALS, REGION, MotoS3, client
from tests.server.process import NEVER, ServerProcess, server
from workers.operate.listen import statements

RUNS = 100
MEGABYTES = 110.0
MEGABYTES_WITH_ALL = 130.0
CPU_PERCENT = 0.5
REST_SECONDS = 300.0
# Until clients are created and the first half minute, with a poll every second, is over.
SETTLING_SECONDS = 35.0
P95_SECONDS = 0.5
EVERY = 0.7
COMMITS = 2_000
CLIENTS = (1, 8)
BUCKET = "archive-of-the-benchmark"
# All three as often as possible.
BUSY = {
    "NOTIFICATIONS_SCHEDULE": "rate(1 second)",
    "METRICS_SCHEDULE": "rate(1 second)",
    "RETENTION_SCHEDULE": "rate(1 second)",
    "NOTIFICATION_LINGER_SECONDS": "0",
}
ALONE = {"METRICS_SCHEDULE": NEVER, "RETENTION_SCHEDULE": NEVER}


def serving(progress: Progress, sizes: Sizes) -> list[Figure]:
    """A server with and without its extras: busy, idle and woken up."""
    is_small = sizes.messages < 10
    runs = 5 if is_small else RUNS
    with Stack() as running:
        plain = _megabytes(running, {}, runs)
        progress(f"{runs} runs of each worker")
        with _extras(running) as extras:
            whole = _megabytes(running, extras, runs)
        progress(f"{runs} runs of each worker with all extras")
        percent = _idle_percent(running, 3.0 if is_small else REST_SECONDS, is_small=is_small)
        progress("idle for a while")
    with Stack(seed=False) as running:
        waits = _waits(running, sizes.messages)
        progress(f"{len(waits)} of {sizes.messages} messages after LISTEN")
        commits = _commits(running, 50 if is_small else COMMITS)
    p95 = sorted(waits)[min(len(waits) - 1, int(0.95 * len(waits)))]
    return [
        Figure(
            f"server: resident memory after {runs} runs of each worker", plain, "MB",
            target=f"at most {MEGABYTES:g} MB", met=plain <= MEGABYTES,
        ),
        Figure(
            "  with LISTEN, S3 and Sentry", whole, "MB",
            target=f"at most {MEGABYTES_WITH_ALL:g} MB", met=whole <= MEGABYTES_WITH_ALL,
        ),
        Figure(
            "  processor time when idle, of one core", percent, "%",
            target=f"at most {CPU_PERCENT:g} %", met=percent <= CPU_PERCENT,
        ),
        Figure(
            "  from insert to Slack with LISTEN, p50", statistics.median(waits), "s", note=_NOTE
        ),
        Figure("  p95", p95, "s", target=f"at most {P95_SECONDS:g} s", met=p95 <= P95_SECONDS),
        *(
            Figure(f"  an insert's commit, {clients} in parallel, {name}", seconds * 1000, "ms")
            for (clients, name), seconds in commits.items()
        ),
    ]  # fmt: skip


_NOTE = (
    f"LISTEN: one message every {EVERY:g} s, Slack's fake with {SLACK_LATENCY * 1000:.0f} ms, the "
    f"data API with {API_LATENCY * 1000:.0f} ms latency. Commits: single-row inserts into "
    "notification_queue, each a transaction; the median of all clients."
)


@contextmanager
def _extras(running: Running) -> Iterator[Mapping[str, str]]:
    """The settings with which a server loads all its extras."""
    moto = HttpServer(MotoS3())
    moto.start()
    try:
        client(moto).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL_S3": moto.url,
            "ARCHIVE_BUCKET_NAME": BUCKET,
            "DATABASE_URL": running.database_url,
            "SENTRY_DSN": "http://public@127.0.0.1:9/1",
        }
    finally:
        moto.stop()


def _megabytes(running: Running, extras: Mapping[str, str], runs: int) -> float:
    running.reset()
    with server({**running.environment(), **BUSY, **extras}) as started:
        for action in ("notifications_run", "metrics_plan", "retention"):
            for count in range(1, runs + 1):  # wait for each of them
                started.wait_for(action, count)
        return _resident(started)


def _resident(started: ServerProcess) -> float:
    text = Path(f"/proc/{started.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s*(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


def _idle_percent(running: Running, seconds: float, *, is_small: bool) -> float:
    with server(running.environment()) as started:
        started.wait_for("ready")
        time.sleep(1.0 if is_small else SETTLING_SECONDS)
        before = _processor_seconds(started)
        time.sleep(seconds)
        return 100 * (_processor_seconds(started) - before) / seconds


def _processor_seconds(started: ServerProcess) -> float:
    fields = Path(f"/proc/{started.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _waits(running: Running, messages: int) -> list[float]:
    """The seconds that each message took, with LISTEN."""
    running.slack.replace_state({**running.slack.state(), "any_channel": True})
    running.slack.configure(latency=SLACK_LATENCY)
    with (
        psycopg.connect(running.database_url, autocommit=True) as connection,
        distant(running.api_url) as proxy_url,
    ):
        connection.execute(statements(on=True).encode())
        config = _config(connection)
        environment = {
            **running.environment(), **ALONE, "SUPABASE_URL": proxy_url,
            "DATABASE_URL": running.database_url, "SLACK_CHANNEL_RATE": "0",
        }  # fmt: skip
        with server(environment, "notifications") as started:
            started.wait_for("listening")
            while not connection.execute("table worker_leases").fetchone():
                time.sleep(0.1)
            for _ in range(messages):
                time.sleep(EVERY)
                _insert(connection, config)
            time.sleep(2.0)
    arrived = running.slack.state()["messages"].get("C0LISTEN0", [])
    return [float(message["ts"]) - float(message["text"]) for message in arrived]


def _config(connection: psycopg.Connection[Any]) -> Any:
    row = connection.execute(
        "insert into notification_config (entity_type, event_type, channel_id, template) "
        "values ('request', 'listen', 'C0LISTEN0', '{{at}}') returning id"
    ).fetchone()
    assert row is not None
    return row[0]


def _insert(connection: psycopg.Connection[Any], config: Any) -> None:
    connection.execute(
        "insert into notification_queue (config_id, entity_id, entity_type, event_data) "
        "values (%s, gen_random_uuid(), 'request', %s)",
        (config, Jsonb({"at": str(time.time())})),
    )


def _commits(running: Running, count: int) -> dict[tuple[int, str], float]:
    """The median seconds of an insert, by how many run in parallel, without and with NOTIFY while
    a client listens."""
    found: dict[tuple[int, str], float] = {}
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        config = _config(connection)
        connection.execute("listen agency_dashboard_workers")
        for clients in CLIENTS:
            for name, on in (("plain", False), ("with NOTIFY", True)):
                connection.execute(statements(on=on).encode())
                found[clients, name] = _median(running, config, clients, count // clients)
    return found


def _median(running: Running, config: Any, clients: int, each: int) -> float:
    seconds: list[float] = []

    def insert() -> None:
        with psycopg.connect(running.database_url, autocommit=True) as connection:
            for _ in range(each):
                started = time.perf_counter()
                _insert(connection, config)
                seconds.append(time.perf_counter() - started)

    threads = [threading.Thread(target=insert) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statistics.median(seconds)
