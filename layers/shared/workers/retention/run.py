"""A retention run: policy after policy, batch after batch, until the deadline."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
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
from workers.retention.batches import MOST_ROWS, BatchSize
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
# Of worker_runs, for health and for looking back.
RUNS_KEPT_DAYS = 30
# A log line of progress after so many batches.
LOG_EVERY = 10
# Kept free before the deadline for what a run does last.
CLOSING_SECONDS = 12.0


class OutOfTime(Exception):
    """The deadline came before the work was done."""


class ColdStore(Protocol):
    """Where rows are kept before they are purged."""

    def store(self, lines: Sequence[str]) -> tuple[list[str], int]:
        """Those of the rows (as JSON texts) that are verifiably stored now, and the bytes that
        were written for it."""
        ...


# Told of a policy's figures after each batch.
Progress = Callable[[PolicyReport], None]


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

    def dry_run(self) -> RetentionReport:
        """What a run would archive and purge now; changes nothing."""
        now, policies, report = self._read()
        report.outcome = "dry_run"
        for policy in policies:
            counted = self._count(policy, now)
            report.policies.append(
                PolicyReport(
                    policy.entity_type,
                    "dry_run",
                    archived=counted["to_archive"],
                    purged=counted["to_purge"],
                    remark=policy.remark,
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
        if self._clock.now() >= self._deadline:
            report.status = "unfinished"  # not even begun: there is nothing to record
            return report
        try:
            self._work(policy, now, report)
            self._database.call("complete_retention_policies", ids=list(policy.ids))
            report.remaining = 0
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

    def _work(self, policy: Policy, now: datetime, report: PolicyReport) -> None:
        counted = self._count(policy, now)
        report.remaining = counted["to_archive"] + counted["to_purge"]
        cutoffs = policy.cutoffs(now)
        if policy.entity_type == "activity_log":
            self._archive_activity(cutoffs, report)
            self._purge_archive(cutoffs["archive_cutoff"], report)
        elif policy.entity_type == "notification_queue":
            self._in_batches("purge_notification_batch", cutoffs, report, "purged")
        elif policy.entity_type == "ad_metrics":
            arguments = {"cutoff": cutoffs["archive_cutoff"]}
            self._in_batches("purge_ad_metrics_batch", arguments, report, "purged")
        else:
            self._in_batches("purge_sync_log_batch", cutoffs, report, "purged")

    def _archive_activity(self, cutoffs: dict[str, str], report: PolicyReport) -> None:
        arguments = {"cutoff": cutoffs["active_cutoff"]}
        self._in_batches("archive_activity_batch", arguments, report, "archived")

    def _purge_archive(self, cutoff: str, report: PolicyReport) -> None:
        if self._cold is None:
            self._in_batches("purge_archived_batch", {"cutoff": cutoff}, report, "purged")
        else:
            cold = self._cold
            size = BatchSize(COLD_ROWS, slow=COLD_SECONDS)
            self._loop(size, lambda rows: self._through(cold, cutoff, rows, report), report)

    def _in_batches(
        self, function: str, arguments: dict[str, str], report: PolicyReport, counter: str
    ) -> None:
        """Calls a function that takes one batch until there is nothing left for it."""

        def one(rows: int) -> int:
            taken = int(self._database.call(function, **arguments, batch_size=rows))
            setattr(report, counter, getattr(report, counter) + taken)
            return taken

        self._loop(BatchSize(), one, report)

    def _through(self, cold: ColdStore, cutoff: str, rows: int, report: PolicyReport) -> int:
        """One batch into the cold archive, and only what is verifiably there out of the table."""
        lines = self._database.call("read_archived_activity", cutoff=cutoff, batch_size=rows)
        if not lines:
            return 0
        stored, written = cold.store(lines)
        purged = int(self._database.call("purge_archived_lines", lines=stored))
        report.verified_bytes += written
        report.purged += purged
        if purged == 0:  # else it would go on for ever
            raise PermanentError(
                f"none of {len(lines)} archived rows could be purged: they changed meanwhile",
                code="rows_changed",
            )
        return purged

    def _loop(self, size: BatchSize, take: Callable[[int], int], report: PolicyReport) -> None:
        batches = 0
        while True:
            self._heed_deadline()
            self._keep_lease()
            begun = self._clock.now()
            try:
                taken = take(size.rows)
            except TransientError as error:
                wait = size.failed()
                if wait is None:
                    raise
                logger.warning(
                    "A batch failed; a smaller one follows",
                    extra={
                        "entity_type": report.entity_type,
                        "code": error.code,
                        "rows": size.rows,
                    },
                )
                self._clock.sleep(wait)
                continue
            size.went_well(self._clock.now() - begun)
            if report.remaining is not None:
                report.remaining = max(0, report.remaining - taken)
            self._progress(report)
            if taken == 0:
                return
            batches += 1
            if batches % LOG_EVERY == 0:
                logger.info(
                    "Retention goes on",
                    extra={"action": "retention_progress", **report.figures()},
                )

    def _purge_runs(self) -> None:
        """Rows of worker_runs, which no policy is needed for."""
        try:
            while self._clock.now() < self._deadline:
                purged = self._database.call(
                    "purge_worker_runs", keep=f"{RUNS_KEPT_DAYS} days", batch_size=MOST_ROWS
                )
                if purged < MOST_ROWS:
                    return
        except TransientError as error:  # they are few, and the next run comes by as well
            logger.warning("Old runs were not purged", extra={"error": redact(str(error))})

    def _count(self, policy: Policy, now: datetime) -> dict[str, int]:
        counted: dict[str, int] = self._database.call(
            "count_retention",
            entity_type=policy.entity_type,
            **policy.cutoffs(now),
            most=COUNT_LIMIT,
        )
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

    def _heed_deadline(self) -> None:
        if self._clock.now() >= self._deadline:
            raise OutOfTime

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
        """Renews the lease in good time; raises TransientError once somebody else has it."""
        if self._clock.now() - self._renewed < LEASE_SECONDS / 3:
            return
        if not self._take_lease():
            raise TransientError("another retention run took over", code="lease_lost")
