"""How many rows are taken at once: as many as the database does in good time."""

from __future__ import annotations

MOST_ROWS = 10_000
LEAST_ROWS = 100
# Seconds: a batch that takes longer is followed by a smaller one, a quick one by a larger one.
SLOW = 1.0
QUICK = 0.3
# So many failures in a row, each with a smaller batch, are enough.
MOST_FAILURES = 4


class BatchSize:
    """The number of `rows` for the next batch."""

    def __init__(self, most: int = MOST_ROWS, slow: float = SLOW) -> None:
        self._most = most
        self._slow = slow
        self._failures = 0
        self.rows = most

    def went_well(self, seconds: float) -> None:
        """The last batch took that long."""
        self._failures = 0
        if seconds > self._slow:
            self._halve()
        elif seconds < QUICK:
            self.rows = min(self._most, self.rows * 2)

    def failed(self) -> float | None:
        """The last batch came to nothing: seconds to wait before a smaller one; None when
        enough was tried."""
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            return None
        self._halve()
        return float(2 ** (self._failures - 1))

    def _halve(self) -> None:
        self.rows = max(min(LEAST_ROWS, self._most), self.rows // 2)
