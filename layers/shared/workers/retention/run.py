"""A retention run: policy after policy, step after step, batch after batch, until the deadline."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, assert_never

from workers.answers import Answer, read_texts, read_whole
from workers.clock import Clock
from workers.database import Database
from workers.errors import (
    CredentialsError,
    PermanentError,
    TransientError,
    WorkerError,
)
from workers.redaction import redact
from workers.retention.batches import MOST_ROWS, Batch, BatchSize, Stayed, merged
from workers.retention.hazards import read_hazards
from workers.retention.policies import Cutoffs, Policy, read_policies
from workers.retention.report import Counter, PolicyReport, RetentionReport
from workers.telemetry import logger

LEASE: Final = "retention"
LEASE_SECONDS: Final = 60.0
# Rows counted in advance, for the progress; beyond that it is "at least" that many.
COUNT_LIMIT: Final = 1_000_000
# Rows on their way to the cold archive are held in memory.
COLD_ROWS: Final = 2_000
# For reading them, some fifty requests to S3, and purging them.
COLD_SECONDS: Final = 10.0
# The longest that one request to S3 may take, including its retry: none is started later than this
# before the deadline.
COLD_REQUEST_SECONDS: Final = 26.0
# How often a batch is read again because its rows changed before they could be purged.
COLD_TRIES: Final = 3
# How long worker_runs keeps its rows, for health and for looking back.
RUNS_KEPT_DAYS: Final = 30
# Batches between two log lines of progress.
LOG_EVERY: Final = 10
# Kept free before the deadline for the end of a run.
CLOSING_SECONDS: Final = 12.0


class OutOfTime(Exception):
    """The deadline came before the work was done."""


class LeaseLost(OutOfTime):
    """Another run has taken over."""


class ColdStore(Protocol):
    """Where rows are kept before they are purged."""

    # Called before each of its requests; what it raises ends the store.
    heed: Callable[[], None]

    def store(self, lines: Sequence[str]) -> tuple[list[str], int]:
        """Those of the rows (as JSON texts) that are now stored and verified, and the number of
        bytes written for that."""
        ...


# Called with a policy's figures after each batch.
Progress = Callable[[PolicyReport], None]
# Takes a batch of that many rows, skipping that many.
Take = Callable[[int, int], Batch]


@dataclass(frozen=True)
class Counted:
    """Rows that a policy would archive and purge now."""

    to_archive: int = 0
    to_purge: int = 0


class Retention:
    """Carries out retention_policies. Without `cold`, no copy of purged rows is kept."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        cold: ColdStore | None = None,
        progress: Progress | None = None,
        as_of: datetime | None = None,
    ) -> None:
        """`as_of`: what is due at that time, in the database's past; None for what is due now."""
        self._database = database
        self._clock = clock
        self._cold = cold
        self._progress = progress or (lambda report: None)
        self._as_of = as_of
        self._holder = str(uuid.uuid4())
        self._renewed = 0.0
        self._deadline = 0.0
        self._last_request = 0.0

    def dry_run(self) -> RetentionReport:
        """What a run would archive and purge now, and what else would be deleted or changed with
        it; changes nothing. What cannot be counted in time is left out, with a remark."""
        now, policies, report = self._read()
        report.outcome = "dry_run"
        hazards = read_hazards(self._database.call("retention_hazards"))
        for policy in policies:
            counted = self._count(policy, now)
            own = [one for one in hazards if one.entity_type == policy.entity_type]
            stops = [f"{one.text}: {one.fix}" for one in own if one.level == "stops"]
            remarks = [] if counted else ["the rows could not be counted in time"]
            remarks += [one.text for one in own if one.level != "stops"]
            report.policies.append(
                PolicyReport(
                    policy.entity_type,
                    "dry_run",
                    archived=counted.to_archive if counted else 0,
                    purged=counted.to_purge if counted else 0,
                    error="; ".join(stops) or None,
                    remark="; ".join(filter(None, [policy.remark, *remarks])) or None,
                )
            )
        return report

    def run(self, deadline: float) -> RetentionReport:
        """Does what fits before `deadline`, in `clock`'s seconds; a later run continues.

        A policy that fails is reported, the others are carried out. Raises the workers' errors
        when the policies cannot be read, or no call can be made.
        """
        left = deadline - self._clock.now()
        self._deadline = deadline - min(CLOSING_SECONDS, left / 4)
        self._last_request = deadline - min(COLD_REQUEST_SECONDS, left / 2)
        if not self._take_lease():
            return RetentionReport("busy")
        try:
            now, policies, report = self._read()
            for policy in policies:
                report.policies.append(self._carry_out(policy, now))
            self._purge_runs()
            report.conclude()
            return report
        finally:
            self._release_lease()

    def _read(self) -> tuple[datetime, list[Policy], RetentionReport]:
        function = "list_retention_policies"
        answer = Answer.of(function, self._database.call(function))
        policies, refused = read_policies(answer.inners("policies"))
        report = RetentionReport()
        for one in refused:
            logger.warning(
                "A retention policy is not carried out",
                extra={"action": "retention_refused", "policy_id": one.id, "reason": one.reason},
            )
            report.policies.append(PolicyReport(one.entity_type, "refused", error=one.reason))
        now = answer.time("now")
        return now if self._as_of is None else min(now, self._as_of), policies, report

    def _carry_out(self, policy: Policy, now: datetime) -> PolicyReport:
        report = PolicyReport(policy.entity_type, "complete", remark=policy.remark)
        if self._is_over:
            report.status = "unfinished"  # not even started: there is nothing to record
            return report
        try:
            counted = self._count(policy, now)
            report.remaining = counted.to_archive + counted.to_purge if counted else None
            self._work(policy, policy.cutoffs(now), report)
            report.conclude()
            if report.status == "complete":
                self._database.call("complete_retention_policies", ids=list(policy.ids))
        except OutOfTime:
            report.status = "unfinished"
        except CredentialsError:
            raise
        except WorkerError as error:
            report.status = "failed"
            report.error = redact(f"{error.code}: {error}")
        except Exception as error:  # noqa: BLE001 - unexpected, and no concern of other policies
            report.status = "failed"
            said = f"{type(error).__name__}: {error}"
            report.error = redact(f"an error in the worker itself: please report it. {said}")
        self._record(report)
        return report

    def _work(self, policy: Policy, cutoffs: Cutoffs, report: PolicyReport) -> None:
        steps = _Steps(policy, report)
        active = {"cutoff": cutoffs.active}
        archive = {"cutoff": cutoffs.archive}
        match policy.entity_type:
            case "activity_log":
                self._call(steps, "archive_activity_batch", active, "archived")
                if self._cold is None:
                    self._call(steps, "purge_archived_batch", archive)
                else:
                    self._purge_through(self._cold, cutoffs.archive, steps)
            case "notification_queue":
                self._call(steps, "purge_notification_batch", cutoffs.arguments())
            case "metric_sync_logs":
                self._call(steps, "purge_sync_log_batch", cutoffs.arguments())
            case "ad_metrics":
                self._call(steps, "purge_ad_metrics_batch", archive)
            case _:
                assert_never(policy.entity_type)

    def _call(
        self,
        steps: _Steps,
        function: str,
        cutoffs: Mapping[str, str],
        counter: Counter = "purged",
    ) -> None:
        """Calls a function that takes one batch until nothing is left for it."""

        def take(rows: int, skip: int) -> Batch:
            past = {"passed_over": skip} if skip else {}
            answer = self._database.call(function, **cutoffs, batch_size=rows, **past)
            return Batch.of(function, function, answer)

        self._loop(function, steps, BatchSize(begin=steps.fitted(function)), take, counter)

    def _purge_through(self, cold: ColdStore, cutoff: str, steps: _Steps) -> None:
        """Purges rows once they are in the cold archive."""
        step = "read_archived_activity"
        cold.heed = self._heed_last_request
        size = BatchSize(COLD_ROWS, slow=COLD_SECONDS, begin=steps.fitted(step))

        def take(rows: int, skip: int) -> Batch:
            return self._through(cold, cutoff, rows, skip, steps.report)

        skipped = self._loop(step, steps, size, take, "purged")
        due = self._database.call(
            "count_due",
            step="purge_archived",
            active_cutoff=None,
            archive_cutoff=cutoff,
            most=skipped + COUNT_LIMIT,
        )
        left = read_whole("count_due", due) - skipped
        if left > 0:
            reason = "the cold archive has no day for them: their created_at is before the year 1"
            steps.report.stayed.append(Stayed(step, "no_day", reason, left))

    def _through(
        self, cold: ColdStore, cutoff: str, rows: int, skip: int, report: PolicyReport
    ) -> Batch:
        """Stores one batch in the cold archive, and purges only what is verified to be there."""
        step, purge = "read_archived_activity", "purge_archived_lines"
        past = {"passed_over": skip} if skip else {}
        for _ in range(COLD_TRIES):
            answer = self._database.call(step, cutoff=cutoff, batch_size=rows, **past)
            lines = read_texts(step, answer)
            if not lines:
                return Batch(0)
            stored, written = cold.store(lines)
            report.verified_bytes += written
            batch = Batch.of(step, purge, self._database.call(purge, lines=stored))
            if batch.taken:
                return batch
        raise PermanentError(
            f"none of {len(lines)} archived rows could be purged: they kept changing",
            code="rows_changed",
        )

    def _loop(
        self, step: str, steps: _Steps, size: BatchSize, take: Take, counter: Counter
    ) -> int:  # fmt: skip
        """Takes batches until no rows are left; returns how many were skipped."""
        report = steps.report
        batches = skipped = 0
        while True:
            self._heed_deadline()
            self._keep_lease()
            started = self._clock.now()
            try:
                batch = take(size.rows, skipped)
            except TransientError as error:
                self._after(error, size, report)
                report.batch_rows[step] = size.rows
                continue
            if batch.taken == 0:
                return skipped
            report.batch_rows[step] = size.rows
            size.went_well(self._clock.now() - started)
            skipped += steps.count(batch, counter)
            self._progress(report)
            batches += 1
            if batches % LOG_EVERY == 0:
                logger.info(
                    "Retention continues",
                    extra={"action": "retention_progress", **report.figures()},
                )

    def _after(self, error: TransientError, size: BatchSize, report: PolicyReport) -> None:
        """Waits where that may help; raises `error` after too many failures."""
        rows = size.rows
        wait = size.failed(error.code)
        if wait is None:
            raise error
        logger.warning(
            "A batch failed and is retried",
            extra={
                "entity_type": report.entity_type,
                "code": error.code,
                "rows": rows,
                "next_rows": size.rows,
            },
        )
        self._clock.sleep(wait)

    def _purge_runs(self) -> None:
        """Purges worker_runs, which needs no policy."""
        function = "purge_worker_runs"
        try:
            while not self._is_over:
                answer = self._database.call(
                    function, keep=f"{RUNS_KEPT_DAYS} days", batch_size=MOST_ROWS
                )
                if read_whole(function, answer) < MOST_ROWS:
                    return
        except TransientError as error:  # they are few, and the next run tries again
            logger.warning("Old runs were not purged", extra={"error": redact(str(error))})

    def _count(self, policy: Policy, now: datetime) -> Counted | None:
        """None where it cannot be counted: the work does not depend on it."""
        function = "count_retention"
        try:
            value = self._database.call(
                function,
                entity_type=policy.entity_type,
                **policy.cutoffs(now).arguments(),
                most=COUNT_LIMIT,
            )
        except TransientError as error:
            logger.warning(
                "The rows that are due could not be counted", extra={"error": redact(str(error))}
            )
            return None
        answer = Answer.of(function, value)
        return Counted(answer.whole("to_archive"), answer.whole("to_purge"))

    def _record(self, report: PolicyReport) -> None:
        progress = report.figures()
        progress.pop("remark", None)
        try:
            self._database.call("record_retention_progress", progress=progress)
        except TransientError as error:  # the summary and the log have it as well
            logger.warning(
                "The progress could not be recorded", extra={"error": redact(str(error))}
            )

    @property
    def _is_over(self) -> bool:
        return self._clock.now() >= min(self._deadline, self._clock.stop_at)

    def _heed_deadline(self) -> None:
        if self._is_over:
            raise OutOfTime

    def _heed_last_request(self) -> None:
        """Before each request to S3, which may be slow: the lease must not expire meanwhile."""
        if self._clock.now() >= min(self._last_request, self._clock.stop_at):
            raise OutOfTime
        self._keep_lease()

    def _take_lease(self) -> bool:
        self._renewed = self._clock.now()
        function = "take_worker_lease"
        held = self._database.call(
            function, name=LEASE, holder=self._holder, ttl=f"{LEASE_SECONDS} seconds"
        )
        return bool(Answer.each(function, held))

    def _release_lease(self) -> None:
        try:
            self._database.call(
                "renew_worker_lease", name=LEASE, holder=self._holder, ttl="0 seconds"
            )
        except WorkerError as error:  # it expires anyway; the error that led here matters more
            logger.warning("The lease was not released", extra={"error": redact(str(error))})

    def _keep_lease(self) -> None:
        """Renews the lease in good time; raises LeaseLost once another run has it."""
        if self._clock.now() - self._renewed < LEASE_SECONDS / 3:
            return
        if not self._take_lease():
            self._deadline = self._clock.now()  # nor is any other policy started
            raise LeaseLost


class _Steps:
    """A policy in progress: its report, and with how many rows each step starts."""

    def __init__(self, policy: Policy, report: PolicyReport) -> None:
        self._fitted = policy.batch_rows
        self.report = report

    def fitted(self, step: str) -> int | None:
        return self._fitted.get(step)

    def count(self, batch: Batch, counter: Counter) -> int:
        """Adds the batch to the report; returns how many more rows are to be skipped from now
        on."""
        report = self.report
        report.count(counter, batch.went)
        if report.remaining is not None:
            report.remaining = max(0, report.remaining - batch.taken)
        report.stayed = merged([*report.stayed, *batch.stayed])
        return batch.taken - batch.went
