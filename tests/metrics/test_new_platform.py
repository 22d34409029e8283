"""Adding an ad platform takes exactly what CONTRIBUTING.md lists.

A toy, Billboard, is added to a copy of the tree by just those files; then the tests that hold for
every platform run there.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.ablation.__main__ import Copy

ROOT = Path(__file__).resolve().parents[2]
TOY = Path(__file__).resolve().parent / "billboard"

# New files: where they go, and what is used for them here.
NEW = {
    "layers/shared/workers/metrics/platforms/billboard.py": "client.py",
    "local/fakes/billboard.py": "fake.py",
    "local/fakes/billboard_accounts.json": "billboard_accounts.json",
}
# What is put before a piece of a file, which is there once.
ADDED = {
    "layers/shared/workers/metrics/platforms/__init__.py": [
        (
            "from workers.metrics.platforms.google_ads",
            "from workers.metrics.platforms.billboard import Billboard\n",
        ),
        ('"meta": Meta', '"billboard": Billboard, '),
    ],
    "layers/shared/workers/settings.py": [
        (
            "    meta_graph_url: str",
            (
                "    billboard_url: str = setting(\n"
                '        _url, "base URL of Billboard\'s API", default="https://billboard.example"\n'
                "    )\n"
            ),
        ),
    ],
    "local/fakes/ad_facts.py": [
        ('"tiktok", "linkedin"]', '"billboard", '),
        ('    "linkedin": (', '    "billboard": ("3", 4, 6),\n'),
    ],
    "tests/metrics/conftest.py": [
        ("from local.fakes.google_ads", "from local.fakes.billboard import fake_billboard\n"),
        ("fake_tiktok() as tiktok,", "fake_billboard() as billboard, "),
        ('            "tiktok": tiktok,', '            "billboard": billboard,\n'),
    ],
    "tests/metrics/world.py": [
        (
            "            tiktok_api_url=",
            '            billboard_url=servers["billboard"].url,\n',
        ),
        (
            "    def tiktok_account(",
            (
                "    def billboard_account(self, account_id: str, **values: Any) -> None:\n"
                '        usual = {"tokens": ["local-billboard-token-42"]}\n'
                '        self._put_account(self.servers["billboard"], account_id, '
                "{**usual, **values})\n\n"
            ),
        ),
        (
            "    def connect_tiktok(",
            (
                "    def connect_billboard(self, account_id: str, **values: Any) -> str:\n"
                '        credentials = {"access_token": "local-billboard-token-42"}\n'
                '        usual = {"platform": "billboard", "account_id": account_id}\n'
                '        return self._connect({**usual, "credentials": credentials, **values})\n\n'
            ),
        ),
    ],
    "tests/metrics/sides.py": [
        ("from local.fakes.ad_facts import generated", "from local.fakes import billboard\n"),
        (
            '        Side(\n            "tiktok", "tiktok"',
            (
                '        Side(\n            "billboard", "billboard", "600000042", "days",\n'
                '            ("local-billboard-token-42",),\n'
                "            refused=lambda: billboard.refusal(401, times=None),\n"
                "            quoting=lambda text: billboard.refusal(\n"
                '                403, text, path="days", times=None\n'
                "            ),\n"
                "        ),\n"
            ),
        ),
    ],
    "tests/metrics/catalogue.py": [
        (
            '    "tiktok": {"access_token"',
            '    "billboard": {"access_token": "local-billboard-token-42"},\n',
        ),
        ('    "tiktok": "70', '    "billboard": "600000042",\n'),
        (
            '    "tiktok": TIKTOK_ERRORS',
            (
                '    "billboard": [\n'
                '        ({"error": "no"}, 401, ConnectionCredentialsError),\n'
                '        ({"error": "no"}, 403, PermanentError),\n'
                '        ({"error": "no"}, 418, UnknownError),\n'
                '        ({"error": "no"}, 429, RateLimitedError),\n'
                '        ({"error": "no"}, 503, TransientError),\n'
                "    ],\n"
            ),
        ),
    ],
    "tests/metrics/test_sync_kills.py": [
        ('    "tiktok": (', '    "billboard": ("account 1", "days 1", "days 2"),\n'),
    ],
}
# They are not needed for a sync, so a toy goes without: the local stack, the sample agency, a
# template's parameter for the version, the page of the settings.
NOT_FOR_A_TOY = {"docs/settings.md", "local/stack.py", "supabase/seed.sql", "template.yaml"}


def listed() -> set[str]:
    """The files that CONTRIBUTING.md names for a new platform, `<name>` filled in."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text.partition("dd an ad platform\n")[2], maxsplit=1, flags=re.M)[0]
    names = re.findall(r"`([\w/.<>]+/[\w.<>]+\.\w+)`", section)
    return {name.replace("<name>", "billboard") for name in names}


def test_contributing_lists_exactly_the_files_of_a_platform() -> None:
    assert listed() - NOT_FOR_A_TOY == {*NEW, *ADDED}


@pytest.fixture(scope="module")
def copy_with_billboard(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    copy = Copy(tmp_path_factory.mktemp("billboard"))
    for place, source in NEW.items():
        shutil.copy(TOY / source, copy.root / place)
    for file, pieces in ADDED.items():
        text = (copy.root / file).read_text(encoding="utf-8")
        for before, added in pieces:
            assert text.count(before) == 1, f"not once in {file}: {before}"
            text = text.replace(before, added + before)
        (copy.root / file).write_text(text, encoding="utf-8")
    return copy


def test_the_new_platform_passes_the_conformance_tests(copy_with_billboard: Copy) -> None:
    names = ("test_conformance.py", "test_conformance_odd.py", "test_sync_kills.py")
    tests = [f"tests/metrics/{name}" for name in names]
    chosen = "billboard or every_platform_is_tested or one_request_may_have"
    status, report = copy_with_billboard.pytest([*tests, "-p", "no:xdist", "-k", chosen], 600.0)
    assert status == 0, report[-4000:]
    (passed,) = re.findall(r"(\d+) passed", report)
    assert int(passed) > 25
