from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.metrics.facts import AdDay
from workers.metrics.matching import UNMATCHED_EXAMPLES, Batch, Tally

COUNTS = st.none() | st.integers(0, 10**12)
ROWS = st.builds(
    AdDay,
    ad_id=st.sampled_from(["1", "2", "3"]),
    ad_name=st.none() | st.text(max_size=5),
    day=st.dates(date(2025, 1, 1), date(2025, 1, 3)),
    impressions=COUNTS,
    clicks=COUNTS,
    spend=st.none() | st.decimals(0, 10**6, places=6),
    reach=COUNTS,
    ad_group_id=st.sampled_from(["", "7"]),
)


def totals(rows: list[AdDay]) -> dict[tuple[str, str, str], tuple[object, ...]]:
    batch = Batch()
    for row in rows:
        batch.add(row)
    return {
        (row["ad_id"], row["ad_group_id"], row["date"]): (
            row["impressions"], row["clicks"],
            None if row["spend"] is None else Decimal(row["spend"]),
        )
        for row in batch.take()
    }  # fmt: skip


@given(st.lists(ROWS, max_size=20), st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_the_order(rows: list[AdDay], random: Random) -> None:
    shuffled = rows[:]
    random.shuffle(shuffled)
    assert totals(rows) == totals(shuffled)


@given(ROWS)
def test_money_loses_no_digit_on_its_way(row: AdDay) -> None:
    batch = Batch()
    batch.add(row)
    (taken,) = batch.take()
    assert len(batch) == 0
    assert taken["spend"] is None or (
        isinstance(taken["spend"], str) and Decimal(taken["spend"]) == row.spend
    )


@given(st.lists(ROWS, max_size=30), st.sets(st.sampled_from(["1", "2"])))
def test_every_row_is_ours_or_counted(rows: list[AdDay], ours: set[str]) -> None:
    tally = Tally()
    matched = tally.count(rows, ours)
    assert matched == [row for row in rows if row.ad_id in ours]
    assert tally.unmatched_ads == {row.ad_id for row in rows} - ours
    assert tally.rows == len(rows)
    assert tally.matched_rows == len(matched)


def test_the_log_names_some_and_counts_all() -> None:
    tally = Tally()
    day = date(2025, 1, 1)
    tally.count([AdDay(f"{n}", f"Ad {n}", day, 1, 1, None, None) for n in range(100)], ())
    told = tally.details()
    assert told["unmatched_ads"] == 100
    assert len(told["unmatched_examples"]) == UNMATCHED_EXAMPLES
    assert told["unmatched_examples"][0] == {"ad_id": "0", "ad_name": "Ad 0"}


def test_the_log_counts_every_page() -> None:
    tally = Tally()
    day = date(2025, 1, 1)
    pages = [[AdDay(ad, None, day, 1, 1, None, None) for ad in ads] for ads in ("12", "13", "")]
    assert [len(tally.count(page, {"1"})) for page in pages] == [1, 1, 0]
    assert tally.details() == {
        "pages": 3, "rows": 4, "matched_rows": 2, "unmatched_ads": 2,
        "unmatched_examples": [{"ad_id": "2", "ad_name": None}, {"ad_id": "3", "ad_name": None}],
    }  # fmt: skip


def test_rows_of_one_ad_and_day_are_one_and_no_reach_is_made_up() -> None:
    day = date(2025, 1, 2)
    one = AdDay("1", "Ad", day, 10, 2, Decimal("1.50"), 7, "EUR", "9")
    batch = Batch()
    batch.add(one)
    assert batch.take() == [
        {
            "date": "2025-01-02", "ad_id": "1", "ad_group_id": "9", "ad_name": "Ad",
            "impressions": 10, "clicks": 2, "spend": "1.50", "reach": 7, "currency": "EUR",
        }
    ]  # fmt: skip
    batch.add(one)
    batch.add(replace(one, impressions=5, clicks=4, spend=Decimal("1E+2"), reach=1))
    assert len(batch) == 1
    (summed,) = batch.take()
    assert summed == {
        "date": "2025-01-02", "ad_id": "1", "ad_group_id": "9", "ad_name": "Ad",
        "impressions": 15, "clicks": 6, "spend": "101.50", "reach": None, "currency": "EUR",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["impressions", "clicks", "spend"])
def test_a_sum_with_something_unknown_is_unknown(name: str) -> None:
    one = AdDay("1", None, date(2025, 1, 2), 1, 1, Decimal(1), 1)
    for known, other in ((one, replace(one, **{name: None})), (replace(one, **{name: None}), one)):
        batch = Batch()
        batch.add(known)
        batch.add(other)
        (summed,) = batch.take()
        sums = {"impressions": 2, "clicks": 2, "spend": "2"}
        assert {key: summed[key] for key in sums} == {**sums, name: None}


def test_money_is_told_without_an_exponent() -> None:
    batch = Batch()
    batch.add(AdDay("1", None, date(2025, 1, 2), None, None, Decimal("1E+3"), None))
    assert batch.take()[0]["spend"] == "1000"
