from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Api
from tests.notifications.world import World, world_over


@pytest.fixture
def world(api: Api) -> Iterator[World]:
    with world_over(api) as made:
        yield made
