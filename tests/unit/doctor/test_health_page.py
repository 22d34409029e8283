"""Health as a page for a browser, and who gets it."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workers.composition.events import wants_page
from workers.doctor.health import assess, read_worker_health, unknown_health
from workers.doctor.health_page import HEADERS, health_page

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
# What a browser sends for a typed address.
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def found(**changes: Any) -> dict[str, Any]:
    """What worker_health returns, all healthy."""
    last = {"last_success_at": (NOW - timedelta(minutes=2)).isoformat(), "last_outcome": "drained",
            "last_error": "<b>Ava Lindqvist</b>"}  # fmt: skip
    return {
        "now": NOW.isoformat(), "first_run_at": (NOW - timedelta(days=9)).isoformat(),
        "workers": dict.fromkeys(
            ("notifications", "metrics_sync", "connection_sync", "retention"), last
        ),
        "oldest_due_seconds": 7_300.0, "due": 3, "dead": 10_000, "parked": 1, "unrouted": 0,
        "parked_connections": 2, "failing_connections": 0, **changes,
    }  # fmt: skip


def rows(page: str) -> dict[str, str]:
    """The page's tables as text."""
    pairs = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td></tr>', page)
    return {name: re.sub("<[^>]+>", "", html) for name, html in pairs}


def test_the_first_lines() -> None:
    page = health_page(assess(read_worker_health(found()), {"retention"}), NOW)
    assert "<h1>All workers are healthy</h1>" in page
    assert rows(page) == {
        "Notifications": "healthy; last success 2 minutes ago",
        "Metrics sync": "healthy; last success 2 minutes ago",
        "Retention": "switched off; last success 2 minutes ago",
        "due": "3, the oldest for 2 hours",
        "dead": "10,000 or more",
        "destinations parked": "1",
        "without a destination": "0",
        "parked": "2",
        "failing": "0",
        "last synced": "2 minutes ago",
    }


def test_an_unhealthy_worker_says_why_and_names_no_one() -> None:
    late = found(now=(NOW + timedelta(minutes=6)).isoformat())
    late["workers"]["retention"] = {"last_success_at": None, "last_outcome": None,
                                    "last_error": None}  # fmt: skip
    page = health_page(assess(read_worker_health(late)), NOW)
    assert "<h1>A worker is unhealthy</h1>" in page
    assert rows(page)["Notifications"] == (
        "unhealthy: no successful run for 5 minutes; last success 2 minutes ago"
    )
    assert rows(page)["Retention"] == "unhealthy: no successful run yet; last success never"
    assert "Lindqvist" not in page


def test_a_database_that_does_not_answer() -> None:
    page = health_page(unknown_health("the database cannot be queried: <b>"), NOW)
    assert "<h1>The workers' health is unknown</h1>" in page
    assert "the database cannot be queried: &lt;b&gt;." in page


def test_its_policy_allows_its_own_style_and_nothing_else() -> None:
    page = health_page(assess(read_worker_health(found())), NOW)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert not re.search(r"<script|\bstyle=|\b(?:src|href|action)=|\bon\w+=", page)


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (BROWSER, True),
        ("Text/HTML", True),
        ("text/html;q=0.9, application/json;q=0.5", True),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("*/*", False),
        ("text/*", False),
        ("", False),
        (None, False),
    ],
)
def test_only_browsers_get_it(accept: str | None, is_page: bool) -> None:
    assert wants_page({"headers": {"accept": accept}}) is is_page


@pytest.mark.parametrize("event", [{}, {"headers": None}, {"headers": []}])
def test_a_request_without_headers_is_not_a_browsers(event: dict[str, Any]) -> None:
    assert wants_page(event) is False
