"""What the ads of an account did on each day: one computed truth for the fakes of all ad platforms.

Nothing is stored. A hash of account, ad and day gives the figures, so that an account with ten
thousand ads costs nothing until it is read, and a test can compute what a fake has to report.

From an account in a fake's state this module reads:

  ads        [{"id", "name", "ad_groups": [...], "is_deleted": true}]; `ad_groups` for Google, and
             optional; `is_deleted` for Meta and TikTok, and optional; `is_reserved` for TikTok;
             `attribution` for Meta ("1d_click")
  ad_count   that many more, with generated ids and names
  campaigns  [{"id", "name", "asset_groups": [...], "is_more": true, "store": "..."}]: those without
             ads that are reported, for Google and TikTok. For Google one has asset groups, each
             with an id, and with `is_more` activity beyond them; for TikTok one is of GMV Max,
             of that shop
  restated   {"<ad>/<YYYY-MM-DD>": {"impressions", "clicks", "spend", "reach"}}: reported instead
  vanished   ["<ad>/<YYYY-MM-DD>"]: days that are no longer reported

An ad in several ad groups has figures in each. The first has those of the ad alone, the others
some of their own. What is restated for "<ad>" is for the ad as a whole and is reported in its
first ad group; "<ad group>~<ad>" means that ad group only. A campaign and an asset group have days
like an ad with their id.

Clicks lead to events: a purchase or a lead some days later, which is known from that day on and
counts within the platform's attribution window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from zlib import crc32

Platform = Literal["meta", "google", "tiktok", "linkedin"]

# One day in this many has no activity.
IDLE_ONE_IN = 9
_64_BITS = (1 << 64) - 1
# Recent results: numbered pages are cut from the same rows repeatedly.
_REMEMBERED = 100_000


class Facts(NamedTuple):
    """The figures of one ad and day, or their sum over several; money in cents."""

    impressions: int
    clicks: int
    cents: int
    reach: int

    @property
    def spend(self) -> Decimal:
        """The money in the currency's major unit, with two decimals."""
        return Decimal(self.cents).scaleb(-2)


NOTHING = Facts(0, 0, 0, 0)


class Event(NamedTuple):
    """What a click led to some days later: a purchase, in cents, or a lead. Another ad may share
    the credit: `halves` is 2 for all of it."""

    action: Literal["purchase", "lead"]
    cents: int
    delay: int
    halves: int


class More(NamedTuple):
    """What else is reported for one ad and day, or for several."""

    link_clicks: int
    video_views: int
    events: tuple[Event, ...]

    @property
    def halves(self) -> int:
        """The conversions, in halves."""
        return sum(one.halves for one in self.events)

    @property
    def half_cents(self) -> int:
        """Their value, in halves of a cent."""
        return sum(one.halves * one.cents for one in self.events)


# Days after a click within which an event counts.
WINDOWS: Mapping[Platform, int] = {"meta": 7, "google": 30, "tiktok": 7, "linkedin": 30}


class AdRecord(NamedTuple):
    """One ad, for Google in one of its ad groups, and the data of its days."""

    id: str
    name: str
    ad_group: str
    seed: int
    changes: Mapping[int, Facts | None]
    is_deleted: bool = False
    is_reserved: bool = False
    attribution: str = "7d_click"
    # if it is not an ad: its kind, its campaign and its shop
    kind: Literal["ad", "asset_group", "campaign"] = "ad"
    in_campaign: str = ""
    campaign_name: str = ""
    store: str = ""
    has_asset_groups: bool = False

    @property
    def group(self) -> str:
        """The id of its ad group, which it shares with some other ads."""
        return self.ad_group or _numbered(150_000_000_000, self.id[:-1])

    @property
    def campaign(self) -> str:
        """The id of its campaign, which it shares with more."""
        return self.in_campaign or _numbered(250_000_000_000, self.id[:-2])

    def on(self, ordinal: int) -> Facts | None:
        """The figures of a day, given as its ordinal; None when there was no activity."""
        if ordinal in self.changes:
            return self.changes[ordinal]
        return _figures(self.seed, ordinal)

    def more_on(self, ordinal: int, today: int, window: int) -> More:
        """What else is reported for a day: with the events that are known by the day `today` and
        count within `window` days."""
        facts = self.on(ordinal)
        if facts is None:
            return More(0, 0, ())
        more = _more(self.seed, ordinal, facts)
        within = min(today - ordinal, window)
        return more._replace(events=tuple(one for one in more.events if one.delay <= within))


class Several(NamedTuple):
    """Several records reported as one, such as a campaign's or an account's."""

    id: str
    name: str
    records: Sequence[AdRecord]

    def on(self, ordinal: int) -> Facts | None:
        found = [one for record in self.records if (one := record.on(ordinal)) is not None]
        return total(found) if found else None

    def more_on(self, ordinal: int, today: int, window: int) -> More:
        return summed_up(record.more_on(ordinal, today, window) for record in self.records)


