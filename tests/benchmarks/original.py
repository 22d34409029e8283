"""The original design's notification worker: one after the other, for scale.

For each batch a claim; for each notification a read of its config, a post and an update.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from slack_sdk import WebClient

from supabase import ClientOptions, create_client

BATCH = 50


def drain(environment: Mapping[str, str], count: int) -> float:
    """Deliver the next `count` notifications; the seconds that it took."""
    with httpx.Client() as http:
        supabase = create_client(
            environment["SUPABASE_URL"],
            environment["SUPABASE_SERVICE_ROLE_KEY"],
            ClientOptions(httpx_client=http, persist_session=False, auto_refresh_token=False),
        )
        slack = WebClient(environment["SLACK_BOT_TOKEN"], base_url=environment["SLACK_API_URL"])
        delivered = 0
        started = time.monotonic()
        while delivered < count:
            claim: Any = supabase.rpc("lock_and_get_notifications", {"batch_size": BATCH})
            claimed = claim.execute().data
            assert claimed, "the queue holds too little"
            for notification in claimed:
                _process(supabase, slack, notification)
            delivered += len(claimed)
        return time.monotonic() - started


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
