"""What the rounds counted, and its summary."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any


class Tally:
    """Counts by subject and kind."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, subject: str, kind: object, count: int = 1) -> None:
        """Count something; a count of zero is reported, too."""
        self._counts[subject][str(kind)] += count

    def count(self, subject: str) -> int:
        """All of a subject."""
        return self._counts[subject].total()

    def kind(self, subject: str, kind: str) -> int:
        """One kind of a subject."""
        return self._counts[subject][kind]

    def lines(self) -> list[str]:
        """A line for each subject."""
        return [
            f"  {subject:<22} " + ", ".join(f"{kind} {n}" for kind, n in sorted(counts.items()))
            for subject, counts in self._counts.items()
        ]


def assert_silent(said: Any, secrets: Iterable[str]) -> None:
    """Fail if the output contains a secret."""
    text = str(said)
    for secret in secrets:
        assert secret not in text, f"a secret, {secret[:6]}..., appears in: {_around(text, secret)}"


def _around(text: str, secret: str) -> str:
    at = text.index(secret)
    return text[max(0, at - 200) : at + 100]
