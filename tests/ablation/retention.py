"""The safety mechanisms of data retention."""

from __future__ import annotations

from tests.ablation.cuts import RETENTION, WORKERS, Ablation, Cut

ARCHIVE_TESTS = "tests/integration/test_archive.py"
RETENTION_TESTS = "tests/retention/test_retention.py"
BATCH_TEST = f"{RETENTION_TESTS}::test_a_batch_takes_the_oldest_and_no_more_than_asked_for"
# Of archiving and purging activity, around the limit of a batch.
OLDEST = "where due.created_at < cutoff\n              order by due.created_at"
LOCKED = "                for update skip locked\n           ))"

ABLATIONS = (
    Ablation(
        "verified-objects",
        "verified purge: each object is read back",
        f"{ARCHIVE_TESTS}::test_what_reads_back_otherwise_was_not_stored",
        (
            Cut(
                f"{WORKERS}/retention/archive.py",
                "\n        self._verified(manifest)\n",
                "\n",
            ),
        ),
    ),
    Ablation(
        "verified-manifests",
        "verified purge: each manifest is read back",
        f"{ARCHIVE_TESTS}::test_a_manifest_that_reads_back_otherwise_was_not_stored",
        (
            Cut(
                f"{WORKERS}/retention/archive.py",
                "if self._get(manifest.key) != body:",
                "if False:",
            ),
        ),
    ),
    Ablation(
        "verified-contents",
        "verified purge: what is read back is compared",
        "tests/unit/retention/test_cold.py::test_no_byte_of_an_object_may_change",
        (
            Cut(
                f"{WORKERS}/retention/cold.py",
                "if hashlib.sha256(body).hexdigest() != manifest.sha256:",
                "if False:",
            ),
        ),
    ),
    Ablation(
        "verified-before-purge",
        "verified purge: only what is stored goes",
        f"{RETENTION_TESTS}::test_of_rows_that_were_read_only_those_that_are_stored_are_purged",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                '"purge_archived_lines", lines=stored)',
                '"purge_archived_lines", lines=lines)',
            ),
        ),
    ),
    Ablation(
        "unchanged-rows",
        "verified purge: only what is still as stored goes",
        f"{RETENTION_TESTS}::test_rows_that_changed_on_their_way_are_not_purged",
        (Cut(RETENTION, "and to_jsonb(archived)::text = kept.text"),),
    ),
    Ablation(
        "bounded-archiving",
        "bounded batches: archiving",
        f"{BATCH_TEST}[archiving]",
        (
            Cut(
                RETENTION,
                f"{OLDEST}\n              limit batch_size\n{LOCKED}\n    returning activity.id",
                f"{OLDEST}\n{LOCKED}\n    returning activity.id",
            ),
        ),
    ),
    Ablation(
        "bounded-archived",
        "bounded batches: purging archived activity",
        f"{BATCH_TEST}[archived]",
        (
            Cut(
                RETENTION,
                f"{OLDEST}\n              limit batch_size\n{LOCKED}\n    returning 1",
                f"{OLDEST}\n{LOCKED}\n    returning 1",
            ),
        ),
    ),
    Ablation(
        "bounded-notifications",
        "bounded batches: purging notifications",
        f"{BATCH_TEST}[notifications]",
        (
            Cut(
                RETENTION,
                "(due, active_cutoff, archive_cutoff)\n"
                "              order by due.created_at\n"
                "              limit batch_size\n",
                "(due, active_cutoff, archive_cutoff)\n              order by due.created_at\n",
            ),
        ),
    ),
    Ablation(
        "bounded-sync-logs",
        "bounded batches: purging sync logs",
        f"{BATCH_TEST}[sync-logs]",
        (
            Cut(
                RETENTION,
                "order by due.start_time\n              limit batch_size",
                "order by due.start_time",
            ),
        ),
    ),
    Ablation(
        "retention-deadline",
        "deadline of retention",
        f"{RETENTION_TESTS}::test_out_of_time_it_stops_and_later_runs_finish",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                "if self._clock.now() >= self._deadline:\n            raise OutOfTime",
                "pass",
            ),
        ),
    ),
    Ablation(
        "retention-lease",
        "one retention run at a time",
        f"{RETENTION_TESTS}::test_two_runs_at_once_do_the_work_once",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                'if not self._take_lease():\n            return RetentionReport("busy")',
                "self._take_lease()",
            ),
        ),
    ),
    Ablation(
        "retention-lost-lease",
        "a retention run without its lease stops",
        f"{RETENTION_TESTS}::test_a_run_that_loses_its_lease_stops",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                "if not self._take_lease():\n            raise TransientError(",
                "if not self._take_lease() and False:\n            raise TransientError(",
            ),
        ),
    ),
)
