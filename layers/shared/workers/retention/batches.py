"""How many rows a batch takes, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from workers.answers import Answer, read_whole

MOST_ROWS: Final = 10_000
# Seconds: a batch that takes longer is followed by a smaller one, a quicker one by a larger one.
SLOW: Final = 1.0
QUICK: Final = 0.3
# After this many failures in a row that a smaller batch does not help, the step fails.
MOST_FAILURES: Final = 4

# Errors after which a batch of fewer rows may succeed: the statement ran out of time, memory or
# stack, or the connection broke or refused a request of that size. Codes of the workers' errors.
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
    """A number of `rows` that could not go, all for the same reason; `example` is the id of one."""

    step: str
    code: str
    reason: str
    rows: int
    example: str | None = None

    @property
    def is_passing(self) -> bool:
        """Whether the next run may be able to take them: they were in use."""
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
    def of(cls, step: str, function: str, value: object) -> Batch:
        """As the SQL functions return it: a number, or an object where some rows stayed."""
        if not isinstance(value, dict):
            return cls(read_whole(function, value))
        answer = Answer.of(function, value)
        return cls(
            answer.whole("went"),
            tuple(
                Stayed(
                    step,
                    one.text("code"),
                    one.text("reason"),
                    one.whole("rows"),
                    one.optional_text("example"),
                )
                for one in answer.inners("stayed")
            ),
        )

    @property
    def taken(self) -> int:
        """How many rows the batch went through."""
        return self.went + sum(one.rows for one in self.stayed)


class BatchSize:
    """The number of `rows` for the next batch: from one to `most`, starting with what the last run
    managed."""

    def __init__(self, most: int = MOST_ROWS, slow: float = SLOW, begin: int | None = None) -> None:
        self._most = most
        self._slow = slow
        self._failures = 0
        self.rows = max(1, min(most, begin or most))

    def went_well(self, seconds: float) -> None:
        """The last batch succeeded in that time."""
        self._failures = 0
        if seconds > self._slow:
            self._halve()
        elif seconds < QUICK:
            self.rows = min(self._most, self.rows * 2)

    def failed(self, code: str) -> float | None:
        """The last batch failed with that code. Returns the seconds to wait before the next one,
        which is smaller where its size may be the cause; None to give up."""
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
