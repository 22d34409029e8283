"""What a sync reads and writes in the database, under its token."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Literal, TypeVar

from workers.answers import read_flag
from workers.database import Database
from workers.errors import WorkerError
from workers.metrics.answers import (
    Compared,
    DerivedCounts,
    read_compared,
    read_derived_step,
    read_named_page,
)
from workers.metrics.facts import Json, Kind, Level, Named, Place
from workers.metrics.matching import PLACE, UnnamedAd, WindowRows, new_names
from workers.metrics.outcomes import SyncResult
from workers.metrics.platforms.protocol import Account, Platform

# Held by a sync and renewed whenever it stores something. Longer than its function may run.
LEASE_SECONDS = 360
LEASE = f"{LEASE_SECONDS} seconds"
# Rows per call: some hundred milliseconds each, far below the API's statement timeout (8 s).
STORE_ROWS = 5000
# Days of requests that are derived, or checked, in one call.
DERIVE_DAYS = 2000
CHECK_DAYS = 6000
LINKS_PAGE = 20_000

UnnamedMode = Literal["whole", "part", "recent"]
T = TypeVar("T")


class LeaseLost(Exception):
    """Another sync holds the account by now; nothing more is written."""


class DatabaseFailure(Exception):
    """Distinguishes the database's errors from the platform's, which have the same classes."""

    def __init__(self, error: WorkerError) -> None:
        super().__init__(str(error))
        self.error = error


class Ledger:
    """One account's, for the sync that holds it with `token`.

    Every method raises DatabaseFailure, and LeaseLost once another sync holds the account.
    `heed_deadline` is called between the steps of what takes several; `figures` are derived in
    addition to the usual ones.
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
        self.counts = DerivedCounts()

    def named_ads(self, platform: Platform, account_id: str) -> tuple[Named, bool]:
        """What is to be stored, and whether the account reported some of it before it was
        named."""
        ids: dict[Level, list[str]] = {}
        after = None
        while True:
            page = self._call(
                "load_named_ads",
                read_named_page,
                platform=platform.name,
                account_id=account_id,
                after=after,
                most=LINKS_PAGE,
            )
            for level, found in page.ids.items():
                ids.setdefault(level, []).extend(found)
            after = page.after
            if after is None:
                return Named.of(ids), page.is_newly_named

    def read_by(self, connection_id: str) -> None:
        """This connection of the account reads it from now on."""
        self._write("read_by_connection", connection_id=connection_id)

    def compare(
        self, connection_id: str, days: Mapping[date, Json], kinds: Collection[Kind]
    ) -> Compared:
        """Which of the days that were read differ from the stored ones, and how many facts of
        these kinds are stored for all of them. Unchanged days are marked as read."""
        return self._fenced(
            "compare_metric_days",
            read_compared,
            connection_id=connection_id,
            days={day.isoformat(): fields for day, fields in days.items()},
            kinds=sorted(kinds),
        )

    def store(
        self, read: WindowRows, days: Collection[date], account: Account, today: date
    ) -> None:
        """Makes the ledger of these days what was read, and then derives the figures: no figure
        shows half of a day. `today` is the account's."""
        names = new_names(read, self._names)
        for piece in _in_pieces(read, days):
            rows = read.rows_of(piece)
            first = list(islice(rows, STORE_ROWS))
            for number, part in enumerate(_parts(rows)):
                self._write("stage_metric_rows", part=number, rows=part)
            self._write(
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
        """The figures of every request whose ads the account has, on these days; correct ones are
        not touched."""
        for _ in self._figures("derive_account_days", DERIVE_DAYS, days):
            self._heed_deadline()

    def check(self, days: Collection[date]) -> Iterator[None]:
        """The same where nearly all figures are correct, a step at a time: restores what someone
        changed or deleted manually."""
        return self._figures("check_account_days", CHECK_DAYS, days)

    def _figures(self, function: str, most: int, days: Collection[date]) -> Iterator[None]:
        """The steps of one of the two, each of about `most` days of requests."""
        after = None
        while True:
            step = self._fenced(
                function,
                lambda value: read_derived_step(function, value),
                days=sorted(day.isoformat() for day in days),
                after=after,
                most=max(1, most // len(days)),
                chosen=self._chosen,
            )
            self.counts += step.counts
            after = step.after
            if after is None:
                return
            yield

    def mark(self, connection_id: str, days: Mapping[date, Json]) -> None:
        """These days are read, and their figures derived."""
        self._write(
            "mark_metric_days",
            connection_id=connection_id,
            days={day.isoformat(): fields for day, fields in days.items()},
        )

    def leave_out(self, problems: Mapping[date, str]) -> None:
        """These days could not be read, for these reasons."""
        days = {day.isoformat(): problem for day, problem in problems.items()}
        self._write("leave_out_metric_days", days=days)

    def store_unnamed(self, ads: Mapping[Place, UnnamedAd], mode: UnnamedMode) -> None:
        """What was read that no request names."""
        for part in _parts(ad.as_json() for ad in ads.values()):
            self._write("store_unnamed_ads", mode=mode, ads=part)

    def forget_unnamed(self, kept: Collection[Place] | None) -> None:
        """Deletes all of that except `kept`; with None, except what this round of syncs read."""
        places = None if kept is None else [dict(zip(PLACE, one, strict=True)) for one in kept]
        self._write("forget_unnamed_ads", kept=places)

    def end(self, result: SyncResult) -> None:
        """Writes the log and releases the account."""
        function = "end_metric_sync"
        if not self._call(
            function,
            lambda value: read_flag(function, value),
            token=self._token,
            result=result.as_json(),
        ):
            raise LeaseLost

    def _write(self, function: str, **arguments: object) -> None:
        """A fenced call that returns nothing of interest."""
        self._fenced(function, lambda _: None, **arguments)

    def _fenced(self, function: str, read: Callable[[object], T], **arguments: object) -> T:
        """A call that returns null once another sync holds the account."""

        def read_held(value: object) -> T:
            if value is None:
                raise LeaseLost
            return read(value)

        return self._call(function, read_held, token=self._token, lease=LEASE, **arguments)

    def _call(self, function: str, read: Callable[[object], T], **arguments: object) -> T:
        try:
            return read(self._database.call(function, **arguments))
        except WorkerError as error:
            raise DatabaseFailure(error) from error


def days_of(read: WindowRows, account: Account, today: date) -> dict[date, Json]:
    """What mark_metric_days takes for each day of the window; `today` is the account's."""
    return {
        day: found.as_json(json.dumps([account.currency, account.time_zone, day < today]))
        for day, found in read.days.items()
    }


def _in_pieces(read: WindowRows, days: Collection[date]) -> Iterator[list[date]]:
    """Whole days, as many as fit into a call, newest first; a day that does not fit is alone."""
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


def _parts(rows: Iterable[Json]) -> Iterator[list[Json]]:
    rest = iter(rows)
    while part := list(islice(rest, STORE_ROWS)):
        yield part
