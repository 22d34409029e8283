"""Lists that are read a page at a time."""

from __future__ import annotations

from collections.abc import Mapping

from workers.answers import Answer


def read_key(answer: Answer, name: str) -> Mapping[str, str] | None:
    """The key of a page's last row, as texts by the names of the query; None at the list's end."""
    return None if answer.optional_inner(name) is None else answer.texts_by_name(name)
