"""What the benchmarks measure, and the table that shows it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

COLUMNS = ("figure", "ours", "floor", "ratio", "original", "times faster", "target", "ok")


@dataclass(frozen=True)
class Figure:
    """One line of the table; None where a column does not apply.

    `floor`: the least that pace, network or database allow, measured or computed in the same
    run. `original`: the original design's value, one notification at a time.
    """

    name: str
    ours: float
    unit: str
    floor: float | None = None
    original: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""
    at_any_size: bool = False

    @property
    def ratio(self) -> float | None:
        """Ours over the floor."""
        return self.ours / self.floor if self.floor else None

    @property
    def times_faster(self) -> float | None:
        """The original design's value over ours."""
        return self.original / self.ours if self.original is not None and self.ours else None

    def at_small_size(self) -> Figure:
        """Without a target that is meaningless at this size."""
        return self if self.at_any_size else replace(self, target="", met=None)

    def as_json(self) -> dict[str, Any]:
        """For comparing with later runs."""
        return {**asdict(self), "ratio": self.ratio, "times_faster": self.times_faster}

    def row(self) -> tuple[str, ...]:
        """The texts below `COLUMNS`."""
        return (
            self.name,
            _quantity(self.ours, self.unit),
            _quantity(self.floor, self.unit),
            _number(self.ratio),
            _quantity(self.original, self.unit),
            _number(self.times_faster),
            self.target,
            {None: "", True: "yes", False: "NO"}[self.met],
        )


def show(figures: Sequence[Figure]) -> None:
    """The table and its notes on stdout: coloured in a terminal, plain elsewhere."""
    if sys.stdout.isatty():
        _show_rich(figures)
    else:
        _show_plain(figures)
    notes = dict.fromkeys(figure.note for figure in figures if figure.note)
    print("\n" + "\n".join(notes))


def _show_rich(figures: Sequence[Figure]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if 1 <= number <= 5 else "left")
    for figure in figures:
        table.add_row(*figure.row(), style="red" if figure.met is False else None)
    Console().print(table)


def _show_plain(figures: Sequence[Figure]) -> None:
    rows = [COLUMNS, *(figure.row() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            text.rjust(width) if 1 <= number <= 5 else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _quantity(value: float | None, unit: str) -> str:
    return "" if value is None else f"{_number(value)} {unit}".rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.{3 if abs(value) < 10 else 1}f}"
