"""Some rounds of what `make soak-serve` plays for an hour."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from local.services.proxy import proxy
from tests.conftest import LocalStack
from tests.soak.serving import Days


def test_kills_outages_restarts_and_rotations_lose_nothing(
    stack: LocalStack,
    database_stopped: Callable[[], AbstractContextManager[None]],
    tmp_path: Path,
) -> None:
    with proxy(stack.running.api_url) as gateway:
        days = Days(stack.running, database_stopped, gateway, tmp_path / "token", seed=5)
        with days.started():
            for _ in range(6):
                days.round()
            days.settle()
    assert days.counts["rounds"] == 6
