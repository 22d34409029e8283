"""Random faults, and how often each struck."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

from local.faults import (
    Fault,
    close,
    failing,
    hang,
    rate_limited,
    redirect,
    reset,
    trickle,
    truncate,
)
from local.http_server import HttpServer
from tests.soak.tally import Tally

# Seconds after which workers in their own processes give up a call; a hanging one takes longer.
TIMEOUT_SECONDS = 0.6
HANG_SECONDS = 1.2

Kind = Callable[[], Fault]

# Unexpected JSON, with a content type that is not JSON's.
_MISLABELLED: dict[str, Any] = {
    "body": '{"status": "ok"}',
    "headers": {"Content-Type": "text/plain; charset=utf-8"},
}


def kinds(secret: str) -> list[Kind]:
    """What can go wrong between a worker and any server; some of it quotes a secret."""
    page = f"<html>Oh dear: Authorization: Bearer {secret}</html>"
    return [
        reset,
        lambda: reset(when="after"),
        close,
        lambda: close(when="after"),
        lambda: hang(HANG_SECONDS),
        lambda: hang(HANG_SECONDS, when="after"),
        truncate,
        lambda: trickle(0.4),
        lambda: trickle(3.0),
        lambda: rate_limited(1),
        lambda: rate_limited(200),
        lambda: rate_limited(None),
        lambda: rate_limited("soon"),
        lambda: failing(500, body=page),
        lambda: failing(500, when="after"),
        lambda: failing(502),
        lambda: failing(503, body=page),
        lambda: failing(504, when="after"),
        lambda: failing(200, body=page),
        lambda: failing(200, **_MISLABELLED),
        lambda: failing(200, **_MISLABELLED, when="after"),
        lambda: redirect("http://127.0.0.1:9/elsewhere"),
    ]


def spoil(
    server: HttpServer,
    rng: random.Random,
    choice: list[Kind],
    *,
    within: int = 8,
    paths: tuple[str, ...] = ("",),
) -> None:
    """Add up to four faults, single or in bursts, to the next requests for one of the paths."""
    for _ in range(rng.choice((0, 1, 2, 3, 4))):
        where: dict[str, Any] = {
            "skip": rng.choice((0, rng.randrange(within))),
            "times": rng.choice((1, 1, 1, rng.randint(2, 6))),
            "path": rng.choice(paths),
        }
        server.faults.add(dataclasses.replace(rng.choice(choice)(), **where))


def end_faults(server: HttpServer, tally: Tally) -> None:
    """Count the faults that struck, and remove them all.

    A hanging request may still take effect, so this waits until it is over: otherwise virtual time
    would overtake it, which no network does.
    """
    for fault in server.faults.listing():
        if fault["struck"]:
            tally.add("faults struck", _name(fault), fault["struck"])
            if fault["how"] == "hang" and fault["when"] == "before":
                server.pause(HANG_SECONDS)
    server.faults.clear()


def _name(fault: dict[str, Any]) -> str:
    if fault["how"] == "answer":
        form = "JSON" if fault["body"].startswith("{") else "HTML"
        form = "plain text" if "Content-Type" in fault["headers"] else form
        return f"{fault['status']} {form} {fault['when']}"
    return f"{fault['how']} {fault['when']}"
