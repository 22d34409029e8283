"""Health as a page for a browser: its first lines, with no name and no text of anybody's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Any, Final

from workers.doctor.health import Health

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
# It needs nothing but itself: https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP
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
    """The whole page; it may be shown to whoever may see health itself."""
    body = health.body
    if "workers" not in body:
        title, parts = "The workers' health is not known", [f"<p>{escape(body['reason'])}.</p>"]
    else:
        title = "The workers are well" if health.status == 200 else "A worker is not well"
        parts = [
            _table(
                "Workers", (_of_worker(name, one, now) for name, one in body["workers"].items())
            ),
            _table("Queue", _of_queue(body["queue"])),
            _table("Ad accounts", _of_connections(body["connections"], now)),
        ]
    return _PAGE.format(
        title=title,
        style=_STYLE,
        parts="\n".join(parts),
        now=now.isoformat(),
        shown=f"{now:%Y-%m-%d %H:%M:%S} UTC",
    )


def _of_worker(name: str, worker: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    states = {"healthy": "well", "off": "switched off"}
    told = states.get(worker["status"]) or f"not well: {worker['reason']}"
    return _TITLES[name], f"{escape(told)}; last success {_ago(worker['lastProcessedAt'], now)}"


def _of_queue(queue: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    oldest = queue["oldestDueSeconds"]
    waited = f", the oldest for {_span(oldest)}" if oldest else ""
    yield "due", _count(queue["due"]) + waited
    yield "dead", _count(queue["dead"])
    yield "destinations parked", _count(queue["parkedDestinations"])
    yield "without a destination", _count(queue["withoutDestination"])


def _of_connections(known: Mapping[str, Any], now: datetime) -> Iterable[tuple[str, str]]:
    yield "parked", _count(known["parked"])
    yield "failing", _count(known["failing"])
    yield "last synced", _ago(known["lastSyncedAt"], now)


def _table(caption: str, rows: Iterable[tuple[str, str]]) -> str:
    """`rows` are a plain name and HTML each."""
    shown = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{html}</td></tr>' for name, html in rows
    )
    return f"<table>\n<caption>{caption}</caption>\n{shown}\n</table>"


def _ago(last: str | None, now: datetime) -> str:
    if last is None:
        return "never"
    at = datetime.fromisoformat(last)
    apart = (now - at).total_seconds()
    return f'<time datetime="{escape(at.isoformat())}">{_span(apart)} ago</time>'


def _span(seconds: float) -> str:
    for unit, size in _UNITS:
        count = int(seconds // size)
        if count >= 1:
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return "less than a second"


def _count(number: int) -> str:
    return f"{_COUNTED_TO:,} or more" if number >= _COUNTED_TO else f"{number:,}"
