"""With any "Max rows" of the project every worker and command gives the same result."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from local.environment import of_stack
from local.invoke import invoke, scheduled_event
from local.services import data_api
from local.services.node import ensure_installed
from local.services.postgres import create_database, drop_database
from local.services.tether import Tether
from local.stack import Running
from tests.conftest import LocalStack
from workers.database import Database
from workers.doctor.database_checks import check_row_cap
from workers.operate.__main__ import main

# More of everything than the smallest caps let through.
MORE = """
with config as (
  insert into notification_config (entity_type, event_type, channel_id, template)
  values ('request', 'many', 'C0CREATIVE0', '{{number}}')
  returning id
)
insert into notification_queue
  (config_id, entity_id, entity_type, event_data, next_attempt_at, created_at)
select config.id, gen_random_uuid(), 'request', jsonb_build_object('number', number),
       now() - interval '1 hour', now() - interval '1 hour' + number * interval '1 second'
  from config, generate_series(1, 40) number;
with config as (
  insert into notification_config (entity_type, event_type, channel_id, template)
  select 'request', 'parked ' || number, 'C' || lpad(number::text, 8, '0'), 'x'
    from generate_series(1, 120) number
  returning id, channel_id
), dead as (
  insert into notification_queue
    (config_id, entity_id, entity_type, event_data, attempts, max_attempts)
  select (select id from config limit 1), gen_random_uuid(), 'request', '{}', 5, 5
    from generate_series(1, 150)
)
insert into slack_destinations (destination, parked_at, park_code, park_reason, paused_since)
select channel_id, now(), 'is_archived', 'it is archived', now() from config
"""
COMMANDS = (
    ("dead", "list", "--limit", "2000"), ("parked", "list"), ("connections", "list"),
    ("retention", "--dry-run"),
)  # fmt: skip


@pytest.fixture
def capped(stack: LocalStack, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The sample agency and some more, behind a data API that cuts there; the environment."""
    cap, name = request.param, f"capped_{request.param}"
    running = stack.running
    url = create_database_of(running, name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MORE.encode())
    with Tether() as tether:
        node = ensure_installed()
        api, _ = data_api.start(tether, node, url, running.keys, max_rows=cap)
        unpaced = {"SLACK_CHANNEL_RATE": "0", "SLACK_WORKSPACE_RATE": "0"}
        yield {**of_stack(running), **unpaced, "SUPABASE_URL": api}
    drop_database(running.maintenance_url, name)


def create_database_of(running: Running, name: str) -> str:
    create_database(running.maintenance_url, name, "sample")
    return running.database_url.rpartition("/")[0] + f"/{name}"


def run(function: str, environment: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as log:
        summary = invoke(function, scheduled_event(function), environment, log=log.fileno())
    assert isinstance(summary, dict)
    return {name: value for name, value in summary.items() if not name.endswith("_seconds")}


def listed(command: tuple[str, ...]) -> Any:
    out = io.StringIO()
    assert main([*command, "--json"], out) == 0
    shown = json.loads(out.getvalue())
    return len(shown) if isinstance(shown, list) else shown


EXPECTED: dict[str, Any] = {}


@pytest.mark.parametrize("capped", [100, 1], indirect=True, ids=str)
def test_nothing_is_cut(capped: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in capped.items():
        monkeypatch.setenv(name, value)
    found: dict[str, Any] = {" ".join(command): listed(command) for command in COMMANDS}
    assert found["dead list --limit 2000"] == 150
    assert found["parked list"] == 120
    assert found["connections list"] == 4
    for function in ("notifications", "metrics_sync", "retention"):
        found[function] = run(function, capped)
    assert found["notifications"]["sent"] == 48
    assert found["metrics_sync"]["messages_handled"] == 4
    assert found["retention"]["outcome"] == "complete"
    assert found == EXPECTED.setdefault("found", found)


@pytest.mark.parametrize(
    ("capped", "level", "words"),
    [(1000, "ok", "at most 1000"), (20, "warning", "at most 20 rows"), (5000, "ok", "more than")],
    indirect=["capped"],
)
def test_the_doctor_finds_the_cap(capped: dict[str, str], level: str, words: str) -> None:
    database = Database(capped["SUPABASE_URL"], capped["SUPABASE_SERVICE_ROLE_KEY"])
    (finding,) = check_row_cap(database)
    database.close()
    assert finding.level == level
    assert words in finding.text
