"""Chromium, and a console over the sample agency in which every worker has run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from local.environment import of_stack
from local.invoke import invoke, scheduled_event
from tests.browser.chromium import Visit, chromium, found, visit
from tests.conftest import LocalStack, SampleStack
from tests.server.console.conftest import Console, serving
from workers.composition.container import forget_clients


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if found() is None:
        pytest.skip("there is no Chromium on PATH")
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def console(sample_stack: SampleStack) -> Iterator[Console]:
    """One for all tests of a module: each adds what it needs and removes nothing."""
    sample_stack.reset()
    for function in ("notifications", "metrics_sync", "retention"):
        invoke(function, scheduled_event(function), of_stack(sample_stack.running))
    with sample_stack.connect() as connection, pytest.MonkeyPatch.context() as patch:
        stack = LocalStack(sample_stack.running, connection)
        for name, value in stack.environment().items():  # for the doctor
            patch.setenv(name, value)
        forget_clients()
        with serving(stack) as made:
            yield made
    forget_clients()


@pytest.fixture(scope="module")
def visitor(browser: Browser, console: Console) -> Iterator[Visit]:
    """A browser with a session, for all tests of a module: to start one takes seconds."""
    with visit(browser, console.url) as made:
        made.sign_in(console.sign_in_url())
        yield made


@pytest.fixture
def seen(visitor: Visit) -> Iterator[Visit]:
    """A browser with a session, on the first page."""
    visitor.go("/")
    yield visitor
    visitor.leave()
