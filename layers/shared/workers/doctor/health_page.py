"""Health as a page for a browser, without names or texts of any user."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Final, assert_never

from workers.doctor.health import Health, Waiting, WorkerHealth, WorkerState

_COUNTED_TO: Final = 10_000
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_TITLES: Final = {
    "notifications": "Notifications",
    "metrics_sync": "Metrics sync",
    "retention": "Retention",
}
_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 0 0 1.5rem; }
caption { text-align: left; font-weight: 600; }
th, td { text-align: left; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid #8888; }
th { font-weight: 400; }
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# The page needs no other resource: https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP
HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{parts}
<p>As of <time datetime="{now}">{shown}</time>.</p>
</main>
</body>
</html>
"""


def health_page(health: Health, now: datetime) -> str:
    """The whole page; anyone who may see health may see it."""
    found = health.found
    if found is None:
        title, parts = "The workers' health is unknown", [f"<p>{escape(health.reason or '')}.</p>"]
    else:
        title = "All workers are healthy" if health.status == 200 else "A worker is unhealthy"
        parts = [
            _table("Workers", (_of_worker(name, one, now) for name, one in health.workers.items())),
            _table("Queue", _of_queue(found.queue)),
            _table("Ad accounts", _of_connections(found, now)),
        ]
    return _PAGE.format(
        title=title,
        style=_STYLE,
        parts="\n".join(parts),
        now=now.isoformat(),
        shown=f"{now:%Y-%m-%d %H:%M:%S} UTC",
    )


def _of_worker(name: str, worker: WorkerState, now: datetime) -> tuple[str, str]:
    return _TITLES[name], f"{escape(_words(worker))}; last success {_ago(worker.succeeded_at, now)}"


def _words(worker: WorkerState) -> str:
    match worker.status:
        case "healthy":
            return "healthy"
        case "off":
            return "switched off"
        case "unhealthy":
            return f"unhealthy: {worker.reason}"
        case _:
            assert_never(worker.status)


def _of_queue(queue: Waiting) -> Iterable[tuple[str, str]]:
    oldest = queue.oldest_due_seconds
    waited = f", the oldest for {_span(oldest)}" if oldest else ""
    yield "due", _count(queue.due) + waited
    yield "dead", _count(queue.dead)
    yield "destinations parked", _count(queue.parked_destinations)
    yield "without a destination", _count(queue.without_destination)


def _of_connections(found: WorkerHealth, now: datetime) -> Iterable[tuple[str, str]]:
    yield "parked", _count(found.parked_connections)
    yield "failing", _count(found.failing_connections)
    yield "last synced", _ago(found.workers["connection_sync"].succeeded_at, now)


def _table(caption: str, rows: Iterable[tuple[str, str]]) -> str:
    """Each row is a plain name and HTML."""
    shown = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{html}</td></tr>' for name, html in rows
    )
    return f"<table>\n<caption>{caption}</caption>\n{shown}\n</table>"


def _ago(last: datetime | None, now: datetime) -> str:
    if last is None:
        return "never"
    apart = (now - last).total_seconds()
    return f'<time datetime="{last.isoformat()}">{_span(apart)} ago</time>'


def _span(seconds: float) -> str:
    for unit, size in _UNITS:
        count = int(seconds // size)
        if count >= 1:
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return "less than a second"


def _count(number: int) -> str:
    return f"{_COUNTED_TO:,} or more" if number >= _COUNTED_TO else f"{number:,}"
