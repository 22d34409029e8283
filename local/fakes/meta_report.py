"""What the fake Meta reports: the rows of an insights request, in Graph's units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from local.fakes.ad_facts import AdRecord, Facts, More, summed_up, total


class Subject(Protocol):
    """The subject of a row: an ad, or the account as a whole."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    def on(self, ordinal: int) -> Facts | None: ...

    def more_on(self, ordinal: int, today: int, window: int) -> More: ...


@dataclass(frozen=True)
class Report:
    """The requested report: subjects x slices; those without activity have no row.

    A position is a number below `size`: all slices of the first subject, then the second's. The
    cost of a page does not depend on how many there are.
    """

    account: Mapping[str, str]
    subjects: Sequence[Subject]
    slices: Sequence[tuple[int, int]]
    fields: Sequence[str]
    least_impressions: int
    last_day: int

    @property
    def size(self) -> int:
        """One more than the last position."""
        return len(self.subjects) * len(self.slices)

    @property
    def key(self) -> str:
        """The same for all pages of a report; differs between days, accounts and levels."""
        return f"{self.account['account_id']}/{self.size}/{self.slices[:1]}/{self.slices[-1:]}"

    def page(self, start: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        """At most `limit` rows from position `start` on, and the position of the next row."""
        rows: list[dict[str, Any]] = []
        for position in range(start, self.size):
            number, which = divmod(position, len(self.slices))
            found = self._facts(self.subjects[number], *self.slices[which])
            if found is None:
                continue
            if len(rows) == limit:
                return rows, position
            rows.append(self._row(self.subjects[number], found, *self.slices[which]))
        return rows, self.size

    def _facts(self, subject: Subject, first: int, last: int) -> Facts | None:
        last = min(last, self.last_day)
        if first == last:
            found = subject.on(first)
        else:
            days = [one for day in range(first, last + 1) if (one := subject.on(day)) is not None]
            found = _summed(days)
        if found is None or found.impressions < self.least_impressions:
            return None
        return found

    def _row(self, subject: Subject, found: Facts, first: int, last: int) -> dict[str, Any]:
        row: dict[str, Any] = {}
        more = self._more(subject, first, last)
        for name in self.fields:
            value: str | list[dict[str, str]] | None
            if name in FURTHER:
                value = FURTHER[name](more)
            else:
                value = METRICS[name](found) if name in METRICS else self._dimension(name, subject)
            if value:  # an empty list of actions is left out
                row[name] = value
        row["date_start"] = date.fromordinal(first).isoformat()
        row["date_stop"] = date.fromordinal(last).isoformat()
        return row

    def _more(self, subject: Subject, first: int, last: int) -> More:
        if not FURTHER.keys() & set(self.fields):
            return More(0, 0, ())
        days = range(first, min(last, self.last_day) + 1)
        setting = subject.attribution if isinstance(subject, AdRecord) else "7d_click"
        window = int(setting.partition("d_")[0])
        return summed_up(subject.more_on(day, self.last_day, window) for day in days)

    def _dimension(self, name: str, subject: Subject) -> str | None:
        if name in self.account:
            return self.account[name]
        if isinstance(subject, AdRecord):
            return _AD_DIMENSIONS[name](subject)
        return None


def _summed(days: list[Facts]) -> Facts | None:
    """Several days in one row: its reach is less than the days' sum, as some people come again."""
    if not days:
        return None
    summed = total(days)
    reach = max(*(day.reach for day in days), summed.reach * 3 // 5, 0)
    return summed._replace(reach=reach)


def _decimal(numerator: int, denominator: int) -> str:
    """A quotient with at most six decimals, as Graph writes them."""
    if not denominator:
        return "0"
    whole, rest = divmod((2_000_000 * numerator + denominator) // (2 * denominator), 10**6)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)


METRICS: dict[str, Callable[[Facts], str | None]] = {
    "impressions": lambda facts: str(facts.impressions),
    "clicks": lambda facts: str(facts.clicks),
    "spend": lambda facts: f"{facts.cents / 100:.2f}" if facts.cents else "0",
    "reach": lambda facts: str(facts.reach),
    "frequency": lambda facts: _decimal(facts.impressions, facts.reach),
    "ctr": lambda facts: _decimal(100 * facts.clicks, facts.impressions),
    "cpm": lambda facts: _decimal(10 * facts.cents, facts.impressions),
    "cpc": lambda facts: _decimal(facts.cents, 100 * facts.clicks) if facts.clicks else None,
}
_AD_DIMENSIONS: dict[str, Callable[[AdRecord], str]] = {
    "ad_id": lambda ad: ad.id,
    "ad_name": lambda ad: ad.name,
    "adset_id": lambda ad: ad.group,
    "adset_name": lambda ad: f"Ad set {ad.group}",
    "campaign_id": lambda ad: ad.campaign,
    "campaign_name": lambda ad: f"Campaign {ad.campaign}",
    "attribution_setting": lambda ad: ad.attribution,
}


def _actions(more: More) -> list[dict[str, str]]:
    """Each event by its own type and by the types that include it, as AdsActionStats."""
    counts = {"link_click": more.link_clicks, "video_view": more.video_views}
    for event in more.events:
        for kind in _TYPES[event.action]:
            counts[kind] = counts.get(kind, 0) + 1
    return [{"action_type": kind, "value": str(count)} for kind, count in counts.items() if count]


def _action_values(more: More) -> list[dict[str, str]]:
    cents = sum(event.cents for event in more.events)
    if not cents:
        return []
    return [
        {"action_type": kind, "value": f"{cents // 100}.{cents % 100:02d}"}
        for kind in _TYPES["purchase"]
    ]


_TYPES = {
    "purchase": ("omni_purchase", "purchase", "offsite_conversion.fb_pixel_purchase"),
    "lead": ("lead", "onsite_conversion.lead_grouped"),
}
FURTHER: dict[str, Callable[[More], str | list[dict[str, str]]]] = {
    "inline_link_clicks": lambda more: str(more.link_clicks),
    "actions": _actions,
    "action_values": _action_values,
}
DIMENSIONS = (*_AD_DIMENSIONS, "account_id", "account_name", "account_currency")
DATES = ("date_start", "date_stop")
