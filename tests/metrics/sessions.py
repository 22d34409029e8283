"""HTTP sessions that take time, or do something before a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests

from tests.metrics.world import World


class SlowSession(requests.Session):
    """Each request takes `seconds` of the world's time."""

    def __init__(self, world: World, seconds: float) -> None:
        super().__init__()
        self._world = world
        self._seconds = seconds

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        self._world.clock.advance(self._seconds)
        return super().request(method, url, **rest)


class Between(requests.Session):
    """Does something before the first request whose parameters are such."""

    def __init__(self, act: Callable[[], None], **params: str) -> None:
        super().__init__()
        self._act: Callable[[], None] | None = act
        self._params = params

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        if self._act and self._params.items() <= rest.get("params", {}).items():
            act, self._act = self._act, None
            act()
        return super().request(method, url, **rest)
