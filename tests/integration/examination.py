"""What the doctor finds, for tests of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.conftest import LocalStack

Examine = Callable[..., tuple[int, dict[str, list[dict[str, str]]]]]


def failed(findings: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(one["text"], one["fix"]) for one in findings if one["level"] == "failed"]


def one_failure(findings: list[dict[str, str]]) -> str:
    """The text and the fix of the only failed finding."""
    ((text, fix),) = failed(findings)
    assert fix, text
    return f"{text} | {fix}"


@contextmanager
def changed(stack: LocalStack, change: str, undo: str) -> Iterator[None]:
    """A database that differs from what it should be, for a while."""
    stack.connection.execute(change.encode())
    stack.connection.execute("notify pgrst, 'reload schema'")
    try:
        yield
    finally:
        stack.connection.execute(undo.encode())
        stack.connection.execute("notify pgrst, 'reload schema'")