def summed_up(several: Iterable[More]) -> More:
    """The sum, with all events."""
    link_clicks = video_views = 0
    events: list[Event] = []
    for one in several:
        link_clicks += one.link_clicks
        video_views += one.video_views
        events += one.events
    return More(link_clicks, video_views, tuple(events))


def facts(account_id: str, ad_id: str, day: date, ad_group: str = "") -> Facts | None:
    """What an ad did on a day if nothing is restated; None if there was no activity.

    `ad_group` is given for the second and later ad groups of an ad only.
    """
    return _figures(_seed(account_id, ad_id, ad_group), day.toordinal())


def truth(account_id: str, account: Mapping[str, Any], ad_id: str, day: date) -> Facts | None:
    """What a fake has to report for that ad and day, summed over its ad groups.

    `account` is the account's entry in the fake's state. The reach of several ad groups is
    added up, too, which no platform does.
    """
    described: dict[str, Any] = {"id": ad_id}
    for ad in account.get("ads", []):
        if str(ad["id"]) == ad_id:
            described = ad
    restated, vanished = _by_ad(account)
    records = _records_of(account_id, described, restated.get(ad_id, {}), vanished.get(ad_id, []))
    ordinal = day.toordinal()
    found = [one for record in records if (one := record.on(ordinal)) is not None]
    return total(found) if found else None


def total(several: Iterable[Facts]) -> Facts:
    """The sum of figures, field by field."""
    impressions = clicks = cents = reach = 0
    for one in several:
        impressions += one.impressions
        clicks += one.clicks
        cents += one.cents
        reach += one.reach
    return Facts(impressions, clicks, cents, reach)


def ad_records(platform: Platform, account_id: str, account: Mapping[str, Any]) -> list[AdRecord]:
    """All ads of an account in a fake's state, for Google once for each ad group."""
    restated, vanished = _by_ad(account)
    described = [*account.get("ads", []), *_generated_ads(platform, account_id, account)]
    ads = [
        record if platform != "google" or record.ad_group else _in_default_group(record)
        for ad in described
        for record in _records_of(
            account_id, ad, restated.get(str(ad["id"]), {}), vanished.get(str(ad["id"]), [])
        )
    ]
    others = [
        record._replace(
            kind="asset_group" if group else "campaign", ad_group=group, id="",
            in_campaign=str(campaign["id"]), campaign_name=str(campaign.get("name") or ""),
            store=str(campaign.get("store") or ""),
            has_asset_groups=bool(campaign.get("asset_groups")),
        )
        for campaign in account.get("campaigns") or []
        for group in _groups_of(campaign)
        for record in _records_of(
            account_id, {"id": group or campaign["id"]},
            restated.get(group or str(campaign["id"]), {}),
            vanished.get(group or str(campaign["id"]), []),
        )
    ]  # fmt: skip
    return [*ads, *others]


def _groups_of(campaign: Mapping[str, Any]) -> list[str]:
    """The asset groups of a campaign, and "" if it has activity beyond them."""
    groups = [str(group) for group in campaign.get("asset_groups") or []]
    return [*groups, ""] if campaign.get("is_more") or not groups else groups


def named_records(
    platform: Platform, account_id: str, account: Mapping[str, Any], level: str, id_: str
) -> list[AdRecord]:
    """Those of an account that belong to an ad, an ad group, an asset group or a campaign."""
    of_level: dict[str, Callable[[AdRecord], bool]] = {
        "ad": lambda one: one.id == id_,
        "ad_group": lambda one: one.kind == "ad" and one.group == id_,
        "asset_group": lambda one: one.kind == "asset_group" and one.ad_group == id_,
        "campaign": lambda one: one.campaign == id_,
    }
    return [one for one in ad_records(platform, account_id, account) if of_level[level](one)]


def generated_ad_id(platform: Platform, account_id: str, number: int) -> str:
    """The id of the `number`-th of an account's `ad_count` ads, from 1."""
    prefix, digits, places = _GENERATED_IDS[platform]
    return f"{prefix}{crc32(account_id.encode()) % 10**digits:0{digits}d}{number:0{places}d}"


# Their prefix, the digits for the account, and the digits for the number.
_GENERATED_IDS: Mapping[Platform, tuple[str, int, int]] = {
    "meta": ("2385", 6, 7),
    "google": ("7", 5, 6),
    "tiktok": ("17", 7, 7),
    "linkedin": ("1", 4, 6),
}


