"""What a sync reads and writes in the database, under its token."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Any, Literal

from workers.database import Database
from workers.errors import WorkerError
from workers.metrics.facts import Kind, Level, Named, Place
from workers.metrics.matching import PLACE, UnnamedAd, WindowRows, names_in
from workers.metrics.platforms.protocol import Account, Platform

# Held by a sync and renewed with everything it stores. Longer than its function may run.
LEASE_SECONDS = 360
LEASE = f"{LEASE_SECONDS} seconds"
# Rows a call: some hundred milliseconds each, far from the API's statement timeout (8 s).
STORE_ROWS = 5000
# Days of requests that are derived in one call, or checked.
DERIVE_DAYS = 2000
CHECK_DAYS = 6000
LINKS_PAGE = 20_000

FIGURES = ("created", "updated", "deleted")

UnnamedMode = Literal["whole", "part", "recent"]


class LeaseLost(Exception):
    """Somebody else has the account by now; nothing more is written."""


class DatabaseFailure(Exception):
    """Tells the database's errors from the platform's, which come by the same classes."""

    def __init__(self, error: WorkerError) -> None:
        super().__init__(str(error))
        self.error = error


class Ledger:
    """One account's, for the sync that holds it with `token`.

    Every method raises DatabaseFailure, and LeaseLost once somebody else has the account.
    `heed_deadline` is called between the steps of what takes several, `figures` are derived beyond
    the usual ones.
    """

    def __init__(
        self,
        database: Database,
        token: str,
        heed_deadline: Callable[[], None],
        figures: Sequence[str],
    ) -> None:
        self._database = database
        self._chosen = list(figures)
        self._token = token
        self._heed_deadline = heed_deadline
        self._names: dict[tuple[str, str], str | None] = {}
        self.counts = Counter(dict.fromkeys((*FIGURES, "mixed_currency_days"), 0))

    def named_ads(self, platform: Platform, account_id: str) -> tuple[Named, bool]:
        """What is to be stored, and whether the account reported some of it before it was
        named."""
        ids: dict[Level, list[str]] = {}
        after = None
        while True:
            page = self._call(
                "load_named_ads",
                platform=platform.name,
                account_id=account_id,
                after=after,
                most=LINKS_PAGE,
            )
            for level, found in page["named"].items():
                ids.setdefault(level, []).extend(found)
            after = page["after"]
            if after is None:
                return Named.of(ids), page["is_newly_named"]

    def stand_in(self, connection_id: str) -> None:
        """Another connection of the account reads it from now on."""
        self._fenced("read_by_connection", connection_id=connection_id)

    def changed_days(
        self,
        connection_id: str,
        days: Mapping[date, Mapping[str, Any]],
        kinds: Collection[Kind],
    ) -> tuple[set[date], int]:
        """Which of the days that were read are not as they stand, and how many facts of these
        kinds stand for all of them. Those that are, are marked as read."""
        compared = self._fenced(
            "compare_metric_days",
            connection_id=connection_id,
            days={day.isoformat(): told for day, told in days.items()},
            kinds=sorted(kinds),
        )
        return set(map(date.fromisoformat, compared["changed"])), int(compared["standing"])

    def store(
        self, read: WindowRows, days: Collection[date], account: Account, today: date
    ) -> None:
        """Makes the ledger of these days what was read, and then the figures: none of them shows
        half of a day. `today` is the account's."""
        names = names_in(read, self._names)
        for piece in _in_pieces(read, days):
            rows = read.rows_of(piece)
            first = list(islice(rows, STORE_ROWS))
            for number, part in enumerate(_parts(rows)):
                self._fenced("stage_metric_rows", part=number, rows=part)
            self._fenced(
                "store_metric_days",
                account={
                    "currency": account.currency,
                    "time_zone": account.time_zone,
                    "today": today.isoformat(),
                },
                days=[day.isoformat() for day in piece],
                kinds=sorted(read.kinds),
                rows=first,
                names=names,
            )
            names = []
        self.derive(days)

    def derive(self, days: Collection[date]) -> None:
        """The figures of every request that the account serves, on these days; those that are as
        they should be stay untouched."""
        for _ in self._figures("derive_account_days", DERIVE_DAYS, days):
            self._heed_deadline()

    def check(self, days: Collection[date]) -> Iterator[None]:
        """The same where hardly anything will be other than it should, a step at a time: what
        somebody changed or deleted by hand comes back."""
        return self._figures("check_account_days", CHECK_DAYS, days)

    def _figures(self, function: str, most: int, days: Collection[date]) -> Iterator[None]:
        """The steps of one of the two, each of some `most` days of requests."""
        after = None
        while True:
            step = self._fenced(
                function,
                days=sorted(day.isoformat() for day in days),
                after=after,
                most=max(1, most // len(days)),
                chosen=self._chosen,
            )
            self.counts.update({name: step[name] for name in self.counts})
            after = step["after"]
            if after is None:
                return
            yield

    def mark(self, connection_id: str, days: Mapping[date, Mapping[str, Any]]) -> None:
        """These days are read, and their figures derived."""
        self._fenced(
            "mark_metric_days",
            connection_id=connection_id,
            days={day.isoformat(): told for day, told in days.items()},
        )

    def leave_out(self, problems: Mapping[date, str]) -> None:
        """These days could not be read, for these reasons."""
        days = {day.isoformat(): problem for day, problem in problems.items()}
        self._fenced("leave_out_metric_days", days=days)

    def store_unnamed(self, ads: Mapping[Place, UnnamedAd], mode: UnnamedMode) -> None:
        """What was read that no request names."""
        for part in _parts(ad.as_json() for ad in ads.values()):
            self._fenced("store_unnamed_ads", mode=mode, ads=part)

    def forget_unnamed(self, kept: Collection[Place] | None) -> None:
        """All of that but those, or but those of this round of syncs."""
        places = None if kept is None else [dict(zip(PLACE, one, strict=True)) for one in kept]
        self._fenced("forget_unnamed_ads", kept=places)

    def end(self, result: Mapping[str, Any]) -> None:
        """Writes the log and frees the account."""
        if not self._call("end_metric_sync", token=self._token, result=result):
            raise LeaseLost

    def _fenced(self, function: str, **arguments: Any) -> Any:
        """A call that writes."""
        result = self._call(function, token=self._token, lease=LEASE, **arguments)
        if result is None:
            raise LeaseLost
        return result

    def _call(self, function: str, **arguments: Any) -> Any:
        try:
            return self._database.call(function, **arguments)
        except WorkerError as error:
            raise DatabaseFailure(error) from error


def days_of(read: WindowRows, account: Account, today: date) -> dict[date, dict[str, Any]]:
    """What is to be known of each day of the window; `today` is the account's."""
    return {
        day: told.as_json(json.dumps([account.currency, account.time_zone, day < today]))
        for day, told in read.days.items()
    }


def _in_pieces(read: WindowRows, days: Collection[date]) -> Iterator[list[date]]:
    """Whole days, as many as fit into a call, newest first; a day that does not is alone."""
    piece: list[date] = []
    rows = 0
    for day in sorted(days, reverse=True):
        more = len(read.days[day].rows)
        if piece and rows + more > STORE_ROWS:
            yield piece
            piece, rows = [], 0
        piece.append(day)
        rows += more
    if piece:
        yield piece


def _parts(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rest = iter(rows)
    while part := list(islice(rest, STORE_ROWS)):
        yield part
