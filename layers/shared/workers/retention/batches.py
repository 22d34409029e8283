"""How many rows are taken at once, and what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

MOST_ROWS: Final = 10_000
# Seconds: a batch that takes longer is followed by a smaller one, a quick one by a larger one.
SLOW: Final = 1.0
QUICK: Final = 0.3
# So many failures in a row that a smaller batch does not help are enough.
MOST_FAILURES: Final = 4

# What a batch fails with where fewer rows may get through: the statement ran out of time, memory
# or stack, or the way there or back broke off or refused so much. Codes of the workers' errors.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TOO_LARGE: Final = frozenset(
    {
        "53200", "54000", "54001", "57014",
        "ReadError", "ReadTimeout", "RemoteProtocolError", "WriteError", "WriteTimeout",
        "http_413", "http_500", "http_502", "http_504", "http_524",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Stayed:
    """So many `rows` that could not go, for the same reason; `example` is the id of one."""

    step: str
    code: str
    reason: str
    rows: int
    example: str | None = None

    @property
    def is_passing(self) -> bool:
        """Whether the next run may find them gone: somebody was using them."""
        return self.code == "55P03"

    def __str__(self) -> str:
        named = f" (such as {self.example})" if self.example else ""
        return f"{self.rows} rows stay{named}: {self.reason}"


@dataclass(frozen=True)
class Batch:
    """How many rows went, and what became of those that did not."""

    went: int
    stayed: tuple[Stayed, ...] = ()

    @classmethod
    def of(cls, step: str, answer: int | Mapping[str, Any]) -> Batch:
        """From what the SQL functions return."""
        if isinstance(answer, int):
            return cls(answer)
        return cls(answer["went"], tuple(Stayed(step, **one) for one in answer["stayed"]))

    @property
    def taken(self) -> int:
        """How many rows were looked at."""
        return self.went + sum(one.rows for one in self.stayed)


class BatchSize:
    """The number of `rows` for the next batch: from one to `most`, begun with what fitted last."""

    def __init__(self, most: int = MOST_ROWS, slow: float = SLOW, begin: int | None = None) -> None:
        self._most = most
        self._slow = slow
        self._failures = 0
        self.rows = max(1, min(most, begin or most))

    def went_well(self, seconds: float) -> None:
        """The last batch took that long."""
        self._failures = 0
        if seconds > self._slow:
            self._halve()
        elif seconds < QUICK:
            self.rows = min(self._most, self.rows * 2)

    def failed(self, code: str) -> float | None:
        """The last batch came to nothing, with that code: seconds to wait before the next, which
        is a smaller one where its size may be the cause; None when enough was tried."""
        if code in _TOO_LARGE and self.rows > 1:
            self._halve()
            return 0.0
        self._failures += 1
        return None if self._failures >= MOST_FAILURES else float(2 ** (self._failures - 1))

    def _halve(self) -> None:
        self.rows = max(1, self.rows // 2)


def merged(stayed: Iterable[Stayed]) -> list[Stayed]:
    """The same, with one entry for each step and reason, in order."""
    known: dict[tuple[str, str, str], Stayed] = {}
    for one in stayed:
        key = (one.step, one.code, one.reason)
        rows = one.rows + (known[key].rows if key in known else 0)
        known[key] = replace(known.get(key, one), rows=rows)
    return list(known.values())
