from __future__ import annotations

from typing import Any

import pytest

from workers.errors import ConfigurationError, RateLimitedError, TransientError, WorkerError


@pytest.mark.parametrize(
    ("kind", "more"),
    [(TransientError, {}), (RateLimitedError, {"retry_after": 1.0}), (ConfigurationError, {})],
)
def test_an_error_has_a_sentence_and_a_code(kind: type[WorkerError], more: Any) -> None:
    error = kind("It failed.", code="x", **more)
    assert (str(error), error.code) == ("It failed.", "x")


def test_a_wait_concerns_one_destination_unless_all_are_named() -> None:
    assert not RateLimitedError("Wait.", code="x", retry_after=1.0).everywhere


def test_a_wrong_setup_needs_no_code_of_its_own() -> None:
    assert ConfigurationError("It is not set.").code == "configuration"
