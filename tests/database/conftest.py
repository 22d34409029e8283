"""An empty agency, and a run that drains its queue."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.database.agency import Agency
from tests.database.runs import Run


@pytest.fixture
def agency(db: psycopg.Connection[Any]) -> Agency:
    return Agency(db)


@pytest.fixture
def run(agency: Agency) -> Run:
    """With the lease, from NOW on."""
    started = Run(agency)
    assert started.start()["acquired"]
    return started
