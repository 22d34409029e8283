from __future__ import annotations

from typing import Any

import pytest

from tests.template.deployed import translated


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """What SAM makes of the template, conditions and all."""
    return translated()


@pytest.fixture(scope="session")
def resources(template: dict[str, Any]) -> dict[str, Any]:
    return dict(template["Resources"])
