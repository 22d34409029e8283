"""What an ad platform says of one ad and day, in one unit policy for all platforms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class AdDay:
    """What was reported for one ad on one day; None where the platform said nothing.

    `spend` is in major units of `currency`. `ad_group_id` is empty where an ad has one group.
    """

    ad_id: str
    ad_name: str | None
    day: date
    impressions: int | None
    clicks: int | None
    spend: Decimal | None
    reach: int | None
    currency: str | None = None
    ad_group_id: str = ""
