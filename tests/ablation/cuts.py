"""A safety mechanism and what removes it: pieces of files, named by their paths."""

from __future__ import annotations

from dataclasses import dataclass

WORKERS = "layers/shared/workers"
MIGRATIONS = "supabase/migrations"
LEASES = f"{MIGRATIONS}/20261124000200_worker_leases.sql"
DELIVERIES = f"{MIGRATIONS}/20261124000300_notification_deliveries.sql"
CLAIMS = f"{MIGRATIONS}/20261124000435_notification_claims.sql"
TAKEOVERS = f"{MIGRATIONS}/20261124000460_notification_housekeeping.sql"
OUTCOMES = f"{MIGRATIONS}/20261124000445_notification_outcomes.sql"
RECORDS = f"{MIGRATIONS}/20261124000450_notification_records.sql"
LEDGER = f"{MIGRATIONS}/20261124000700_ad_metrics.sql"
PLAN = f"{MIGRATIONS}/20261124000800_metric_plan.sql"
BEGIN = f"{MIGRATIONS}/20261124000850_metric_sync_begin.sql"
FAILURES = f"{MIGRATIONS}/20261124000855_metric_failures.sql"
END = f"{MIGRATIONS}/20261124000860_metric_sync_end.sql"
DAYS = f"{MIGRATIONS}/20261124000900_metric_days.sql"
STORE = f"{MIGRATIONS}/20261124000905_metric_ledger.sql"
KINDS = f"{MIGRATIONS}/20261124000910_metric_kinds.sql"
FIGURES = f"{MIGRATIONS}/20261124000920_metric_figures.sql"
ARCHIVE = f"{MIGRATIONS}/20261124000600_activity_archive.sql"
BATCHES = f"{MIGRATIONS}/20261124001100_retention_batches.sql"
RETENTION = f"{MIGRATIONS}/20261124001110_retention.sql"
COLD_SQL = f"{MIGRATIONS}/20261124001120_cold_archive.sql"


@dataclass(frozen=True)
class Cut:
    """A piece of a file, which occurs once, and its replacement without the mechanism."""

    file: str
    piece: str
    instead: str = ""


@dataclass(frozen=True)
class Ablation:
    """A mechanism, what removes it, and the test (a pytest node id) that has to fail."""

    name: str
    mechanism: str
    test: str
    cuts: tuple[Cut, ...]
    remark: str = ""

    def applied(self, file: str, whole: str) -> str:
        """`whole`, the text of `file`, without the mechanism."""
        for cut in self.cuts:
            if cut.file == file:
                assert whole.count(cut.piece) == 1, f"{self.name}: not once in {file}: {cut.piece}"
                whole = whole.replace(cut.piece, cut.instead)
        return whole
