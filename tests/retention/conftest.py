from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Api
from tests.retention.world import World


@pytest.fixture
def world(api: Api) -> Iterator[World]:
    made = World(api)
    yield made
    made.close()
