"""The safety mechanisms of data retention."""

from __future__ import annotations

from tests.ablation.cuts import ARCHIVE, BATCHES, COLD_SQL, WORKERS, Ablation, Cut

ARCHIVE_TESTS = "tests/integration/test_archive.py"
RETENTION_TESTS = "tests/retention/test_retention.py"
BATCH_TESTS = "tests/retention/test_batches.py"
COLD_TESTS = "tests/retention/test_cold_runs.py"
ZOO_TESTS = "tests/retention/test_zoo.py"
BATCH_TEST = f"{BATCH_TESTS}::test_a_batch_takes_the_oldest_rows_and_no_more_than_asked_for"
ABLATIONS = (
    Ablation(
        "verified-objects",
        "verified purge: each object is read back",
        f"{ARCHIVE_TESTS}::test_an_object_that_reads_back_differently_was_not_stored",
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
        f"{ARCHIVE_TESTS}::test_a_manifest_that_reads_back_differently_was_not_stored",
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
        f"{COLD_TESTS}::test_only_rows_that_were_stored_are_purged",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                "self._database.call(purge, lines=stored)",
                "self._database.call(purge, lines=lines)",
            ),
        ),
    ),
    Ablation(
        "unchanged-rows",
        "verified purge: only what is still as stored goes",
        f"{COLD_TESTS}::test_rows_that_changed_meanwhile_are_not_purged",
        (Cut(COLD_SQL, "where to_jsonb(archived)::text = kept.text\n"),),
    ),
    Ablation(
        "bounded-batches",
        "bounded batches: archiving and purging",
        f"{BATCH_TEST}[archiving]",
        (
            Cut(
                BATCHES,
                "steps.condition, cutoff.at, passed_over + batch_size\n",
                "steps.condition, cutoff.at, 1000000\n",
            ),
            Cut(BATCHES, "oldest, passed_over, batch_size\n", "oldest, passed_over, 1000000\n"),
        ),
        "of each rule, and of all together",
    ),
    Ablation(
        "passed-over",
        "what cannot go is passed over",
        f"{ZOO_TESTS}::test_a_row_that_cannot_go_stays_and_is_named_and_the_others_go"
        "[archived otherwise]",
        (
            Cut(
                BATCHES,
                "elsif past - first > 1 then",
                "elsif past - first > 1 and false then",
            ),
        ),
    ),
    Ablation(
        "arrived",
        "a row goes only once it has arrived",
        f"{ZOO_TESTS}::test_a_row_that_cannot_go_stays_and_is_named_and_the_others_go"
        "[trigger that drops]",
        (Cut(BATCHES, "elsif arrived < gone then", "elsif false then"),),
    ),
    Ablation(
        "unchanged-arrival",
        "what arrives is what went, to the last column",
        f"{ZOO_TESTS}::test_a_row_that_cannot_go_stays_and_is_named_and_the_others_go"
        "[coarser type]",
        (Cut(ARCHIVE, "    case when may_change\n", "    case when false\n"),),
    ),
    Ablation(
        "kept-by-trigger",
        "a row that a trigger keeps is in one place",
        f"{ZOO_TESTS}::test_a_row_that_cannot_go_stays_and_is_named_and_the_others_go"
        "[trigger that keeps]",
        (Cut(BATCHES, "if gone < held then", "if false then"),),
    ),
    Ablation(
        "no-cascades",
        "archiving deletes no rows of other tables",
        f"{ZOO_TESTS}::test_a_row_that_cannot_go_stays_and_is_named_and_the_others_go[cascade]",
        (Cut(BATCHES, "untouched := public.cascade_tables(source::regclass);"),),
    ),
    Ablation(
        "partitions",
        "rows are addressed within their partition",
        f"{ZOO_TESTS}::test_every_row_is_in_exactly_one_place_and_comes_back[log partitioned]",
        (
            Cut(
                ARCHIVE,
                "        where activity.tableoid = $1\n"
                "          and activity.ctid = any (array(select locked.ctid from locked))",
                "        where activity.ctid = any (array(select locked.ctid from locked))",
            ),
        ),
    ),
    Ablation(
        "due-again",
        "a row is locked only while it is still due",
        f"{BATCH_TESTS}::test_a_row_that_is_no_longer_due_stays",
        (
            Cut(
                BATCHES,
                "and old.ctid = any ($2) and (%s)",
                "and old.ctid = any ($2) and (%s or true)",
            ),
        ),
    ),
    Ablation(
        "all-columns",
        "a column that the archive lacks stops the policy",
        f"{ZOO_TESTS}::test_a_column_that_the_archive_lacks_stops_the_policy_before_anything_moves",
        (Cut(ARCHIVE, "if cardinality(lacking) > 0 then", "if false then"),),
    ),
    Ablation(
        "restored-once",
        "without a primary key nothing is restored twice",
        f"{ZOO_TESTS}::test_every_row_is_in_exactly_one_place_and_comes_back[no key]",
        (Cut(COLD_SQL, "      when has_key then 'true'\n", "      when true then 'true'\n"),),
    ),
    Ablation(
        "shrinking",
        "batches shrink until they fit",
        f"{BATCH_TESTS}::test_the_next_run_starts_with_the_batch_size_that_worked",
        (
            Cut(
                f"{WORKERS}/retention/batches.py",
                "if code in _TOO_LARGE and self.rows > 1:",
                "if False:",
            ),
        ),
    ),
    Ablation(
        "remembered-size",
        "the next run begins with what fitted",
        f"{BATCH_TESTS}::test_the_next_run_starts_with_the_batch_size_that_worked",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                "return self._fitted.get(step)",
                "return None",
            ),
        ),
    ),
    Ablation(
        "cold-deadline",
        "the cold archive heeds the deadline",
        f"{COLD_TESTS}::test_a_slow_cold_archive_keeps_to_the_deadline",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                "if self._clock.now() >= min(self._last_request, self._clock.stop_at):",
                "if False:",
            ),
        ),
    ),
    Ablation(
        "retention-deadline",
        "deadline of retention",
        f"{RETENTION_TESTS}::test_a_run_out_of_time_stops_and_later_runs_finish",
        (
            Cut(
                f"{WORKERS}/retention/run.py",
                "if self._is_over:\n            raise OutOfTime",
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
                "if not self._take_lease():\n            self._deadline",
                "if not self._take_lease() and False:\n            self._deadline",
            ),
        ),
    ),
)