def _generated_ads(
    platform: Platform, account_id: str, account: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return [
        {"id": generated_ad_id(platform, account_id, number), "name": f"Ad {number}"}
        for number in range(1, int(account.get("ad_count") or 0) + 1)
    ]


def _in_default_group(record: AdRecord) -> AdRecord:
    return record._replace(ad_group=_numbered(150_000_000_000, record.id))


# What is restated of one ad: by day and ad group ("": the ad as a whole).
_Restated = dict[int, dict[str, Mapping[str, Any]]]


def _by_ad(account: Mapping[str, Any]) -> tuple[dict[str, _Restated], dict[str, list[int]]]:
    """`restated` and `vanished` of an account, for each ad that they name."""
    restated: dict[str, _Restated] = {}
    for key, figures in (account.get("restated") or {}).items():
        ad_group, ad_id, ordinal = _read_key(key)
        restated.setdefault(ad_id, {}).setdefault(ordinal, {})[ad_group] = figures
    vanished: dict[str, list[int]] = {}
    for key in account.get("vanished") or []:
        _, ad_id, ordinal = _read_key(key)
        vanished.setdefault(ad_id, []).append(ordinal)
    return restated, vanished


def _read_key(key: str) -> tuple[str, str, int]:
    """Ad group (or ""), ad and day of "<ad group>~<ad>/<YYYY-MM-DD>"."""
    ad, _, day = key.partition("/")
    ad_group, _, ad_id = ad.rpartition("~")
    return ad_group, ad_id, date.fromisoformat(day).toordinal()


def _records_of(
    account_id: str, ad: Mapping[str, Any], restated: _Restated, vanished: list[int]
) -> list[AdRecord]:
    """One record for each ad group of an ad, or one alone."""
    ad_id = str(ad["id"])
    ad_groups = [str(each) for each in ad.get("ad_groups") or [""]]
    records = []
    for number, ad_group in enumerate(ad_groups):
        seed = _seed(account_id, ad_id, ad_group if number else "")
        changes: dict[int, Facts | None] = {}
        for ordinal, by_group in restated.items():
            if ad_group in by_group and ad_group:
                changes[ordinal] = _restate(_figures(seed, ordinal), by_group[ad_group])
            elif "" in by_group:
                whole = _restate(_figures(seed, ordinal), by_group[""])
                changes[ordinal] = None if number else whole
        changes.update(dict.fromkeys(vanished, None))
        name, is_deleted = str(ad.get("name") or ad_id), bool(ad.get("is_deleted"))
        records.append(
            AdRecord(
                ad_id, name, ad_group, seed, changes, is_deleted, bool(ad.get("is_reserved")),
                str(ad.get("attribution") or "7d_click"),
            )
        )  # fmt: skip
    return records


def _restate(before: Facts | None, figures: Mapping[str, Any]) -> Facts | None:
    """The figures with some of them replaced; all zero means no activity."""
    values = dict(figures)
    if "spend" in values:
        values["cents"] = Decimal(str(values.pop("spend"))) * 100
    after = (before or NOTHING)._replace(**{name: int(value) for name, value in values.items()})
    return None if after == NOTHING else after


def _seed(account_id: str, ad_id: str, ad_group: str) -> int:
    text = f"{account_id}/{ad_id}/{ad_group}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=_REMEMBERED)
def _numbered(first: int, name: str) -> str:
    """A distinct id for each name, from `first` on."""
    return str(first + crc32(name.encode()) % 10**9)


@lru_cache(maxsize=_REMEMBERED)
def _figures(seed: int, ordinal: int) -> Facts | None:
    x, idle = divmod(_mixed(seed, ordinal), IDLE_ONE_IN)
    if not idle:
        return None
    if x & 7:
        impressions = 200 + (x >> 3) % 9800
        clicks = 1 + impressions * (5 + (x >> 20) % 40) // 1000
    else:
        impressions = 1 + (x >> 3) % 60
        clicks = 0
    cents = impressions * (300 + (x >> 30) % 1200) // 1000
    reach = impressions - impressions * ((x >> 42) % 45) // 100
    return Facts(impressions, clicks, cents, reach)


def _more(seed: int, ordinal: int, facts: Facts) -> More:
    x = _mixed(seed ^ 0xE7, ordinal)
    link_clicks = facts.clicks - facts.clicks * (x % 30) // 100
    video_views = max(facts.impressions, 0) * (x >> 5) % (max(facts.impressions, 0) + 1)
    events: list[Event] = []
    for number in range(min(facts.clicks, (x >> 20) % 6)):
        y = _mixed(x, number)
        is_purchase = bool(y & 3)
        cents = 100 + (y >> 10) % 20_000 if is_purchase else 0
        delay = (y >> 30) % 40 if y & 4 else (y >> 30) % 4
        events.append(Event("purchase" if is_purchase else "lead", cents, delay, 1 + (y >> 3) % 2))
    return More(link_clicks, video_views, tuple(events))


def _mixed(seed: int, ordinal: int) -> int:
    # splitmix64: all bits of the result depend on all bits of seed and day
    x = (seed ^ ordinal * 0x9E3779B97F4A7C15) & _64_BITS
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _64_BITS
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _64_BITS
    return x ^ x >> 31
