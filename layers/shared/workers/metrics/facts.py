"""What an ad platform reports for one ad and day, in the same units for all platforms."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal, NamedTuple, Self

# What a row is about: an ad, or a reserved one, which has a report of its own; an asset group,
# whose id takes the ad group's place; or a campaign: all of it as reported, and what it has beyond
# its ads and asset groups as stored.
Kind = Literal["ad", "reservation_ad", "asset_group", "campaign"]
KINDS: tuple[Kind, ...] = ("ad", "reservation_ad", "asset_group", "campaign")
# What requests may name.
Level = Literal["ad", "ad_group", "asset_group", "campaign"]
LEVELS: tuple[Level, ...] = ("ad", "ad_group", "asset_group", "campaign")
# A JSON object that is written, to the database or a log.
Json = dict[str, object]
Measures = Mapping[str, int | Decimal]
# The measures that optional figures need beyond those that are always read.
_MADE_OF: Mapping[str, tuple[str, ...]] = {
    "conversions": ("conversions",),
    "conversion_value": ("conversion_value",),
    "cost_per_conversion": ("conversions",),
    "roas": ("conversion_value",),
    "link_clicks": ("link_clicks",),
    "video_views": ("video_views",),
    "frequency": (),
}
# Campaign, ad group (or asset group) and ad.
Place = tuple[str, str, str]


class AdDay(NamedTuple):
    """What was reported for one ad on one day.

    `measures` has the numbers by name, without those that the platform did not report; `spend` is
    in major units of `currency`. Ids are empty where the platform has no such level. `attribution`
    is the setting by which its conversions were counted, where they were asked for.
    """

    ad_id: str
    ad_name: str | None
    day: date
    measures: Measures
    currency: str | None = None
    campaign_id: str = ""
    campaign_name: str | None = None
    ad_group_id: str = ""
    ad_group_name: str | None = None
    kind: Kind = "ad"
    attribution: str | None = None

    @property
    def place(self) -> Place:
        """Where it belongs, whatever the day."""
        return self.campaign_id, self.ad_group_id, self.ad_id

    @property
    def key(self) -> tuple[date, str, str, str]:
        """What distinguishes it from every other row of its account."""
        return self.day, self.campaign_id, self.ad_group_id, self.ad_id

    @property
    def spend(self) -> Decimal:
        """Zero where it is unknown."""
        return Decimal(self.measures.get("spend", 0))


def measures_of(figures: Iterable[str]) -> frozenset[str]:
    """The measures that these figures need beyond those that are always read."""
    return frozenset(name for figure in figures for name in _MADE_OF[figure])


@dataclass(frozen=True)
class Named:
    """The ids that requests name, or once named, at each level: whose rows are stored."""

    ads: frozenset[str] = frozenset()
    ad_groups: frozenset[str] = frozenset()
    asset_groups: frozenset[str] = frozenset()
    campaigns: frozenset[str] = frozenset()

    @classmethod
    def of(cls, ids: Mapping[Level, Collection[str]]) -> Self:
        """From ids by level."""
        return cls(**{f"{level}s": frozenset(found) for level, found in ids.items()})

    def __contains__(self, row: AdDay) -> bool:
        if row.ad_id in self.ads or row.campaign_id in self.campaigns:
            return True
        groups = self.asset_groups if row.kind == "asset_group" else self.ad_groups
        return row.ad_group_id in groups
