"""Numbers, money and dates as readers of a locale write them.

The forms are those of CLDR 48 for a medium date and a plain number
(https://cldr.unicode.org/translation/date-time/date-time-patterns), for the locales that
`NOTIFICATION_LOCALE` may name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

_NARROW, _WIDE = "\u202f", "\u00a0"  # spaces that do not break a line

_PLAIN_NUMBER: Final = re.compile(r"([+-]?)(\d{1,30})(?:\.(\d{1,30}))?", re.ASCII)
# ISO 4217: currencies whose minor unit is not a hundredth.
_MINOR_DIGITS: Final[Mapping[str, int]] = {
    "BHD": 3, "CLP": 0, "ISK": 0, "JOD": 3, "JPY": 0, "KRW": 0, "KWD": 3, "OMR": 3, "PYG": 0,
    "TND": 3, "UGX": 0, "VND": 0, "XAF": 0, "XOF": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Locale:
    """`money` and `percent` are format strings for `{amount}`, money's with the `{sign}` of the
    currency: its symbol where the locale has one, else its code. `day` is one for {d}, {dd}, {m},
    {month} and {y}. A number with at least `grouped_from` digits before its decimal mark is
    grouped. `negative_money` is for locales in which the minus sign does not come first."""

    decimal: str
    group: str
    money: str
    percent: str
    day: str
    months: tuple[str, ...]
    symbols: Mapping[str, str] = field(default_factory=dict)
    grouped_from: int = 4
    negative_money: str = ""


def is_number(written: str) -> bool:
    """Whether it is a number that can be written as a locale does."""
    return _PLAIN_NUMBER.fullmatch(written) is not None


def number_text(written: str, locale: Locale) -> str:
    """A number written as in JSON; one with an exponent, or with more digits than anyone reads,
    stays as it is."""
    found = _PLAIN_NUMBER.fullmatch(written)
    if found is None:
        return written
    sign, whole, fraction = found.groups()
    if len(whole) >= locale.grouped_from:
        whole = _grouped(whole, locale.group)
    return f"{sign}{whole}{locale.decimal}{fraction}" if fraction else f"{sign}{whole}"


def percent_text(written: str, locale: Locale) -> str:
    """A number of hundredths, such as 91.5."""
    return locale.percent.format(amount=number_text(written, locale))


def money_text(written: str, currency: str, locale: Locale) -> str:
    """An amount in major units of a currency (ISO 4217), with its minor digits; further digits
    stay, because rounding is not up to us."""
    digits = _MINOR_DIGITS.get(currency, 2)
    whole, _, fraction = written.partition(".")
    if is_number(written):
        fraction = fraction.ljust(digits, "0") if digits else fraction.rstrip("0")
        written = f"{whole}.{fraction}" if fraction else whole
    amount, sign = number_text(written, locale), locale.symbols.get(currency, currency)
    form = locale.money
    if sign == currency and form == _BEFORE:
        form = _BEFORE_WITH_BLANK  # a code is kept apart from the digits
    if amount.startswith("-"):
        amount, form = amount[1:], locale.negative_money or f"-{form}"
    return form.format(sign=sign, amount=amount)


def date_text(day: date, locale: Locale) -> str:
    """A day, with the month in letters where the locale writes it so."""
    return locale.day.format(
        d=day.day, dd=f"{day.day:02}", m=f"{day.month:02}", y=day.year,
        month=locale.months[day.month - 1],
    )  # fmt: skip


def _grouped(whole: str, mark: str) -> str:
    first = len(whole) % 3 or 3
    return mark.join([whole[:first], *(whole[at : at + 3] for at in range(first, len(whole), 3))])


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_EN = _words("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec")
_BEFORE, _AFTER = "{sign}{amount}", "{amount}" + _WIDE + "{sign}"
_BEFORE_WITH_BLANK = "{sign}" + _WIDE + "{amount}"
_TIGHT, _LOOSE = "{amount}%", "{amount}" + _WIDE + "%"
_DAY_FIRST = "{d} {month} {y}"

LOCALES: Final[Mapping[str, Locale]] = {
    "en-US": Locale(
        ".", ",", _BEFORE, _TIGHT, "{month} {d}, {y}", _EN,
        {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "BRL": "R$", "CAD": "CA$", "AUD": "A$"},
    ),
    "en-GB": Locale(
        ".", ",", _BEFORE, _TIGHT, _DAY_FIRST,
        tuple("Sept" if month == "Sep" else month for month in _EN),
        {"USD": "US$", "EUR": "€", "GBP": "£", "JPY": "JP¥", "BRL": "R$", "CAD": "CA$",
         "AUD": "A$"},
    ),
    "de-DE": Locale(
        ",", ".", _AFTER, _LOOSE, "{dd}.{m}.{y}", (*"123456789", "10", "11", "12"),
        {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "BRL": "R$", "CAD": "CA$", "AUD": "AU$"},
    ),
    "fr-FR": Locale(
        ",", _NARROW, _AFTER, _LOOSE, _DAY_FIRST,
        _words("janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc."),
        {"USD": "$US", "EUR": "€", "GBP": "£GB", "BRL": "R$", "CAD": "$CA", "AUD": "$AU"},
    ),
    "es-ES": Locale(
        ",", ".", _AFTER, _LOOSE, _DAY_FIRST,
        _words("ene feb mar abr may jun jul ago sept oct nov dic"),
        {"USD": "US$", "EUR": "€"}, grouped_from=5,
    ),
    "it-IT": Locale(
        ",", ".", _AFTER, _TIGHT, _DAY_FIRST,
        _words("gen feb mar apr mag giu lug ago set ott nov dic"),
        {"EUR": "€", "GBP": "£", "CAD": "CA$", "AUD": "A$"}, grouped_from=5,
    ),
    "nl-NL": Locale(
        ",", ".", _BEFORE_WITH_BLANK, _TIGHT, _DAY_FIRST,
        _words("jan feb mrt apr mei jun jul aug sep okt nov dec"),
        {"USD": "US$", "EUR": "€", "GBP": "£", "JPY": "JP¥", "BRL": "R$", "CAD": "C$",
         "AUD": "AU$"}, negative_money="{sign}" + _WIDE + "-{amount}",
    ),
    "pt-BR": Locale(
        ",", ".", _BEFORE_WITH_BLANK, _TIGHT, "{d} de {month} de {y}",
        _words("jan. fev. mar. abr. mai. jun. jul. ago. set. out. nov. dez."),
        {"USD": "US$", "EUR": "€", "GBP": "£", "JPY": "JP¥", "BRL": "R$", "CAD": "CA$",
         "AUD": "AU$"},
    ),
    "sv-SE": Locale(
        ",", _WIDE, _AFTER, _LOOSE, _DAY_FIRST,
        _words("jan. feb. mars apr. maj juni juli aug. sep. okt. nov. dec."),
        {"USD": "US$", "EUR": "€", "SEK": "kr", "DKK": "Dkr", "NOK": "Nkr", "BRL": "BR$",
         "CAD": "CA$"},
    ),
    "da-DK": Locale(
        ",", ".", _AFTER, _LOOSE, "{d}. {month} {y}",
        _words("jan. feb. mar. apr. maj jun. jul. aug. sep. okt. nov. dec."),
        {"USD": "US$", "EUR": "€", "GBP": "£", "JPY": "JP¥", "DKK": "kr.", "BRL": "R$",
         "CAD": "CA$", "AUD": "AU$"},
    ),
    "nb-NO": Locale(
        ",", _WIDE, _AFTER, _LOOSE, "{d}. {month} {y}",
        _words("jan. feb. mars apr. mai juni juli aug. sep. okt. nov. des."),
        {"EUR": "€", "GBP": "£", "NOK": "kr"},
    ),
    "pl-PL": Locale(
        ",", _WIDE, _AFTER, _TIGHT, _DAY_FIRST,
        _words("sty lut mar kwi maj cze lip sie wrz paź lis gru"),
        {"EUR": "€", "PLN": "zł", "BRL": "R$"}, grouped_from=5,
    ),
}  # fmt: skip
