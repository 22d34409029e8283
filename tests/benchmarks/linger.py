"""How soon a message is in Slack while a run lingers, and the cost of an idle minute."""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from local.control import Control
from local.stack import Running, Stack
from tests.benchmarks.figures import Figure
from tests.benchmarks.network import API_LATENCY, SLACK_LATENCY, distant, run_function
from tests.benchmarks.sizes import Progress, Sizes

EVERY = 3.0
CHANNEL = "C0LINGER0"
MEDIAN_SECONDS = 1.2
P95_SECONDS = 2.5
# With one run per minute, a message waits half a minute on average.
WITHOUT = 30.0
IDLE_SECONDS = 60.0


def lingering(progress: Progress, sizes: Sizes) -> list[Figure]:
    """Messages at regular intervals for a lingering run; then none."""
    with Stack(seed=False) as running, distant(running.api_url) as proxy_url:
        progress("the stack is up")
        waits = _waits(running, proxy_url, sizes.messages)
        progress(f"{len(waits)} of {sizes.messages} messages arrived; now without any")
        calls = _idle_calls(running, proxy_url, IDLE_SECONDS if sizes.messages > 10 else 5.0)
    median, p95 = statistics.median(waits), _percentile(waits, 0.95)
    return [
        Figure(
            "from insert to Slack while a run lingers, p50", median, "s", original=WITHOUT,
            target=f"at most {MEDIAN_SECONDS} s", met=median <= MEDIAN_SECONDS, note=_NOTE,
        ),
        Figure(
            "  p95", p95, "s", original=2 * WITHOUT,
            target=f"at most {P95_SECONDS} s", met=p95 <= P95_SECONDS,
        ),
        Figure("  data-API calls of an idle minute", calls, ""),
        Figure(
            "  messages that did not arrive", sizes.messages - len(waits), "",
            target="none", met=len(waits) == sizes.messages, at_any_size=True,
        ),
    ]  # fmt: skip


_NOTE = (
    f"Lingering: one message every {EVERY:g} s, Slack's fake with {SLACK_LATENCY * 1000:.0f} ms, "
    f"the data API with {API_LATENCY * 1000:.0f} ms latency; from the insert to when the fake took "
    "the post. Original: a poll each minute."
)


def _waits(running: Running, proxy_url: str, messages: int) -> list[float]:
    """The seconds that each message took."""
    running.slack.replace_state({**running.slack.state(), "any_channel": True})
    running.slack.configure(latency=SLACK_LATENCY)
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        row = connection.execute(
            "insert into notification_config (entity_type, event_type, channel_id, template) "
            "values ('request', 'linger', %s, '{{at}}') returning id",
            (CHANNEL,),
        ).fetchone()
        assert row is not None
        ended = _start_lingering(running, proxy_url, EVERY * messages + 10)
        while ended.is_alive() and not connection.execute("table worker_leases").fetchone():
            time.sleep(0.1)  # a cold start is a separate figure
        for _ in range(messages):
            time.sleep(EVERY)
            connection.execute(
                "insert into notification_queue (config_id, entity_id, entity_type, event_data) "
                "values (%s, gen_random_uuid(), 'request', %s)",
                (row[0], Jsonb({"at": str(time.time())})),
            )
        ended.join()
    arrived = running.slack.state()["messages"].get(CHANNEL, [])
    # the fake uses the machine's clock for its ts
    return [float(message["ts"]) - float(message["text"]) for message in arrived]


def _idle_calls(running: Running, proxy_url: str, seconds: float) -> float:
    """Data-API calls in a minute without messages."""
    proxy = Control(proxy_url)
    proxy.clear_journal()
    _start_lingering(running, proxy_url, seconds).join()
    return proxy.count() * 60.0 / seconds


def _start_lingering(running: Running, proxy_url: str, seconds: float) -> threading.Thread:
    environment: dict[str, Any] = {
        **running.environment(),
        "SUPABASE_URL": proxy_url,
        "NOTIFICATION_LINGER_SECONDS": str(seconds),
    }
    # the handler stops some time before its deadline, so it lingers that much less
    run = threading.Thread(target=run_function, args=("notifications", seconds + 15, environment))
    run.start()
    return run


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
