"""Which reported rows are ours, and what there is to say about the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from workers.metrics.facts import AdDay

N = TypeVar("N", int, Decimal)

# Of the ads that no request names, so many are named in the log.
UNMATCHED_EXAMPLES = 20


@dataclass
class Tally:
    """What was read, whichever windows it came in."""

    pages: int = 0
    rows: int = 0
    matched_rows: int = 0
    unmatched_ads: set[str] = field(default_factory=set)
    examples: dict[str, str | None] = field(default_factory=dict)

    def count(self, rows: Iterable[AdDay], ours: Collection[str]) -> list[AdDay]:
        """Counts a page and returns those of its rows whose ad is among `ours`."""
        self.pages += 1
        matched = []
        for row in rows:
            self.rows += 1
            if row.ad_id in ours:
                matched.append(row)
            elif row.ad_id not in self.unmatched_ads:
                self.unmatched_ads.add(row.ad_id)
                if len(self.examples) < UNMATCHED_EXAMPLES:
                    self.examples[row.ad_id] = row.ad_name
        self.matched_rows += len(matched)
        return matched

    def details(self) -> dict[str, Any]:
        """JSON-able, for the sync log."""
        return {
            "pages": self.pages,
            "rows": self.rows,
            "matched_rows": self.matched_rows,
            "unmatched_ads": len(self.unmatched_ads),
            "unmatched_examples": [
                {"ad_id": ad_id, "ad_name": name} for ad_id, name in self.examples.items()
            ],
        }


class Batch:
    """Matched rows on their way to the ledger, one per ad, ad group and day."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, date], AdDay] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: AdDay) -> None:
        """Rows of the same ad, group and day are summed."""
        key = (row.ad_id, row.ad_group_id, row.day)
        known = self._rows.get(key)
        self._rows[key] = row if known is None else _sum(known, row)

    def take(self) -> list[dict[str, Any]]:
        """The rows as the ledger takes them, numbers as text so that no digit is lost; the
        batch is empty afterwards."""
        rows = [_as_json(row) for row in self._rows.values()]
        self._rows.clear()
        return rows


def _sum(one: AdDay, other: AdDay) -> AdDay:
    return replace(
        one,
        impressions=_plus(one.impressions, other.impressions),
        clicks=_plus(one.clicks, other.clicks),
        spend=_plus(one.spend, other.spend),
        reach=None,  # people may have seen both
    )


def _plus(one: N | None, other: N | None) -> N | None:
    """None when either is unknown."""
    return None if one is None or other is None else one + other


def _as_json(row: AdDay) -> dict[str, Any]:
    return {
        "date": row.day.isoformat(),
        "ad_id": row.ad_id,
        "ad_group_id": row.ad_group_id,
        "ad_name": row.ad_name,
        "impressions": row.impressions,
        "clicks": row.clicks,
        "spend": None if row.spend is None else format(row.spend, "f"),
        "reach": row.reach,
        "currency": row.currency,
    }
