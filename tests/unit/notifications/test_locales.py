"""Numbers, money and dates, as Node's Intl (ICU 78, CLDR 48) writes them."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from workers.notifications.locales import (
    LOCALES,
    date_text,
    money_text,
    number_text,
    percent_text,
)
from workers.settings import LOCALE_NAMES

EXPECTED = json.loads(Path(__file__).with_name("intl_forms.json").read_text(encoding="utf-8"))


def test_the_setting_lists_the_existing_locales() -> None:
    assert list(LOCALES) == list(LOCALE_NAMES) == list(EXPECTED)


@pytest.mark.parametrize("name", LOCALES)
def test_each_locale_writes_as_its_readers_do(name: str) -> None:
    locale, expected = LOCALES[name], EXPECTED[name]
    for written, shown in expected["numbers"]:
        assert number_text(written, locale) == shown
    for written, shown in expected["percent"]:
        assert percent_text(written, locale) == shown
    for written, currency, shown in expected["money"]:
        assert money_text(written, currency, locale) == shown
    for written, shown in expected["dates"]:
        assert date_text(date.fromisoformat(written), locale) == shown


@pytest.mark.parametrize("written", ["1e5", "NaN", "9" * 31, "1" * 5000, ""])
def test_a_number_too_long_to_read_stays_as_it_is(written: str) -> None:
    assert number_text(written, LOCALES["de-DE"]) == written


@pytest.mark.parametrize(
    ("written", "currency", "shown"),
    [("0.123456", "USD", "$0.123456"), ("12.00", "JPY", "¥12"), ("12.5", "JPY", "¥12.5"),
     ("1e5", "USD", "$1e5")],
)  # fmt: skip
def test_an_amount_is_never_rounded(written: str, currency: str, shown: str) -> None:
    assert money_text(written, currency, LOCALES["en-US"]) == shown
