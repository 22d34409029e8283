from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.metrics.facts import AdDay, Named
from workers.metrics.matching import UNMATCHED_EXAMPLES, Day, Tally, WindowRows, new_names
from workers.metrics.windows import Window

FIRST = date(2025, 1, 1)
WINDOW = Window(FIRST, date(2025, 1, 3))
AMOUNTS = st.decimals(-100, 10**6, places=6)
ROWS = st.builds(
    AdDay,
    ad_id=st.sampled_from(["1", "2", "3"]),
    ad_name=st.none() | st.text(max_size=5),
    day=st.sampled_from(WINDOW.days),
    measures=st.fixed_dictionaries(
        {}, optional={"impressions": st.integers(0, 10**12), "spend": AMOUNTS}
    ),
    campaign_id=st.sampled_from(["", "5"]),
    ad_group_id=st.sampled_from(["", "7"]),
    kind=st.just("ad"),
)


def read(rows: list[AdDay], *ours: str) -> WindowRows:
    found = WindowRows(WINDOW, Named(frozenset(ours)))
    found.add(rows)
    return found


@given(st.lists(ROWS, max_size=30), st.sets(st.sampled_from(["1", "2"])))
def test_every_row_is_stored_or_counted(rows: list[AdDay], ours: set[str]) -> None:
    found = read(rows, *ours)
    assert [row for day in WINDOW.days for row in found.days[day].rows] == [
        row for day in WINDOW.days for row in rows if row.day == day and row.ad_id in ours
    ]
    assert {ad for _, _, ad in found.unnamed} == {row.ad_id for row in rows} - ours
    assert found.rows_read == len(rows)
    assert found.rows_named == sum(row.ad_id in ours for row in rows)
    spent = sum((row.spend for row in rows), Decimal())
    assert sum((day.spend_read for day in found.days.values()), Decimal()) == spent
    named = sum((Decimal(day.as_json("")["spend_named"]) for day in found.days.values()), Decimal())
    assert named + sum((ad.spend for ad in found.unnamed.values()), Decimal()) == spent


@given(st.lists(ROWS, max_size=20, unique_by=lambda row: row.key),
       st.randoms(use_true_random=False))  # fmt: skip
def test_the_digest_of_a_day_does_not_depend_on_the_order_of_its_rows(
    rows: list[AdDay], random: Random
) -> None:
    shuffled = rows[:]
    random.shuffle(shuffled)
    for day in WINDOW.days:
        one, other = (read(some, "1", "2").days[day].as_json("") for some in (rows, shuffled))
        assert one == other


