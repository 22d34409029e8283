from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.fake_google_ads import fake_google_ads
from local.fake_meta import fake_meta
from local.http_server import HttpServer
from tests.conftest import Api
from tests.metrics.world import World


@pytest.fixture(scope="session")
def meta_server() -> Iterator[HttpServer]:
    with fake_meta() as server:
        yield server


@pytest.fixture(scope="session")
def google_server() -> Iterator[HttpServer]:
    with fake_google_ads() as server:
        yield server


@pytest.fixture
def world(api: Api, meta_server: HttpServer, google_server: HttpServer) -> Iterator[World]:
    made = World(api, meta_server, google_server)
    yield made
    made.close()
