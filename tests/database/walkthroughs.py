"""The pages of docs/architecture/: SQL to paste into psql, and what the database answers.

`python -m tests.database.walkthroughs` runs each page from its first statement to its last, over
the sample agency, and writes the answers into the page. The test only compares.

The answer to a statement is below it, as a comment. Ids that the database makes up are random,
so the page numbers them in the order in which they appear, and later statements use these numbers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from local.services import postgres
from local.services.tether import Tether

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "architecture").glob("*.md"))
SAMPLE = ROOT / "supabase" / "seed.sql"
WIDTH = 95

_BLOCK = re.compile(r"(?<=^```sql\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
# Statements, and the answer to the last of them.
_STEP = re.compile(r"(.*?;\n)((?:--[^\n]*\n)+|\Z)", re.DOTALL)
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@dataclass
class Walkthrough:
    """One page over one database, which holds the sample agency."""

    connection: psycopg.Connection[Any]
    _numbers: dict[str, str] = field(default_factory=dict)

    def rewritten(self, page: str) -> str:
        """The page with the answers of the database."""
        return _BLOCK.sub(
            lambda block: _STEP.sub(lambda step: self._step(step, page), block[0]), page
        )

    def _step(self, step: re.Match[str], page: str) -> str:
        sql, written = step.groups()
        answer = self._numbered_in(self._run(self._made_in(sql)), page)
        return sql + (re.sub(r"^(?=.)", "-- ", answer, flags=re.MULTILINE) if written else "")

    def _run(self, sql: str) -> str:
        """The answer to the last of the statements."""
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(sql.encode())
            while cursor.nextset():
                pass
            if cursor.description is None:
                return ""
            rows = cursor.fetchall()
            names = [column.name for column in cursor.description]
        if len(rows) == len(names) == 1:
            is_json = isinstance(rows[0][0], dict | list)
            return f"{_laid_out(rows[0][0]) if is_json else _as_text(rows[0][0])}\n"
        return _table(names, [[_as_text(value) for value in row] for row in rows])

    def _made_in(self, sql: str) -> str:
        for made, number in self._numbers.items():
            sql = sql.replace(number, made)
        return sql

    def _numbered_in(self, answer: str, page: str) -> str:
        for made in _UUID.findall(answer):
            if made not in self._numbers and made not in page:
                self._numbers[made] = f"00000000-0000-4000-8000-{len(self._numbers) + 1:012}"
        return _UUID.sub(lambda found: self._numbers.get(found[0], found[0]), answer)


def _laid_out(value: Any, room: int = WIDTH) -> str:
    """JSON, with line breaks where one line has no room for it."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) <= room or not value or not isinstance(value, dict | list):
        return line
    if isinstance(value, dict):
        opening, closing = "{", "}"
        members = [
            f"{json.dumps(key)}: {_laid_out(one, room - len(key) - 5)}"
            for key, one in value.items()
        ]
    else:
        opening, closing = "[", "]"
        members = [_laid_out(one, room - 3) for one in value]
    lines = [""]
    for member in members:
        fits = "\n" not in lines[-1] + member and len(lines[-1]) + len(member) < room - 4
        if lines[-1] and not fits:
            lines.append("")
        lines[-1] += f" {member}," if lines[-1] else f"{member},"
    inner = "\n".join(lines).removesuffix(",").replace("\n", "\n ")
    return f"{opening}{inner}{closing}"


def _as_text(value: Any) -> str:
    is_json = isinstance(value, dict | list | bool) or value is None
    return json.dumps(value, ensure_ascii=False) if is_json else str(value)


def _table(names: list[str], rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return " | ".join(padded).rstrip() + "\n"

    rule = "-+-".join("-" * width for width in widths)
    return f"{line(names)}{rule}\n{''.join(map(line, rows))}" if rows else "(0 rows)\n"


def main() -> None:
    """Writes the pages' answers again."""
    with Tether(postgres.server_directory()) as tether:
        server = postgres.start(tether)
        for number, page in enumerate(PAGES):
            url = server.create_database(f"walkthrough_{number}")
            postgres.bootstrap(url)
            postgres.migrate(url)
            postgres.apply_files(url, [SAMPLE])
            with psycopg.connect(url, autocommit=True) as connection:
                page.write_text(Walkthrough(connection).rewritten(page.read_text()))


if __name__ == "__main__":
    main()
