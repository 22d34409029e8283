"""The original design, for comparison: one thing at a time.

Notifications: per batch a claim; per notification a read of its config, a post and an update.
Metrics: per row that a platform reports a search for the requests that name its ad, and for each of
these seven upserts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from slack_sdk import WebClient

from supabase import Client
from tests.benchmarks.bare import data_api

BATCH = 50
FIGURES = ("impressions", "clicks", "spend", "reach", "cpm", "cpc", "ctr")


def drain(environment: Mapping[str, str], count: int) -> float:
    """Deliver the next `count` notifications; returns the seconds that it took."""
    with data_api(
        environment["SUPABASE_URL"], environment["SUPABASE_SERVICE_ROLE_KEY"]
    ) as supabase:
        slack = WebClient(environment["SLACK_BOT_TOKEN"], base_url=environment["SLACK_API_URL"])
        delivered = 0
        started = time.monotonic()
        while delivered < count:
            claim: Any = supabase.rpc("lock_and_get_notifications", {"batch_size": BATCH})
            claimed = claim.execute().data
            assert claimed, "the queue is too short"
            for notification in claimed:
                _process(supabase, slack, notification)
            delivered += len(claimed)
        return time.monotonic() - started


def store(
    environment: Mapping[str, str],
    ads: Sequence[str],
    mapping_key: str,
    put: str,
    figure: Mapping[str, Any],
) -> float:
    """Store one reported row of each ad; returns the seconds that it took.

    `put` is the SQL function that upserts figures, `figure` an example of one.
    """
    with data_api(
        environment["SUPABASE_URL"], environment["SUPABASE_SERVICE_ROLE_KEY"]
    ) as supabase:
        started = time.monotonic()
        for ad in ads:
            search = supabase.table("requests").select("id").contains("metadata", {mapping_key: ad})
            for request in search.execute().data:
                for kind in FIGURES:
                    row = {**figure, "request_id": request["id"], "metric_type": kind}
                    supabase.rpc(put, {"rows": [row]}).execute()
        return time.monotonic() - started


def _data_api(environment: Mapping[str, str]) -> AbstractContextManager[Client]:
    return data_api(environment["SUPABASE_URL"], environment["SUPABASE_SERVICE_ROLE_KEY"])


def _process(supabase: Any, slack: WebClient, notification: Mapping[str, Any]) -> None:
    table = supabase.table("notification_config")
    config = table.select("*").eq("id", notification["config_id"]).single().execute().data
    text = _render(config["template"], notification["event_data"])
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    slack.chat_postMessage(channel=config["channel_id"], text=text, blocks=[section])
    done = {"is_processed": True, "processed_at": datetime.now(UTC).isoformat()}
    supabase.table("notification_queue").update(done).eq("id", notification["id"]).execute()


def _render(template: str, data: Mapping[str, Any]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: str(data.get(found[1], found[0])), template)
