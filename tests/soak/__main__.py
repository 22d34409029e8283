"""`make soak`: rounds of faults, kills and clean runs for as long as requested, and their counts.

Each round's seed is one more than the previous one's. `--seed` with the seed of a failed round
plays that round first.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from local.environment import isolate
from local.stack import Stack
from tests.conftest import Api
from tests.soak.ground import Ground, ground_over
from tests.soak.rounds import play
from tests.soak.tally import Tally

REPORT_SECONDS = 30.0


def main() -> int:
    """The exit status: 0, or 1 when a round broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="the first round's seed")
    options = parser.parse_args()
    isolate()
    with Stack(seed=False) as running:
        api = Api(running.api_url, running.keys, running.database_url)
        with ground_over(api) as ground:
            return _soak(ground, options.seed, options.minutes * 60)


def _soak(ground: Ground, seed: int, seconds: float) -> int:
    tally = Tally()
    begun = reported_at = time.monotonic()
    while time.monotonic() - begun < seconds:
        print(f"seed {seed}", flush=True)
        try:
            play(ground, seed, tally)
        except Exception:  # noqa: BLE001  # whatever it is, its seed is what one needs
            traceback.print_exc(file=sys.stdout)
            _report(tally, time.monotonic() - begun)
            print(f"The round of seed {seed} failed: make soak SEED={seed} plays it first")
            return 1
        seed += 1
        if time.monotonic() - reported_at >= REPORT_SECONDS:
            reported_at = time.monotonic()
            _report(tally, reported_at - begun)
    _report(tally, time.monotonic() - begun)
    return 0


def _report(tally: Tally, seconds: float) -> None:
    print(f"after {seconds:.0f} s", *tally.lines(), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
