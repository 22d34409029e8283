"""HTTP sessions that take time, or do something before a request."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from io import BytesIO
from typing import Any

import requests
from urllib3 import HTTPResponse

from tests.metrics.world import World
from workers.metrics.windows import Window


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


class Spoilt(requests.Session):
    """What `spoil` makes (status and body) of the responses to requests for rows, given their
    days; None leaves them unchanged."""

    def __init__(self, spoil: Callable[[Window], tuple[int, str] | None]) -> None:
        super().__init__()
        self._spoil = spoil

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        response = super().request(method, url, **rest)
        window = days_asked(f"{url} {rest.get('params')} {rest.get('json')}")
        spoilt = window and self._spoil(window)
        if spoilt:
            response.status_code, body = spoilt
            response.raw.close()
            response.raw = HTTPResponse(BytesIO(body.encode()), preload_content=False)
        return response


def days_asked(request: str) -> Window | None:
    """The days that a request for rows names, in whichever platform's form."""
    days = [date.fromisoformat(day) for day in re.findall(r"20\d\d-\d\d-\d\d", request)]
    days += [
        date(*map(int, parts)) for parts in re.findall(r"year:(\d+),month:(\d+),day:(\d+)", request)
    ]
    return Window(min(days), max(days)) if days else None
