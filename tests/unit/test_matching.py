from __future__ import annotations

from datetime import date
from decimal import Decimal
from random import Random

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


def test_the_log_names_some_and_counts_all() -> None:
    tally = Tally()
    day = date(2025, 1, 1)
    tally.count([AdDay(f"{n}", f"Ad {n}", day, 1, 1, None, None) for n in range(100)], ())
    told = tally.details()
    assert told["unmatched_ads"] == 100
    assert len(told["unmatched_examples"]) == UNMATCHED_EXAMPLES
    assert told["unmatched_examples"][0] == {"ad_id": "0", "ad_name": "Ad 0"}
