"""Adding a figure takes only a line in SQL and a line per platform."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from tests.metrics.connected import one_account
from tests.metrics.world import World
from workers.metrics.platforms import meta
from workers.metrics.platforms.protocol import amount

ROOT = Path(__file__).resolve().parents[2]
KINDS = ROOT / "supabase" / "migrations" / "20261124000910_metric_kinds.sql"
LAST = "    ('frequency', 'single', 'impressions', 'reach', 1, false, false)\n"
ADDED = {
    "often": ("    ('often', 'single', 'often', null, null, true, false)\n"),
    "spend_per_head": ("    ('spend_per_head', 'money', 'spend', 'reach', 1, true, false)\n"),
}


def metric_kinds(connection: psycopg.Connection[object], *lines: str) -> None:
    """Puts the function in place, with these lines at the end of its list."""
    found = re.search(
        r"create or replace function public\.metric_kinds\(\).*?\$\$;\n", KINDS.read_text(), re.S
    )
    assert found is not None
    assert found[0].count(LAST) == 1
    more = ",\n".join([LAST.rstrip("\n"), *(line.rstrip("\n") for line in lines)])
    connection.execute(found[0].replace(LAST, f"{more}\n").encode())


def test_a_new_figure_takes_a_line_in_sql_and_one_in_a_platform(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, served = one_account(world, 2)
    monkeypatch.setitem(meta._MEASURES, "often", ("frequency", amount))
    metric_kinds(world.connection, *ADDED.values())
    try:
        world.sync_all()
        figures = world.figures()
        expected = world.expected(served)
        assert {key: one for key, one in figures.items() if key[2] not in ADDED} == expected
        days = {key[:2] for key in expected if key[2] == "impressions"}
        for request, day in days:
            of = {key[2]: one for key, one in figures.items() if key[:2] == (request, day)}
            frequency = of["impressions"] / of["reach"]
            assert abs(of["often"] - frequency) < Decimal("0.000002")
            assert abs(of["spend_per_head"] - of["spend"] / of["reach"]) < Decimal("0.000001")
    finally:
        metric_kinds(world.connection)
