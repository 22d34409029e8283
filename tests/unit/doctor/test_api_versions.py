from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from workers.doctor.api_versions import ENDS, NOTICE, check_api_versions
from workers.findings import Finding
from workers.settings import Settings

SETTINGS = Settings(
    supabase_url="https://abc.supabase.co",
    supabase_service_role_key="sb_secret_abc",
    slack_bot_token="xoxb-abc",
)
END = ENDS["META_API_VERSION"]["v25.0"]


def of_meta(version: str, today: date) -> Finding:
    settings = replace(SETTINGS, meta_api_version=version)
    (found,) = [one for one in check_api_versions(settings, today) if "META" in one.text]
    return found


@pytest.mark.parametrize(
    ("today", "level"),
    [
        (END - NOTICE - timedelta(days=1), "ok"),
        (END - NOTICE, "warning"),
        (END - timedelta(days=1), "warning"),
        (END, "failed"),
        (END + timedelta(days=900), "failed"),
    ],
)
def test_an_end_is_reported_in_time(today: date, level: str) -> None:
    found = of_meta("v25.0", today)
    assert found.level == level
    assert f"{END}" in found.text
    assert level == "ok" or "Set it" in found.fix


def test_a_version_older_than_all_in_the_table_has_ended() -> None:
    assert of_meta("v18.0", date(2026, 11, 1)).level == "failed"
    assert of_meta("v9.0", date(2026, 11, 1)).level == "failed"


def test_a_version_without_an_announced_end_is_ok() -> None:
    assert of_meta("v99.0", date(2026, 11, 1)) == Finding(
        "ok", "META_API_VERSION v99.0: no end has been announced"
    )


def test_each_setting_of_a_version_has_its_finding() -> None:
    shown = [one.text for one in check_api_versions(SETTINGS, date(2026, 11, 1))]
    assert [text.split()[0] for text in shown] == list(ENDS)
    for setting in ENDS:
        assert hasattr(SETTINGS, setting.lower())
