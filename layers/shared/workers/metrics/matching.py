"""Which reported rows requests name, and a summary of the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from workers.errors import WorkerError
from workers.metrics.facts import KINDS, AdDay, Json, Kind, Named, Place
from workers.metrics.windows import Window

# How much of what no request names the log lists.
UNMATCHED_EXAMPLES = 20
# How many of the days whose total differs by at least that much from what was read it lists.
DIFFERING_DAYS = 10
LEAST_DIFFERENCE = Decimal("0.01")
# The names of a place's ids.
PLACE = ("campaign_id", "ad_group_id", "ad_id")
# The measures that are summed over all rows that were read of a day, in addition to spend.
SUMMED = ("impressions", "clicks")


@dataclass(slots=True)
class UnnamedAd:
    """An ad in one of its ad groups, or an asset group or campaign without ads, that no request
    names, over the days that were read."""

    place: Place
    kind: Kind
    campaign_name: str | None
    ad_group_name: str | None
    ad_name: str | None
    currency: str | None
    spend: Decimal
    first_date: date
    last_date: date

    @classmethod
    def of(cls, row: AdDay) -> UnnamedAd:
        """From one row."""
        return cls(
            row.place, row.kind, row.campaign_name, row.ad_group_name, row.ad_name, row.currency,
            row.spend, row.day, row.day,
        )  # fmt: skip

    def add(self, other: UnnamedAd) -> None:
        """Further days of the same ad. The newest day's names apply."""
        self.spend += other.spend
        self.first_date = min(self.first_date, other.first_date)
        if other.last_date >= self.last_date:
            self.last_date = other.last_date
            self.campaign_name, self.ad_group_name = other.campaign_name, other.ad_group_name
            self.ad_name = other.ad_name

    @property
    def own_id(self) -> str:
        """Of the ad, or of the asset group or campaign: an ad in two ad groups is one ad."""
        campaign, ad_group, ad = self.place
        return ad or ad_group or campaign

    def as_example(self) -> Json:
        """Its own id and name, for the log."""
        campaign, ad_group, ad = self.place
        if ad:
            return {"ad_id": ad, "ad_name": self.ad_name}
        if ad_group:
            return {"asset_group_id": ad_group, "asset_group_name": self.ad_group_name}
        return {"campaign_id": campaign, "campaign_name": self.campaign_name}

    def as_json(self) -> Json:
        """As the database takes it."""
        return {
            **dict(zip(PLACE, self.place, strict=True)),
            "kind": self.kind,
            "campaign_name": self.campaign_name,
            "ad_group_name": self.ad_group_name,
            "ad_name": self.ad_name,
            "currency": self.currency,
            "spend": format(self.spend, "f"),
            "first_date": self.first_date.isoformat(),
            "last_date": self.last_date.isoformat(),
        }


@dataclass(slots=True)
class Day:
    """What was read of one day; `rows` are those that requests name. `spend_total` is what the
    account spent altogether (None where unknown), `spend_checked` the part of `spend_read` that it
    includes. `sums` has impressions and clicks, each if a row has them."""

    rows: list[AdDay] = field(default_factory=list)
    rows_read: int = 0
    spend_read: Decimal = field(default_factory=Decimal)
    spend_checked: Decimal = field(default_factory=Decimal)
    spend_total: Decimal | None = None
    sums: dict[str, int | Decimal] = field(default_factory=dict)

    def as_json(self, account: str) -> Json:
        """Its counts and sums, and a digest of all that is to be stored; `account` is what all of
        its rows share."""
        digest = hashlib.blake2b(account.encode(), digest_size=16)
        lines = sorted(map(_as_line, self.rows))
        digest.update("\n".join(lines).encode())
        return {
            "rows_read": self.rows_read,
            "rows_named": len(self.rows),
            "spend_read": format(self.spend_read, "f"),
            "spend_named": format(sum((row.spend for row in self.rows), Decimal()), "f"),
            "spend_total": None if self.spend_total is None else format(self.spend_total, "f"),
            **{f"{name}_read": _as_number(self.sums.get(name)) for name in SUMMED},
            "digest": digest.hexdigest(),
        }


