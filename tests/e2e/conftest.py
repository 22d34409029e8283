from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.emulator import LambdaRuntime, lambda_runtime


@pytest.fixture(scope="session")
def runtime() -> LambdaRuntime:
    return lambda_runtime()


@pytest.fixture
def hanging_api() -> Iterator[str]:
    """The URL of a server that accepts requests and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