CHANGES = [
    {"measures": {"impressions": 11, "spend": Decimal("1.50")}},
    {"measures": {"impressions": 10, "spend": Decimal("1.51")}},
    {"measures": {"impressions": 10}},
    {"measures": {}},
    {"currency": "SEK"},
    {"ad_group_id": "8"},
    {"campaign_id": "8"},
    {"kind": "asset_group"},
    {"attribution": "7d_click"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_stored_value_changes_the_digest(change: dict[str, object]) -> None:
    row = AdDay("1", "Ad", FIRST, {"impressions": 10, "spend": Decimal("1.50")}, "EUR", "5")
    known = Day([row]).as_json("EUR")["digest"]
    assert Day([row._replace(**change)]).as_json("EUR")["digest"] != known  # type: ignore[arg-type]
    assert Day([row]).as_json("SEK")["digest"] != known
    assert Day([]).as_json("EUR")["digest"] != known
    renamed = row._replace(ad_name="New")
    assert Day([renamed]).as_json("EUR")["digest"] == known, "names are stored separately"


def test_what_no_request_names_is_one_row_per_ad() -> None:
    tally = Tally()
    row = AdDay("1", "Old", FIRST, {"spend": Decimal("1.50")}, "EUR", "5", "Sale")
    later = row._replace(day=FIRST + timedelta(days=2), ad_name="New")
    tally.count(read([later]))
    tally.count(read([row, row._replace(day=FIRST + timedelta(days=1))]))
    (ad,) = tally.unnamed.values()
    assert ad.as_json() == {
        "campaign_id": "5", "ad_group_id": "", "ad_id": "1", "kind": "ad",
        "campaign_name": "Sale", "ad_group_name": None, "ad_name": "New", "currency": "EUR",
        "spend": "4.50", "first_date": "2025-01-01", "last_date": "2025-01-03",
    }  # fmt: skip


def test_the_log_names_those_that_spend_most_and_counts_all() -> None:
    tally = Tally()
    rows = [AdDay(f"{n}", f"Ad {n}", FIRST, {"spend": Decimal(n)}) for n in range(100)]
    tally.count(read(rows))
    details = tally.details()
    assert details["unmatched_ads"] == 100
    assert len(details["unmatched_examples"]) == UNMATCHED_EXAMPLES
    assert details["unmatched_examples"][0] == {"ad_id": "99", "ad_name": "Ad 99"}


def test_the_log_counts_every_page() -> None:
    found = WindowRows(WINDOW, Named(frozenset({"1"})))
    for ads in ("12", "3", ""):
        found.add([AdDay(ad, None, FIRST, {}) for ad in ads])
    tally = Tally()
    tally.count(found)
    assert tally.details() == {
        "pages": 3, "rows": 3, "matched_rows": 1, "unmatched_ads": 2,
        "unmatched_examples": [{"ad_id": "2", "ad_name": None}, {"ad_id": "3", "ad_name": None}],
    }  # fmt: skip


@given(st.lists(ROWS, max_size=20))
def test_amounts_lose_no_digit(rows: list[AdDay]) -> None:
    sent = list(read(rows, "1", "2", "3").rows_of(WINDOW.days))
    assert len(sent) == len(rows)
    for row, written in zip(sorted(rows, key=lambda row: row.day), sent, strict=True):
        assert written["measures"].keys() == row.measures.keys()
        if "spend" in row.measures:
            assert isinstance(written["measures"]["spend"], str)
            assert "E" not in written["measures"]["spend"]
            assert Decimal(written["measures"]["spend"]) == row.measures["spend"]


def test_names_are_sent_once() -> None:
    row = AdDay("1", "Ad", FIRST, {}, None, "5", "Sale", "7", "Group")
    group = row._replace(ad_id="", kind="asset_group", ad_group_id="9", ad_group_name="Assets")
    known: dict[tuple[str, str], str | None] = {}
    assert new_names(read([row, group], "1", ""), known) == [
        {"level": "campaign", "id": "5", "name": "Sale"},
        {"level": "ad_group", "id": "7", "name": "Group"},
        {"level": "ad", "id": "1", "name": "Ad"},
        {"level": "asset_group", "id": "9", "name": "Assets"},
    ]
    assert new_names(read([row], "1"), known) == []


COUNTS = st.fixed_dictionaries({
    "impressions": st.integers(0, 1000), "spend": st.decimals(0, 100, places=2),
})  # fmt: skip
# For each of three campaigns and days: what its parts did, and what it did beyond them.
CAMPAIGNS = st.dictionaries(
    st.tuples(st.sampled_from(WINDOW.days), st.sampled_from("567")),
    st.tuples(st.lists(COUNTS, max_size=3), st.none() | COUNTS),
    max_size=6,
)


@given(CAMPAIGNS, st.sets(st.sampled_from("567")), st.booleans())
def test_a_campaign_and_its_parts_are_counted_once(
    reported: dict[
        tuple[date, str], tuple[list[dict[str, int | Decimal]], dict[str, int | Decimal]]
    ],
    ours: set[str],
    parts_are_ads: bool,
) -> None:
    found = WindowRows(WINDOW, Named(campaigns=frozenset(ours)))
    wholes: dict[tuple[date, str], dict[str, int | Decimal]] = {}
    rows: list[AdDay] = []
    for (day, campaign), (parts, beyond) in reported.items():
        several = [*parts, *([beyond] if beyond else [])]
        if not several:
            continue
        wholes[day, campaign] = {
            "impressions": sum(int(one["impressions"]) for one in several),
            "spend": sum((Decimal(one["spend"]) for one in several), Decimal()),
        }
        rows += [
            AdDay(f"{number}", None, day, part, None, campaign, None, "7")
            if parts_are_ads
            else AdDay("", None, day, part, None, campaign, None, f"{number}", None, "asset_group")
            for number, part in enumerate(parts)
        ]
    found.add(
        AdDay("", None, day, whole, None, campaign, kind="campaign")
        for (day, campaign), whole in wholes.items()
    )
    found.add(rows)
    found.end()
    for day in WINDOW.days:
        of_day = {campaign: whole for (on, campaign), whole in wholes.items() if on == day}
        spent = sum((Decimal(whole["spend"]) for whole in of_day.values()), Decimal())
        assert found.days[day].spend_read == found.days[day].spend_checked == spent
        for campaign in ours:
            stored = [row for row in found.days[day].rows if row.campaign_id == campaign]
            assert len({row.key for row in stored}) == len(stored)
            for name, value in of_day.get(campaign, {}).items():
                assert sum(Decimal(row.measures[name]) for row in stored) == value


def test_parts_that_are_ahead_of_their_campaign_leave_nothing() -> None:
    """As today's do, which are read after it."""
    found = WindowRows(WINDOW, Named(campaigns=frozenset("5")))
    found.add([AdDay("", None, FIRST, {"clicks": 3, "spend": Decimal(5)}, None, "5",
                     kind="campaign")])  # fmt: skip
    found.add([AdDay("1", None, FIRST, {"clicks": 2, "spend": Decimal(6)}, None, "5")])
    found.end()
    assert [row.kind for row in found.days[FIRST].rows] == ["ad"]


def test_what_is_unknown_of_a_part_is_unknown_of_the_rest() -> None:
    found = WindowRows(WINDOW, Named(campaigns=frozenset("5")))
    whole = {"clicks": 3, "video_views": 9, "spend": Decimal(5)}
    found.add([AdDay("", None, FIRST, whole, None, "5", kind="campaign")])
    found.add([AdDay("1", None, FIRST, {"clicks": 2, "spend": Decimal(1)}, None, "5")])
    found.end()
    (rest,) = [row for row in found.days[FIRST].rows if row.kind == "campaign"]
    assert rest.measures == {"clicks": 1, "spend": Decimal(4)}


def test_the_log_has_what_was_read_and_the_total_of_the_days_that_are_over() -> None:
    found = WindowRows(WINDOW, Named())
    for day, spend in zip(WINDOW.days, ("1.50", "2.00", "3.00"), strict=True):
        found.add([AdDay("1", None, day, {"spend": Decimal(spend)})])
    found.add([AdDay("2", None, FIRST, {"spend": Decimal(70)})], is_in_total=False)
    found.add_total({WINDOW.days[0]: Decimal("1.50"), WINDOW.days[2]: Decimal("9.99")})
    found.end()
    tally = Tally()
    tally.count(found)
    assert tally.totals(today=WINDOW.days[2]) == {
        "spend_read": "3.50", "spend_total": "1.50", "total_difference": "-2.00",
        "days_that_differ": {"2025-01-02": "-2.00"},
    }  # fmt: skip
    assert tally.totals(today=FIRST) == {}, "none is over"


def test_a_day_has_the_impressions_and_clicks_of_all_that_was_read() -> None:
    """Stored or not; what no row has has no sum."""
    found = WindowRows(WINDOW, Named(ads=frozenset("1")))
    found.add([AdDay("1", None, FIRST, {"impressions": 70, "spend": Decimal(1)})])
    found.add([AdDay("2", None, FIRST, {"impressions": 7, "clicks": Decimal("1.50")})])
    found.end()
    day = found.days[FIRST].as_json("")
    assert (day["impressions_read"], day["clicks_read"]) == (77, "1.50")
    other = found.days[WINDOW.days[1]].as_json("")
    assert (other["impressions_read"], other["clicks_read"]) == (None, None)


def test_without_a_total_there_is_nothing_to_compare() -> None:
    found = read([AdDay("1", None, FIRST, {"spend": Decimal(1)})])
    found.end()
    tally = Tally()
    tally.count(found)
    assert tally.totals(today=date(2026, 1, 1)) == {}


@pytest.mark.parametrize(
    ("named", "row", "is_ours"),
    [
        (Named(ads=frozenset("1")), AdDay("1", None, FIRST, {}), True),
        (Named(ad_groups=frozenset("1")), AdDay("1", None, FIRST, {}), False),
        (Named(ad_groups=frozenset("7")), AdDay("1", None, FIRST, {}, None, "5", None, "7"), True),
        (Named(asset_groups=frozenset("7")),
         AdDay("1", None, FIRST, {}, None, "5", None, "7"), False),
        (Named(asset_groups=frozenset("7")),
         AdDay("", None, FIRST, {}, None, "5", None, "7", kind="asset_group"), True),
        (Named(ad_groups=frozenset("7")),
         AdDay("", None, FIRST, {}, None, "5", None, "7", kind="asset_group"), False),
        (Named(campaigns=frozenset("5")), AdDay("", None, FIRST, {}, None, "5"), True),
    ],
)  # fmt: skip
def test_an_id_is_one_of_its_own_level(named: Named, row: AdDay, is_ours: bool) -> None:
    assert (row in named) == is_ours
