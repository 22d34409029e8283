"""A sync's log lines and rows: they name the right sync and hold no secret."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError

from local.fakes.google_ads import google_error
from local.fakes.meta import graph_error
from local.http_server import HttpServer
from tests.metrics.connected import one_account, sync_request_for
from tests.metrics.world import SECRETS, World
from workers.composition.container import forget_clients
from workers.errors import TransientError
from workers.telemetry import logger

ROOT = Path(__file__).resolve().parents[2]


class LambdaContext:
    """As much of Lambda's context as the handler needs."""

    function_name = "connection_sync"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-west-1:000000000000:function:connection_sync"
    aws_request_id = "a-request"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


def test_a_log_line_does_not_name_an_earlier_sync(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("supabase_url", "supabase_service_role_key", "slack_bot_token"):
        monkeypatch.setenv(name.upper(), getattr(world.settings, name))
    connection, _ = one_account(world)
    assert world.sync_all()[connection].status == "success"
    assert logger.thread_safe_get_current_keys()["connection_id"] == connection
    handler = runpy.run_path(str(ROOT / "functions/connection_sync/app.py"))["lambda_handler"]
    message = {"messageId": "1", "body": "{}", "eventSource": "aws:sqs"}
    try:
        with pytest.raises(BatchProcessingError):
            handler({"Records": [message]}, LambdaContext())
    finally:
        forget_clients()
    kept = {**logger.get_current_keys(), **logger.thread_safe_get_current_keys()}
    assert not {"sync_id", "connection_id"} & set(kept)


def test_no_secret_is_shown_anywhere(
    world: World, meta_server: HttpServer, google_server: HttpServer,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    one_account(world)
    world.google_account("5000000001", ads=[{"id": "700000000001", "name": "Banner"}])
    world.connect_google("5000000001")
    world.request(google_ad_id="700000000001")
    quoting = f"Invalid token {SECRETS[0]} (access_token={SECRETS[0]}&x=1) {SECRETS[1]}"
    reports = [world.sync_all()]
    for fault in (
        graph_error(190, None, quoting, times=1),
        graph_error(1, None, quoting, status=500, times=None),
    ):
        world.meta.faults.clear()
        world.meta.faults.add(fault)
        reports.append(world.sync_again())
    world.google.faults.add(
        google_error(
            "quotaError",
            "RESOURCE_EXHAUSTED",
            429,
            f"no {SECRETS[2]} {SECRETS[3]}",
            "9s",
            path="googleAds:searchStream",
        )
    )
    reports.append(world.sync_again())

    printed = capfd.readouterr()
    for server in (meta_server, google_server):
        for exchange in server.journal.listing():
            for secret in (*SECRETS, "access_token=", "token=EAA"):
                assert secret not in exchange["path"] + "?" + exchange["query"]
    rows = world.rows("select * from metric_sync_logs")
    states = world.rows("select * from metric_accounts, metric_connection_states")
    assert len(rows) >= 6
    for text in (printed.out, printed.err, str(rows), str(states), str(reports)):
        for secret in SECRETS:
            assert secret not in text
    assert "[redacted]" in str(rows)


def test_a_failure_that_quotes_a_secret_is_recorded_without_it(world: World) -> None:
    connection, _ = one_account(world)
    sync_request = sync_request_for(world, connection)
    call = world.database.call

    def quoting(function: str, **arguments: Any) -> Any:
        if function == "store_metric_days":
            raise TransientError(f"it broke off at {SECRETS[0]}", code="57P03")
        return call(function, **arguments)

    world.database.call = quoting  # type: ignore[method-assign]
    with pytest.raises(TransientError):
        world.sync(sync_request)
    message = world.last_log(connection)["error_message"]
    assert message.endswith("it broke off at [redacted]")