@dataclass(slots=True)
class _Campaign:
    """A campaign's day as a whole, and what is `left` of it without its ads and asset groups."""

    whole: AdDay
    left: dict[str, int | Decimal]
    is_in_total: bool
    has_parts: bool = False

    def subtract(self, part: AdDay) -> None:
        """An ad or asset group of it."""
        self.has_parts = True
        for name in list(self.left):
            if name in part.measures:
                self.left[name] -= part.measures[name]
            else:  # what is unknown of the part is unknown of the rest
                del self.left[name]

    def rest(self) -> AdDay | None:
        """The row of what it has beyond its parts; None where that is nothing, or where the parts
        are ahead of it, as today's may be."""
        if not self.has_parts:
            return self.whole
        if not any(self.left.values()) or min(self.left.values()) < 0:
            return None
        return self.whole._replace(measures=self.left)


class WindowRows:
    """All that was read of a window by day, divided into what requests name and the rest."""

    def __init__(self, window: Window, named: Named) -> None:
        self.window = window
        self.days = {day: Day() for day in window.days}
        self.unnamed: dict[Place, UnnamedAd] = {}
        # the kinds of which all rows were read
        self.kinds: frozenset[Kind] = frozenset(KINDS)
        # the reports that could not be read, each with the reason
        self.reports_left_out: dict[str, WorkerError] = {}
        # campaigns as a whole, with what is left of them without the parts that were read
        self._campaigns: dict[tuple[date, str], _Campaign] = {}
        self._has_totals = False
        self.pages = 0
        self._named = named

    @property
    def rows_read(self) -> int:
        return sum(day.rows_read for day in self.days.values())

    @property
    def rows_named(self) -> int:
        return sum(len(day.rows) for day in self.days.values())

    @property
    def most_rows_of_a_day(self) -> int:
        return max(day.rows_read for day in self.days.values())

    def add(self, rows: Iterable[AdDay], *, is_in_total: bool = True) -> None:
        """A page, whose rows are all within the window."""
        self.pages += 1
        for row in rows:
            if row.kind == "campaign":
                whole = _Campaign(row, dict(row.measures), is_in_total)
                self._campaigns[row.day, row.campaign_id] = whole
                continue
            if self._campaigns:
                campaign = self._campaigns.get((row.day, row.campaign_id))
                if campaign is not None:
                    campaign.subtract(row)
            self._sort(row, is_in_total)

    def add_total(self, spent: Mapping[date, Decimal]) -> None:
        """What the account spent altogether on some of the days."""
        for day, amount in spent.items():
            self.days[day].spend_total = (self.days[day].spend_total or Decimal()) + amount
        self._has_totals = self._has_totals or bool(spent)

    def leave_out(self, report: str, kinds: frozenset[Kind], error: WorkerError) -> None:
        """A report could not be read: what is stored of its kinds of rows stays."""
        self.reports_left_out[report] = error
        self.kinds -= kinds

    def end(self) -> None:
        """After the last page of all reports: what campaigns have beyond their ads and asset groups
        becomes a row of its own, and a day without a total is one without spend."""
        for campaign in self._campaigns.values():
            rest = campaign.rest()
            if rest is not None:
                self._sort(rest, campaign.is_in_total)
        self._campaigns.clear()
        if self._has_totals:
            for day in self.days.values():
                day.spend_total = day.spend_total or Decimal()

    def _sort(self, row: AdDay, is_in_total: bool) -> None:
        day = self.days[row.day]
        day.rows_read += 1
        spend = row.measures.get("spend", 0)
        day.spend_read += spend
        if is_in_total:
            day.spend_checked += spend
        for name in SUMMED:
            if name in row.measures:
                day.sums[name] = day.sums.get(name, 0) + row.measures[name]
        if row in self._named:
            day.rows.append(row)
        elif row.place in self.unnamed:
            self.unnamed[row.place].add(UnnamedAd.of(row))
        else:
            self.unnamed[row.place] = UnnamedAd.of(row)

    def rows_of(self, days: Collection[date]) -> Iterator[Json]:
        """What requests name of these days, as the ledger takes it."""
        for day in sorted(days):
            yield from map(_as_json, self.days[day].rows)


