"""A retention run: policy after policy, step after step, batch after batch, until the deadline."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

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
from workers.retention.policies import Policy, read_policies
from workers.retention.report import PolicyReport, RetentionReport
from workers.telemetry import logger

LEASE = "retention"
LEASE_SECONDS = 60.0
# Rows counted in advance, for the progress; more than that are "at least" so many.
COUNT_LIMIT = 1_000_000
# Rows on their way to the cold archive are held in memory.
COLD_ROWS = 2_000
# For reading them, some fifty calls of S3, and purging them.
COLD_SECONDS = 10.0
# The longest that one request to S3 may take, with its second try: none is begun later than that
# before the deadline.
COLD_REQUEST_SECONDS = 26.0
# Of worker_runs, for health and for looking back.
RUNS_KEPT_DAYS = 30
# A log line of progress after so many batches.
LOG_EVERY = 10
# Kept free before the deadline for what a run does last.
CLOSING_SECONDS = 12.0


# So often rows may change between being read and being purged.
COLD_TRIES = 3


class OutOfTime(Exception):
    """The deadline came before the work was done."""


class LeaseLost(OutOfTime):
    """Another run is at it by now."""


class ColdStore(Protocol):
    """Where rows are kept before they are purged."""

    # Called before each of its requests; raises what ends the store.
    heed: Callable[[], None]

    def store(self, lines: Sequence[str]) -> tuple[list[str], int]:
        """Those of the rows (as JSON texts) that are verifiably stored now, and the bytes that
        were written for it."""
        ...


# Told of a policy's figures after each batch.
Progress = Callable[[PolicyReport], None]
# Takes a batch of so many rows, past so many.
Take = Callable[[int, int], Batch]


class Retention:
    """Carries out retention_policies. Without `cold` purged rows are kept nowhere."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        cold: ColdStore | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._cold = cold
        self._progress = progress or (lambda report: None)
        self._holder = str(uuid.uuid4())
        self._renewed = 0.0
        self._deadline = 0.0
        self._last_request = 0.0

    def dry_run(self) -> RetentionReport:
        """What a run would archive and purge now, and what would go or change along with it;
        changes nothing. What cannot be counted in time is left out and said."""
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
                    archived=counted.get("to_archive", 0),
                    purged=counted.get("to_purge", 0),
                    error="; ".join(stops) or None,
                    remark="; ".join(filter(None, [policy.remark, *remarks])) or None,
                )
            )
        return report

    def run(self, deadline: float) -> RetentionReport:
        """Does what fits before `deadline`, in `clock`'s seconds; a later run goes on.

        A policy that fails is reported, the others are carried out. Raises the workers' errors
        when no policy can be read, or no call can be made.
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
            self._give_lease_back()

    def _read(self) -> tuple[datetime, list[Policy], RetentionReport]:
        found = self._database.call("list_retention_policies")
        policies, refused = read_policies(found["policies"])
        report = RetentionReport()
        for one in refused:
            logger.warning(
                "A retention policy is not carried out",
                extra={"action": "retention_refused", "policy_id": one.id, "reason": one.reason},
            )
            report.policies.append(PolicyReport(one.entity_type, "refused", error=one.reason))
        return datetime.fromisoformat(found["now"]), policies, report

    def _carry_out(self, policy: Policy, now: datetime) -> PolicyReport:
        report = PolicyReport(policy.entity_type, "complete", remark=policy.remark)
        if self._is_over:
            report.status = "unfinished"  # not even begun: there is nothing to record
            return report
        try:
            counted = self._count(policy, now)
            report.remaining = sum(counted.values()) if counted else None
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
        except Exception as error:  # noqa: BLE001 - new to us, and no matter of the other policies
            report.status = "failed"
            report.error = redact(f"{type(error).__name__}: {error}")
        self._record(report)
        return report

    def _work(self, policy: Policy, cutoffs: dict[str, str], report: PolicyReport) -> None:
        steps = _Steps(policy, report)
        if policy.entity_type == "activity_log":
            self._call(steps, "archive_activity_batch", {"cutoff": cutoffs["active_cutoff"]})
            if self._cold is None:
                self._call(steps, "purge_archived_batch", {"cutoff": cutoffs["archive_cutoff"]})
            else:
                self._purge_through(self._cold, cutoffs["archive_cutoff"], steps)
        elif policy.entity_type == "notification_queue":
            self._call(steps, "purge_notification_batch", cutoffs)
        elif policy.entity_type == "ad_metrics":
            self._call(steps, "purge_ad_metrics_batch", {"cutoff": cutoffs["archive_cutoff"]})
        else:
            self._call(steps, "purge_sync_log_batch", cutoffs)

    def _call(self, steps: _Steps, function: str, arguments: Mapping[str, str]) -> None:
        """Calls a function that takes one batch until there is nothing left for it."""

        def take(rows: int, passed_over: int) -> Batch:
            past = {"passed_over": passed_over} if passed_over else {}
            answer = self._database.call(function, **arguments, batch_size=rows, **past)
            return Batch.of(function, answer)

        counter = "archived" if function == "archive_activity_batch" else "purged"
        self._loop(function, steps, BatchSize(begin=steps.fitted(function)), take, counter)

    def _purge_through(self, cold: ColdStore, cutoff: str, steps: _Steps) -> None:
        """Purges what is in the cold archive by then."""
        step = "read_archived_activity"
        cold.heed = self._heed_last_request
        size = BatchSize(COLD_ROWS, slow=COLD_SECONDS, begin=steps.fitted(step))

        def take(rows: int, passed_over: int) -> Batch:
            return self._through(cold, cutoff, rows, passed_over, steps.report)

        passed_over = self._loop(step, steps, size, take, "purged")
        left = self._database.call(
            "count_due",
            step="purge_archived",
            active_cutoff=None,
            archive_cutoff=cutoff,
            most=passed_over + COUNT_LIMIT,
        )
        if left > passed_over:
            reason = "the cold archive has no day for them: their created_at is before the year 1"
            steps.report.stayed.append(Stayed(step, "no_day", reason, left - passed_over))

    def _through(
        self, cold: ColdStore, cutoff: str, rows: int, passed_over: int, report: PolicyReport
    ) -> Batch:
        """One batch into the cold archive, and only what is verifiably there out of the table."""
        step = "read_archived_activity"
        past = {"passed_over": passed_over} if passed_over else {}
        for _ in range(COLD_TRIES):
            lines = self._database.call(step, cutoff=cutoff, batch_size=rows, **past)
            if not lines:
                return Batch(0)
            stored, written = cold.store(lines)
            report.verified_bytes += written
            batch = Batch.of(step, self._database.call("purge_archived_lines", lines=stored))
            if batch.taken:
                return batch
        raise PermanentError(
            f"none of {len(lines)} archived rows could be purged: they changed meanwhile",
            code="rows_changed",
        )

    def _loop(
        self, step: str, steps: _Steps, size: BatchSize, take: Take, counter: str
    ) -> int:  # fmt: skip
        """Takes batches until there are no more rows; returns how many were passed over."""
        report = steps.report
        batches = passed_over = 0
        while True:
            self._heed_deadline()
            self._keep_lease()
            begun = self._clock.now()
            try:
                batch = take(size.rows, passed_over)
            except TransientError as error:
                self._after(error, size, report)
                report.batch_rows[step] = size.rows
                continue
            if batch.taken == 0:
                return passed_over
            report.batch_rows[step] = size.rows
            size.went_well(self._clock.now() - begun)
            passed_over += steps.count(batch, counter)
            self._progress(report)
            batches += 1
            if batches % LOG_EVERY == 0:
                logger.info(
                    "Retention goes on",
                    extra={"action": "retention_progress", **report.figures()},
                )

    def _after(self, error: TransientError, size: BatchSize, report: PolicyReport) -> None:
        """Waits where that may help; raises `error` when enough was tried."""
        rows = size.rows
        wait = size.failed(error.code)
        if wait is None:
            raise error
        logger.warning(
            "A batch failed and is tried again",
            extra={
                "entity_type": report.entity_type,
                "code": error.code,
                "rows": rows,
                "next_rows": size.rows,
            },
        )
        self._clock.sleep(wait)

    def _purge_runs(self) -> None:
        """Rows of worker_runs, which no policy is needed for."""
        try:
            while not self._is_over:
                purged = self._database.call(
                    "purge_worker_runs", keep=f"{RUNS_KEPT_DAYS} days", batch_size=MOST_ROWS
                )
                if purged < MOST_ROWS:
                    return
        except TransientError as error:  # they are few, and the next run comes by as well
            logger.warning("Old runs were not purged", extra={"error": redact(str(error))})

    def _count(self, policy: Policy, now: datetime) -> dict[str, int]:
        """Empty where it cannot be counted: the work does not depend on it."""
        try:
            counted: dict[str, int] = self._database.call(
                "count_retention",
                entity_type=policy.entity_type,
                **policy.cutoffs(now),
                most=COUNT_LIMIT,
            )
        except TransientError as error:
            logger.warning(
                "The rows that are due could not be counted", extra={"error": redact(str(error))}
            )
            return {}
        return counted

    def _record(self, report: PolicyReport) -> None:
        progress: dict[str, Any] = report.figures()
        progress.pop("remark", None)
        try:
            self._database.call("record_retention_progress", progress=progress)
        except TransientError as error:  # the summary and the log say it as well
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
        """Before each request to S3, which may be slow: another run shall not begin meanwhile."""
        if self._clock.now() >= min(self._last_request, self._clock.stop_at):
            raise OutOfTime
        self._keep_lease()

    def _take_lease(self) -> bool:
        self._renewed = self._clock.now()
        held = self._database.call(
            "take_worker_lease", name=LEASE, holder=self._holder, ttl=f"{LEASE_SECONDS} seconds"
        )
        return bool(held)

    def _give_lease_back(self) -> None:
        try:
            self._database.call(
                "renew_worker_lease", name=LEASE, holder=self._holder, ttl="0 seconds"
            )
        except WorkerError as error:  # it runs out by itself; what led here matters more
            logger.warning("The lease was not given back", extra={"error": redact(str(error))})

    def _keep_lease(self) -> None:
        """Renews the lease in good time; raises LeaseLost once somebody else has it."""
        if self._clock.now() - self._renewed < LEASE_SECONDS / 3:
            return
        if not self._take_lease():
            self._deadline = self._clock.now()  # nor is any other policy begun
            raise LeaseLost


class _Steps:
    """A policy under way: its report, and with how many rows each step begins."""

    def __init__(self, policy: Policy, report: PolicyReport) -> None:
        self._fitted = policy.batch_rows
        self.report = report

    def fitted(self, step: str) -> int | None:
        return self._fitted.get(step)

    def count(self, batch: Batch, counter: str) -> int:
        """Adds the batch to the report; returns how many rows are to be passed over from now on."""
        report = self.report
        setattr(report, counter, getattr(report, counter) + batch.went)
        if report.remaining is not None:
            report.remaining = max(0, report.remaining - batch.taken)
        report.stayed = merged([*report.stayed, *batch.stayed])
        return batch.taken - batch.went
