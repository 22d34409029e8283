"""The overview, as it is served."""

from __future__ import annotations

from tests.server.console.conftest import Console


def test_the_overview_names_its_project(console: Console) -> None:
    page = console.page("/")
    assert console.stack.running.api_url in page
