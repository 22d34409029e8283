"""Which reported rows are ours, and what there is to say about the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from workers.metrics.facts import AdDay
from workers.metrics.windows import Window

# Of the ads that no request names, so many are named in the log.
UNMATCHED_EXAMPLES = 20


@dataclass(slots=True)
class UnnamedAd:
    """An ad that no request names, over the days that were read."""

    ad_id: str
    ad_name: str | None
    campaign_id: str
    campaign_name: str | None
    currency: str | None
    spend: Decimal
    first_date: date
    last_date: date

    @classmethod
    def of(cls, row: AdDay) -> UnnamedAd:
        """As one row tells of it."""
        return cls(
            row.ad_id, row.ad_name, row.campaign_id, row.campaign_name, row.currency, row.spend,
            row.day, row.day,
        )  # fmt: skip

    def add(self, other: UnnamedAd) -> None:
        """Further days of the same ad. The newest day's names hold."""
        self.spend += other.spend
        self.first_date = min(self.first_date, other.first_date)
        if other.last_date >= self.last_date:
            self.last_date = other.last_date
            self.ad_name, self.campaign_name = other.ad_name, other.campaign_name

    def as_json(self) -> dict[str, Any]:
        """As the database takes it."""
        return {
            "ad_id": self.ad_id,
            "ad_name": self.ad_name,
            "campaign_id": self.campaign_id,
            "campaign_name": self.campaign_name,
            "currency": self.currency,
            "spend": format(self.spend, "f"),
            "first_date": self.first_date.isoformat(),
            "last_date": self.last_date.isoformat(),
        }


@dataclass(slots=True)
class Day:
    """What was read of one day; `rows` are those whose ads are ours."""

    rows: list[AdDay] = field(default_factory=list)
    rows_read: int = 0
    spend_read: Decimal = field(default_factory=Decimal)

    def as_json(self, account: str) -> dict[str, Any]:
        """Its counts and sums, and a digest of all that is to be stored; `account` is what holds
        for each of its rows."""
        digest = hashlib.blake2b(account.encode(), digest_size=16)
        lines = sorted(map(_as_line, self.rows))
        digest.update("\n".join(lines).encode())
        return {
            "rows_read": self.rows_read,
            "rows_named": len(self.rows),
            "spend_read": format(self.spend_read, "f"),
            "spend_named": format(sum((row.spend for row in self.rows), Decimal()), "f"),
            "digest": digest.hexdigest(),
        }


class WindowRows:
    """All that was read of a window, sorted by day into what is ours and the rest."""

    def __init__(self, window: Window, ours: Collection[str]) -> None:
        self.window = window
        self.days = {day: Day() for day in window.days}
        self.unnamed: dict[str, UnnamedAd] = {}
        self.pages = 0
        self._ours = ours

    @property
    def rows_read(self) -> int:
        return sum(day.rows_read for day in self.days.values())

    @property
    def rows_named(self) -> int:
        return sum(len(day.rows) for day in self.days.values())

    @property
    def most_rows_of_a_day(self) -> int:
        return max(day.rows_read for day in self.days.values())

    def add(self, rows: Iterable[AdDay]) -> None:
        """A page, whose rows are all of days within the window."""
        self.pages += 1
        for row in rows:
            day = self.days[row.day]
            day.rows_read += 1
            day.spend_read += row.measures.get("spend", 0)
            if row.ad_id in self._ours:
                day.rows.append(row)
            elif row.ad_id in self.unnamed:
                self.unnamed[row.ad_id].add(UnnamedAd.of(row))
            else:
                self.unnamed[row.ad_id] = UnnamedAd.of(row)

    def rows_of(self, days: Collection[date]) -> Iterator[dict[str, Any]]:
        """What is ours of these days, as the ledger takes it."""
        for day in sorted(days):
            yield from map(_as_json, self.days[day].rows)


@dataclass
class Tally:
    """What a sync has read, whichever windows it came in."""

    pages: int = 0
    rows: int = 0
    matched_rows: int = 0
    unnamed: dict[str, UnnamedAd] = field(default_factory=dict)

    def count(self, read: WindowRows) -> None:
        """Adds a window."""
        self.pages += read.pages
        self.rows += read.rows_read
        self.matched_rows += read.rows_named
        for ad_id, ad in read.unnamed.items():
            if ad_id in self.unnamed:
                self.unnamed[ad_id].add(ad)
            else:
                self.unnamed[ad_id] = ad

    def details(self) -> dict[str, Any]:
        """JSON-able, for the sync log."""
        largest = sorted(self.unnamed.values(), key=lambda ad: (-ad.spend, ad.ad_id))
        return {
            "pages": self.pages,
            "rows": self.rows,
            "matched_rows": self.matched_rows,
            "unmatched_ads": len(self.unnamed),
            "unmatched_examples": [
                {"ad_id": ad.ad_id, "ad_name": ad.ad_name} for ad in largest[:UNMATCHED_EXAMPLES]
            ],
        }


def names_in(read: WindowRows, known: dict[tuple[str, str], str | None]) -> list[dict[str, Any]]:
    """The names of what is stored that `known` does not have yet, which has them afterwards."""
    found = []
    for row in (row for day in read.days.values() for row in day.rows):
        group = "asset_group" if row.kind == "asset_group" else "ad_group"
        for level, id_, name in (
            ("campaign", row.campaign_id, row.campaign_name),
            (group, row.ad_group_id, row.ad_group_name),
            ("ad", row.ad_id, row.ad_name),
        ):
            if id_ and (level, id_) not in known:
                known[level, id_] = name
                found.append({"level": level, "id": id_, "name": name})
    return found


def _as_line(row: AdDay) -> str:
    """All that is stored of a row, for comparison."""
    measures = "|".join([f"{name}={value}" for name, value in row.measures.items()])
    return f"{row.campaign_id}|{row.ad_group_id}|{row.ad_id}|{row.kind}|{row.currency}|{measures}"


def _as_json(row: AdDay) -> dict[str, Any]:
    """Amounts as text, so that no digit is lost."""
    return {
        "date": row.day.isoformat(),
        "campaign_id": row.campaign_id,
        "ad_group_id": row.ad_group_id,
        "ad_id": row.ad_id,
        "kind": row.kind,
        "measures": {
            name: format(value, "f") if isinstance(value, Decimal) else value
            for name, value in row.measures.items()
        },
        "currency": row.currency,
    }
