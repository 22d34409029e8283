"""Every error code that a platform's own package or pages name has a meaning, and the right one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.metrics import vendor_codes
from workers.errors import (
    ConnectionCredentialsError,
    GeneralError,
    PermanentError,
    RateLimitedError,
    SharedCredentialsError,
    WorkerError,
)
from workers.metrics.platforms import (
    google_ads_codes,
    linkedin_codes,
    meta_codes,
    tiktok_codes,
)
from workers.metrics.platforms.meanings import Meaning, error_of, meaning_of_status

ROOT = Path(__file__).resolve().parents[3]
LIMITS = {Meaning.ACCOUNT_LIMIT, Meaning.APP_LIMIT}
OF_CREDENTIALS = {Meaning.CREDENTIALS, Meaning.SIGN_IN, Meaning.CLIENT, Meaning.APP}

# What Meta's pages name (meta_codes.py has their addresses), and what else has been seen.
META = {
    Meaning.APP_LIMIT: "4 4/1504022 4/1504039 341",
    Meaning.ACCOUNT_LIMIT: """
        9 17 17/2446079 32 613 613/1487742 613/1996 80000 80000/2446079 80001 80002 80003
        80004 80004/2446079 80005 80006 80007 80008 80009 80014
    """,
    Meaning.GENERAL: "1 1/99 1/1504044 2 2/1504043 2/1504044 5000",
    Meaning.UNAVAILABLE: "-2/2490547 960 2601",
    Meaning.TOO_MUCH: "18 100/1487534 100/1504018 2/1504038 -3/1504045",
    Meaning.CREDENTIALS: """
        101 102 104 190 190/458 190/459 190/460 190/463 190/464 190/467 190/492 450 452 458 459
        460 463 464 467
    """,
    Meaning.PERMISSION: """
        3 5 10 100/33 100/3191001 200 200/1870034 200/1870047 272 273 274 275 278 294 299 803
        1150 2654 2654/1713092
    """,
    Meaning.VERSION: "11 12 2635",
    Meaning.REFUSED: """
        1/2853001 2/1504041 2/1504042 100 100/1487694 100/1752129 100/3858258 368 506 2606 2607
        2615 3018 1609005
    """,
}
LINKEDIN = {
    Meaning.SIGN_IN: """
        401/INVALID_ACCESS_TOKEN 401/REVOKED_ACCESS_TOKEN 401/EXPIRED_ACCESS_TOKEN
        401/EMPTY_ACCESS_TOKEN 401/UNAUTHORIZED 401/65600 401/65601 401/65602
    """,
    Meaning.APP_LIMIT: "429/TOO_MANY_REQUESTS 429/QUOTA_EXCEEDED 429/101",
    Meaning.PERMISSION: "403/ACCESS_DENIED 403/100 404/NOT_FOUND 404/RESOURCE_NOT_FOUND",
    Meaning.VERSION: "400/VERSION_MISSING 426/NONEXISTENT_VERSION 426/426",
    Meaning.REFUSED: "400/PARAM_INVALID 405/405 409/CONFLICT 411/411 413/413 414/414 415/415",
    Meaning.UNAVAILABLE: "503/SERVICE_UNAVAILABLE",
    Meaning.GENERAL: "408/408 500/INTERNAL_SERVER_ERROR 502/502 504/GATEWAY_TIMEOUT",
}


def meta_meaning(name: str, message: str = "") -> Meaning:
    code, _, subcode = name.partition("/")
    return meta_codes.meaning_of(int(code), int(subcode or 0), message)


def test_every_code_that_google_ads_names_has_a_meaning() -> None:
    named = vendor_codes.google_ads()
    assert (len(named), sum(map(len, named.values()))) == (168, 2227)
    for family, values in named.items():
        for value in [*values, "OF_TOMORROW"]:
            assert google_ads_codes.meaning_of(family, value) is not Meaning.UNKNOWN, (
                family,
                value,
            )
    assert google_ads_codes.meaning_of("familyOfTomorrow", "SOMETHING") is Meaning.UNKNOWN


def test_every_code_that_tiktok_names_has_a_meaning() -> None:
    named = vendor_codes.tiktok()
    assert len(named) == 162
    for name, code in named.items():
        assert tiktok_codes.meaning_of(code) is not Meaning.UNKNOWN, (code, name)
    assert tiktok_codes.meaning_of(88888) is Meaning.UNKNOWN


@pytest.mark.parametrize("expected", META)
def test_every_code_that_meta_names_has_its_meaning(expected: Meaning) -> None:
    for name in META[expected].split():
        assert meta_meaning(name) is expected, name


@pytest.mark.parametrize("expected", LINKEDIN)
def test_every_code_that_linkedin_names_has_its_meaning(expected: Meaning) -> None:
    for name in LINKEDIN[expected].split():
        status, _, code = name.partition("/")
        assert linkedin_codes.meaning_of(int(status), code) is expected, name


# What a name says, on any platform: throttles, maintenance, credentials and versions by their
# words. Families about changes are left out: there the words are about what is changed.
WORDS = (
    (LIMITS, r"EXHAUSTED|RATE_LIMIT|FREQUEN|TOO_MANY_REQUESTS|EXCESSIVE"),
    ({Meaning.UNAVAILABLE}, r"MAINTENANCE"),
    (OF_CREDENTIALS, r"(ACCESS|REFRESH|OAUTH|DEVELOPER)_TOKEN|LOGIN_COOKIE|GOOGLE_ACCOUNT"),
    (OF_CREDENTIALS, r"PASSWORD_ERR|SIGNATURE|GRANT_TYPE|AUTH_CODE|SCOPE|LOGOUT|APP_.*FORBIDDEN"),
    (OF_CREDENTIALS, r"CLOUD_PROJECT|PROJECT_DISABLED|ORGANIZATION|DEVELOPER_|WHITELIST"),
    ({Meaning.VERSION}, r"API_VERSION|VERSION_ERROR|UNSUPPORTED_VERSION|_OFFLINE$"),
    ({Meaning.GENERAL}, r"^(INTERNAL_ERROR|DEADLINE_EXCEEDED|TRANSIENT_ERROR)$|SYS_|TIME_OUT"),
    ({Meaning.TOO_MUCH}, r"RESPONSE_SIZE|RESPONSE_ROW"),
)


def named_meanings() -> Iterable[tuple[str, Meaning]]:
    for family, values in vendor_codes.google_ads().items():
        if family not in google_ads_codes.OF_CHANGES:
            for value in values:
                yield value, google_ads_codes.meaning_of(family, value)
    for name, code in vendor_codes.tiktok().items():
        yield name, tiktok_codes.meaning_of(code)


@pytest.mark.parametrize(("meanings", "words"), WORDS, ids=[words for _, words in WORDS])
def test_the_words_of_a_codes_name_match_its_meaning(meanings: set[Meaning], words: str) -> None:
    said = [(name, meaning) for name, meaning in named_meanings() if re.search(words, name)]
    assert said
    for name, meaning in said:
        assert meaning in meanings, (name, meaning)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (40132, Meaning.APP_LIMIT), (61000, Meaning.APP_LIMIT), (60001, Meaning.UNAVAILABLE),
        (40113, Meaning.APP), (40118, Meaning.APP), (40125, Meaning.APP),
        (40114, Meaning.CREDENTIALS), (40130, Meaning.CREDENTIALS), (40105, Meaning.CREDENTIALS),
        (40300, Meaning.PERMISSION), (40301, Meaning.PERMISSION), (41000, Meaning.PERMISSION),
        (40006, Meaning.VERSION), (40051, Meaning.VERSION), (41001, Meaning.VERSION),
        (41002, Meaning.VERSION), (50000, Meaning.GENERAL), (51010, Meaning.GENERAL),
        (59999, Meaning.GENERAL),
    ],
)  # fmt: skip
def test_tiktoks_codes_that_are_easily_confused(code: int, expected: Meaning) -> None:
    assert tiktok_codes.meaning_of(code) is expected


@pytest.mark.parametrize(
    ("family", "value", "expected"),
    [
        ("quotaError", "ACCESS_PROHIBITED", Meaning.PERMISSION),
        ("authenticationError", "CUSTOMER_NOT_FOUND", Meaning.PERMISSION),
        ("authenticationError", "AUTHENTICATION_ERROR", Meaning.CREDENTIALS),
        ("headerError", "INVALID_LOGIN_CUSTOMER_ID", Meaning.PERMISSION),
        ("authorizationError", "ACTION_NOT_PERMITTED_FOR_SUSPENDED_ACCOUNT", Meaning.PERMISSION),
        ("sizeLimitError", "RESPONSE_SIZE_LIMIT_EXCEEDED", Meaning.TOO_MUCH),
        ("sizeLimitError", "REQUEST_SIZE_LIMIT_EXCEEDED", Meaning.REFUSED),
        ("requestError", "EXPIRED_PAGE_TOKEN", Meaning.GENERAL),
        ("internalError", "DEADLINE_EXCEEDED", Meaning.GENERAL),
    ],
)
def test_googles_values_whose_meaning_differs_from_their_familys(
    family: str, value: str, expected: Meaning
) -> None:
    assert google_ads_codes.meaning_of(family, value) is expected


@pytest.mark.parametrize("value", vendor_codes.google_ads()["quotaError"])
def test_googles_rate_scope_says_whose_limit_it_is(value: str) -> None:
    meanings = [google_ads_codes.meaning_of("quotaError", value, scope)
                for scope in ("ACCOUNT", "DEVELOPER", "UNKNOWN", "")]  # fmt: skip
    if value == "ACCESS_PROHIBITED":
        assert set(meanings) == {Meaning.PERMISSION}
    else:
        assert meanings[:2] == [Meaning.ACCOUNT_LIMIT, Meaning.APP_LIMIT]
        assert meanings[2] is meanings[3]
        assert meanings[3] in LIMITS


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("An active access token must be used", Meaning.CREDENTIALS),
        ("Debe usarse un identificador de acceso activo", Meaning.CREDENTIALS),
        ("", Meaning.CREDENTIALS),
        ("Unknown path components: /act_1001/insights", Meaning.VERSION),
        ("Componentes de ruta desconocidos: /act_1001", Meaning.VERSION),
    ],
)
def test_metas_2500_in_any_language(message: str, expected: Meaning) -> None:
    assert meta_meaning("2500", message) is expected


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("1", "Please reduce the amount of data you're asking for", Meaning.TOO_MUCH),
        ("1", "Reduce la cantidad de datos que solicitas", Meaning.GENERAL),
        ("100", "API calls from the server require an appsecret_proof argument",
         Meaning.CREDENTIALS),
        ("100", "Invalid appsecret_proof provided in the API argument", Meaning.CREDENTIALS),
        ("100", "Cannot include spend in summary param because", Meaning.UNAVAILABLE),
        ("100", "Unsupported field", Meaning.REFUSED),
    ],
)  # fmt: skip
def test_metas_codes_of_two_meanings(code: str, message: str, expected: Meaning) -> None:
    assert meta_meaning(code, message) is expected


TABLES: Mapping[str, list[Mapping[Meaning, Iterable[Any]]]] = {
    "Meta": [meta_codes.CODES, meta_codes.SUBCODES],
    "Google Ads": [
        google_ads_codes.VALUES, google_ads_codes.FAMILIES, google_ads_codes.REASONS,
        google_ads_codes.STATUSES, google_ads_codes.GRANTS,
    ],
    "TikTok": [tiktok_codes.CODES],
    "LinkedIn": [linkedin_codes.STATUSES, linkedin_codes.CODES, linkedin_codes.GRANTS],
}  # fmt: skip


@pytest.mark.parametrize("platform", TABLES)
def test_no_table_has_a_code_twice(platform: str) -> None:
    for table in TABLES[platform]:
        counts = Counter(code for codes in table.values() for code in codes)
        assert [code for code, times in counts.items() if times > 1] == []
    families = {name for names in google_ads_codes.FAMILIES.values() for name in names}
    assert not families & google_ads_codes.OF_CHANGES


def test_a_refused_client_or_app_concerns_those_who_share_it() -> None:
    kinds: dict[Meaning, tuple[type[WorkerError], type[WorkerError]]] = {
        Meaning.CLIENT: (ConnectionCredentialsError, SharedCredentialsError),
        Meaning.APP: (PermanentError, SharedCredentialsError),
        Meaning.CREDENTIALS: (ConnectionCredentialsError, ConnectionCredentialsError),
    }
    for meaning, (own, shared) in kinds.items():
        assert type(error_of(meaning, "No", code="x")) is own
        error = error_of(meaning, "No", code="x", shared="Correct THE_SETTING")
        assert type(error) is shared
        assert ("THE_SETTING" in str(error)) == (shared is SharedCredentialsError)


def test_a_limit_never_means_a_wait_of_more_than_a_day() -> None:
    for meaning in LIMITS:
        error = error_of(meaning, "No", code="x", wait=1e300)
        assert isinstance(error, RateLimitedError)
        assert (error.retry_after, error.everywhere) == (86_400, meaning is Meaning.APP_LIMIT)


@pytest.mark.parametrize("meaning", Meaning)
def test_every_meaning_becomes_an_error(meaning: Meaning) -> None:
    error = error_of(meaning, "No", code="x", version="THE_VERSION")
    assert error.code == "x"
    assert ("THE_VERSION" in str(error)) == (meaning is Meaning.VERSION)
    assert isinstance(error, GeneralError) == (meaning is Meaning.GENERAL)


def test_a_page_without_a_code_is_known_by_its_status() -> None:
    expected = {
        200: Meaning.GENERAL, 401: Meaning.CREDENTIALS, 408: Meaning.GENERAL, 418: Meaning.UNKNOWN,
        429: Meaning.APP_LIMIT, 500: Meaning.GENERAL, 502: Meaning.GENERAL,
        503: Meaning.UNAVAILABLE, 504: Meaning.GENERAL, 599: Meaning.GENERAL,
    }  # fmt: skip
    assert {status: meaning_of_status(status) for status in expected} == expected


def documented() -> dict[str, list[tuple[str, str]]]:
    """What docs/metrics.md has for each meaning: platforms and codes, by the meaning's name."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    table = text.partition("### What an error leads to")[2].partition("\n## ")[0]
    found: dict[str, list[tuple[str, str]]] = {}
    for line in table.splitlines():
        if not line.startswith("| ") or line.startswith("| error |"):
            continue
        name, consequence, examples = (cell.strip() for cell in line.strip("|").split(" | ")[:3])
        assert consequence
        found[name] = [
            (platform, code.strip("` "))
            for part in filter(None, examples.strip("| ").split("; "))
            for platform, _, codes in [part.partition(" ")]
            for code in codes.replace(" to ", ", ").split(", ")
        ]
    return found


def documented_meaning(platform: str, code: str) -> Meaning:
    if platform == "Meta":
        return meta_meaning(code)
    if platform == "TikTok":
        return tiktok_codes.meaning_of(int(code))
    if platform == "LinkedIn":
        if code.isdigit():
            return linkedin_codes.meaning_of(int(code), "")
        return linkedin_codes.meaning_of_grant(code, 400)
    assert platform == "Google"
    families = [
        family for family, values in vendor_codes.google_ads().items() if code in values
    ] or [""]
    found = {google_ads_codes.meaning_of(family, code) for family in families}
    found |= {google_ads_codes.meaning_of_reason(code), google_ads_codes.meaning_of_grant(code)}
    (meaning,) = found - {Meaning.UNKNOWN}
    return meaning


def test_the_documentation_names_every_meaning_with_its_codes() -> None:
    named = documented()
    assert list(named) == [meaning.value for meaning in Meaning]
    for name, examples in named.items():
        assert examples or name == "unknown"
        for platform, code in examples:
            assert documented_meaning(platform, code).value == name, (platform, code)
