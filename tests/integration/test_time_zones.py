"""Time zones are those of the pinned tzdata, whatever files the machine has."""

from __future__ import annotations

import subprocess
import sys
import zoneinfo
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.environment import bare
from local.invoke import _TemplateLoader
from workers.metrics.windows import look_back
from workers.operate.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
SHOW = "import zoneinfo; print(zoneinfo.TZPATH)"


def functions_environment() -> dict[str, Any]:
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    globals_ = yaml.load(text, _TemplateLoader)["Globals"]  # noqa: S506 - a SafeLoader with tags
    variables: dict[str, Any] = globals_["Function"]["Environment"]["Variables"]
    return variables


# Both countries changed their rules in 2026, after many systems' files were made.
@pytest.mark.parametrize(
    ("zone", "now", "today"),
    [
        ("Africa/Casablanca", datetime(2026, 12, 1, 23, 30, tzinfo=UTC), date(2026, 12, 1)),
        ("America/Winnipeg", datetime(2026, 12, 2, 5, 30, tzinfo=UTC), date(2026, 12, 2)),
    ],
)
def test_a_day_begins_by_this_years_rules(zone: str, now: datetime, today: date) -> None:
    assert look_back(now, zone, 3).until == today


@pytest.mark.parametrize("environment", [functions_environment(), bare()], ids=["AWS", "local"])
def test_python_reads_no_time_zone_files_of_the_system(environment: dict[str, str]) -> None:
    only = {"PYTHONTZPATH": environment["PYTHONTZPATH"]}
    output = subprocess.run(
        [sys.executable, "-c", SHOW], env=only, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "()"


def test_the_operators_commands_ignore_differences_in_form_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    zoneinfo.reset_tzpath()  # as Python starts
    try:
        monkeypatch.delenv("SUPABASE_URL", raising=False)
        main(["parked", "list"])
        assert zoneinfo.TZPATH == ()
    finally:
        zoneinfo.reset_tzpath(to=())
