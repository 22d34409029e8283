from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.emulator import LambdaRuntime, lambda_runtime


@pytest.fixture(scope="session")
def runtime() -> Iterator[LambdaRuntime]:
    with lambda_runtime() as built:
        yield built