@dataclass
class Tally:
    """What a sync has read, over all windows."""

    pages: int = 0
    rows: int = 0
    matched_rows: int = 0
    unnamed: dict[Place, UnnamedAd] = field(default_factory=dict)
    reports_left_out: dict[str, WorkerError] = field(default_factory=dict)
    # for each day whose total is known, what was read and the total
    spend: dict[date, tuple[Decimal, Decimal]] = field(default_factory=dict)

    def count(self, read: WindowRows) -> None:
        """Adds a window."""
        self.pages += read.pages
        self.rows += read.rows_read
        self.matched_rows += read.rows_named
        self.reports_left_out |= read.reports_left_out
        for day, found in read.days.items():
            if found.spend_total is not None:
                self.spend[day] = (found.spend_checked, found.spend_total)
        for place, ad in read.unnamed.items():
            if place in self.unnamed:
                self.unnamed[place].add(ad)
            else:
                self.unnamed[place] = ad

    @property
    def unnamed_ads(self) -> dict[tuple[Kind, str], UnnamedAd]:
        """Each once, however many ad groups it is in; those that spent most come first."""
        found: dict[tuple[Kind, str], UnnamedAd] = {}
        for one in self.unnamed.values():
            key = (one.kind, one.own_id)
            if key in found:
                found[key].add(one)
            else:
                found[key] = replace(one)
        largest = sorted(found.items(), key=lambda one: (-one[1].spend, one[0]))
        return dict(largest)

    def totals(self, today: date) -> Json:
        """JSON-able: what was read of the days before `today`, which are over, compared with what
        the platform reports for the account as a whole; the days that differ most come first."""
        over = {day: spend for day, spend in self.spend.items() if day < today}
        if not over:
            return {}
        read = sum((one for one, _ in over.values()), Decimal())
        total = sum((one for _, one in over.values()), Decimal())
        differing = {
            f"{day}": format(whole - part, "f")
            for day, (part, whole) in sorted(
                over.items(), key=lambda one: (-abs(one[1][1] - one[1][0]), one[0])
            )
            if abs(whole - part) >= LEAST_DIFFERENCE
        }
        return {
            "spend_read": format(read, "f"),
            "spend_total": format(total, "f"),
            "total_difference": format(total - read, "f"),
            "days_that_differ": dict(list(differing.items())[:DIFFERING_DAYS]),
        }

    def details(self) -> Json:
        """JSON-able, for the sync log."""
        unnamed = list(self.unnamed_ads.values())
        return {
            "pages": self.pages,
            "rows": self.rows,
            "matched_rows": self.matched_rows,
            "unmatched_ads": len(unnamed),
            "unmatched_examples": [ad.as_example() for ad in unnamed[:UNMATCHED_EXAMPLES]],
        }


def new_names(read: WindowRows, known: dict[tuple[str, str], str | None]) -> list[Json]:
    """The names of what is to be stored that `known` does not have yet; adds them to it."""
    found: list[Json] = []
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
    """All that is stored of a row, for the digest."""
    measures = "|".join([f"{name}={value}" for name, value in row.measures.items()])
    head = f"{row.campaign_id}|{row.ad_group_id}|{row.ad_id}|{row.kind}|{row.currency}"
    return f"{head}|{row.attribution}|{measures}"


def _as_json(row: AdDay) -> Json:
    """Amounts as text, so that no digit is lost."""
    return {
        "date": row.day.isoformat(),
        "campaign_id": row.campaign_id,
        "ad_group_id": row.ad_group_id,
        "ad_id": row.ad_id,
        "kind": row.kind,
        "measures": {name: _as_number(value) for name, value in row.measures.items()},
        "currency": row.currency,
        "attribution": row.attribution,
    }


def _as_number(value: int | Decimal | None) -> int | str | None:
    return format(value, "f") if isinstance(value, Decimal) else value
