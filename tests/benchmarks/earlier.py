"""Whole accounts synced, in turns with the workers of an earlier commit.

That commit kept facts per connection, rewrote unchanged rows and read one page at a time. Its tree
and what its local stack needs are kept in `.venv-bench`; it uses our Python packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from local.stack import ROOT
from tests.benchmarks.figures import Figure
from tests.benchmarks.network import PLATFORM_LATENCY
from tests.benchmarks.sizes import Progress, Sizes

COMMIT = "d0081de"
SLOW = 0.5
TITLES = {"meta": "Meta", "google_ads": "Google Ads", "tiktok": "TikTok", "linkedin": "LinkedIn"}
# The least speed-up over the earlier commit: for a first sync, and for one with nothing new.
LEAST = {
    ("meta", PLATFORM_LATENCY): (1.6, 2.0),
    ("tiktok", PLATFORM_LATENCY): (1.6, 2.0),
    ("google_ads", PLATFORM_LATENCY): (1.6, 1.5),
    ("linkedin", PLATFORM_LATENCY): (1.6, 1.5),
    ("meta", SLOW): (2.0, 2.5),
    ("tiktok", SLOW): (2.0, 2.5),
}
WAL_SHARE = 8
DERIVING = 2.0
HOURLY = 5.0
SYNCS_A_DAY = 24


def syncs(progress: Progress, sizes: Sizes) -> list[Figure]:
    """Every platform with its usual latency; paged ones also with a high latency."""
    tree = _earlier_tree(progress) if sizes.beside else None
    figures: list[Figure] = []
    # one is enough to check that it works
    for (platform, latency), least in islice(LEAST.items(), None if tree else 1):
        request = {"platform": platform, "latency": latency, "days": sizes.days}
        request |= {"ads": sizes.ads[-1], "more": platform == "meta" and latency != SLOW}
        what = f"{TITLES[platform]} with {latency * 1000:.0f} ms"
        progress(f"{what}: ours")
        ours = _run(ROOT, request)
        earlier = None
        if tree is not None:
            progress(f"{what}: {COMMIT}'s")
            earlier = _run(tree, {**request, "more": False})
        figures += _compared(what, sizes, ours, earlier, least)
        if request["more"]:
            figures += _more(ours)
    return figures


def _run(tree: Path, request: dict[str, Any]) -> dict[str, Any]:
    """What whole_account.py reports for that tree. Raises RuntimeError if it fails."""
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("whole_account.py"))],
        env=_environment(tree),
        cwd=tree,
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if ended.returncode != 0:
        raise RuntimeError(f"the syncs failed:\n{ended.stdout}{ended.stderr}")
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def _environment(tree: Path) -> dict[str, str]:
    """An environment with its modules instead of those next to the file that runs."""
    paths = os.pathsep.join(map(str, (tree, tree / "layers" / "shared")))
    return {**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}


def _earlier_tree(progress: Progress) -> Path:
    """The files of that commit, ready to run. Raises RuntimeError if the clone lacks it."""
    tree = ROOT / ".venv-bench" / COMMIT
    if tree.exists():
        return tree
    progress(f"unpacking {COMMIT}")
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", COMMIT], capture_output=True, check=False
    )
    if packed.returncode != 0:
        raise RuntimeError(
            f"this clone has no commit {COMMIT} to compare with: git fetch --unshallow"
        )
    unpacked = tree.with_name(f"{COMMIT}-new")
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as files:
        files.extractall(unpacked, filter="data")
    subprocess.run(
        [sys.executable, "-m", "local.node", "install"],
        env=_environment(unpacked),
        cwd=unpacked,
        check=True,
        stdout=sys.stderr,
    )
    unpacked.rename(tree)
    return tree


def _compared(
    what: str,
    sizes: Sizes,
    ours: dict[str, Any],
    earlier: dict[str, Any] | None,
    least: tuple[float, float],
) -> Iterator[Figure]:
    names = (
        f"first sync of {sizes.ads[-1]:,} ads x {sizes.days} days, {what}",
        "  again, nothing changed",
    )
    for turn, name, times in zip(("first", "again"), names, least, strict=True):
        before = earlier[turn]["seconds"] if earlier else None
        yield Figure(
            name,
            ours[turn]["seconds"],
            "s",
            original=before,
            target=f"{times:g} x as fast as {COMMIT}'s",
            met=None if before is None else before >= times * ours[turn]["seconds"],
            note=_NOTE,
        )
    again = ours["again"]
    before = earlier["again"]["wal"] if earlier else None
    yield Figure(
        "  its write-ahead log",
        again["wal"] / 1e6,
        "MB",
        original=None if before is None else before / 1e6,
        target=f"at most 1/{WAL_SHARE} of {COMMIT}'s",
        met=None if before is None else again["wal"] * WAL_SHARE <= before,
    )
    yield Figure(
        "  growth of ledger and figures",
        again["growth"],
        "bytes",
        original=earlier["again"]["growth"] if earlier else None,
        target="none",
        met=again["growth"] <= 0,
        at_any_size=True,
    )


def _more(ours: dict[str, Any]) -> Iterator[Figure]:
    yield Figure(
        "  deriving all figures, in the database",
        ours["derived"],
        "s",
        floor=ours["inserted"],
        target=f"at most {DERIVING:g} x one plain insert of the same",
        met=ours["derived"] <= DERIVING * ours["inserted"],
    )
    whole, recent = ours["again"], ours["recent"]
    for kind in ("rows", "requests"):
        a_day = whole[kind] + (SYNCS_A_DAY - 1) * recent[kind]
        before = SYNCS_A_DAY * whole[kind]
        yield Figure(
            f"  {kind} a day, synced hourly",
            a_day,
            "",
            original=before,
            target=f"at least {HOURLY:g} x fewer than whole each time",
            met=before >= HOURLY * a_day,
        )


_NOTE = (
    "Whole accounts: every ad is named by a request; the data API has the latency above. In place "
    f"of the original design: the workers of {COMMIT} with their own local stack, run just after. "
    "Floor of the deriving: one insert of the same rows into the same table, with all its indexes."
)
