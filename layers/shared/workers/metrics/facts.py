"""What an ad platform says of one ad and day, in one unit policy for all platforms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Literal, NamedTuple

# What a row is about: an ad, or an asset group, whose id stands in the ad group's place.
Kind = Literal["ad", "asset_group"]
Measures = Mapping[str, int | Decimal]


class AdDay(NamedTuple):
    """What was reported for one ad on one day.

    `measures` has the numbers by name, without those of which the platform said nothing; `spend`
    is in major units of `currency`. Ids are empty where the platform has no such level.
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

    @property
    def key(self) -> tuple[date, str, str, str]:
        """What tells it from every other row of its account."""
        return self.day, self.campaign_id, self.ad_group_id, self.ad_id

    @property
    def spend(self) -> Decimal:
        """Zero where it is not known."""
        return Decimal(self.measures.get("spend", 0))
