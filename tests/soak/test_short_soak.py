"""Some rounds of `make soak` in every test run."""

from __future__ import annotations

from tests.conftest import Api
from tests.soak.ground import ground_over
from tests.soak.rounds import PLAYS, play
from tests.soak.tally import Tally

FIRST_SEED = 300
ROUNDS_OF_EACH = 2
# Rounds that once broke a promise. What they play changes with the soak, so they may no longer do
# so; each broken promise also has its own tests.
ONCE_BROKEN = (90210, 55560)


def test_a_few_rounds_keep_every_promise(api: Api) -> None:
    tally = Tally()
    with ground_over(api) as ground:
        for seed in (*ONCE_BROKEN, *range(FIRST_SEED, FIRST_SEED + ROUNDS_OF_EACH * len(PLAYS))):
            play(ground, seed, tally)
    assert tally.count("rounds") == len(ONCE_BROKEN) + ROUNDS_OF_EACH * len(PLAYS)
    assert tally.count("faults struck") > 0
    assert tally.kind("notifications", "lost") == tally.kind("duplicates", "unmarked") == 0
