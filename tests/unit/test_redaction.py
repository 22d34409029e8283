from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import redaction
from workers.redaction import (
    LONGEST_MESSAGE,
    MOST_REMEMBERED,
    SHORTEST_REMEMBERED,
    SHORTEST_SECRET,
    mask,
    mask_all,
    redact,
    remember,
)


@pytest.mark.parametrize(
    "secret",
    [
        "EAABsbCS1iHgBAKZCxyz0123456789",
        "ya29.a0AfH6SMBx-_.xyz",
        "1//0gLu8XyZabcdefghijk",
        "GOCSPX-abc_DEF-123",
        "AQXb3xkZ-0123456789_abcdefghijklmnopqrst",
        "xoxb-123-456-abcdef",
        "xapp-1-A0-123-abc",
        "sb_secret_abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def",
    ],
)
@pytest.mark.parametrize("around", ["{}", "refused: {}.", '"{}"', "Bearer {}", "a={}&b=1"])
def test_what_looks_like_a_credential_is_removed(secret: str, around: str) -> None:
    assert secret not in redact(around.format(secret))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("GET /me?access_token=hunter2&fields=id", "GET /me?access_token=[redacted]&fields=id"),
        ("a%3Fx%3D1%26access_token%3Dhunter2", "a%3Fx%3D1%26access_token%3D[redacted]"),
        ('{"refresh_token": "hunter2", "x": 1}', '{"refresh_token": "[redacted]", "x": 1}'),
        (r"{\"app_secret\": \"hunter2\"}", r"{\"app_secret\": \"[redacted]\"}"),
        ("client_secret=hunter2", "client_secret=[redacted]"),
        ("Access-Token: hunter2", "Access-Token: [redacted]"),
        ("apikey: hunter2", "apikey: [redacted]"),
        ("Authorization: Bearer hunter2", "Authorization: Bearer [redacted]"),
        ("Authorization: Basic aHVudGVyMg==", "Authorization: Basic [redacted]"),
        ("postgresql://postgres:hunter2@db.host/x", "postgresql://[redacted]@db.host/x"),
        ('{"token": "hunter2"}', '{"token": "[redacted]"}'),
        ("token=hunter2", "token=[redacted]"),
        ("password: correct-horse-battery-staple", "password: [redacted]"),
        ("the token has expired (190/463)", "the token has expired (190/463)"),
        ("Error validating access token: Session has expired on Tuesday.",
         "Error validating access token: Session has expired on Tuesday."),
        ("Meta refused it with 17/2446079", "Meta refused it with 17/2446079"),
        ("SLACK_BOT_TOKEN is missing: bot token", "SLACK_BOT_TOKEN is missing: bot token"),
    ],
)  # fmt: skip
def test_what_a_person_needs_stays(text: str, kept: str) -> None:
    assert redact(text) == kept


def _basic(secret: str) -> str:
    return base64.b64encode(f"user:{secret}".encode("utf-8", "surrogatepass")).decode()


def _urlsafe(secret: str) -> str:
    return base64.urlsafe_b64encode(secret.encode("utf-8", "surrogatepass")).decode()


def _quoted_small(secret: str) -> str:
    text = quote(secret, safe="", errors="surrogatepass")
    return "".join(part.lower() if part[:1] == "%" else part for part in _split(text))


def _split(text: str) -> list[str]:
    parts, at = [], 0
    while at < len(text):
        length = 3 if text[at] == "%" else 1
        parts.append(text[at : at + length])
        at += length
    return parts


# How libraries and servers write a text into a message.
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": json.dumps,
    "JSON with all letters": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"a": text})),
    "repr": repr,
    "ascii": ascii,
    "bytes": lambda text: repr(text.encode("utf-8", "surrogatepass")),
    "repr in JSON": lambda text: json.dumps(repr(text.encode("utf-8", "surrogatepass"))),
    "Latin-1 or a question mark": lambda text: text.encode("latin-1", "replace").decode("latin-1"),
    "ASCII or a question mark": lambda text: text.encode("ascii", "replace").decode(),
    "ASCII alone": lambda text: text.encode("ascii", "ignore").decode(),
    "percent": lambda text: quote(text, safe="", errors="surrogatepass"),
    "percent, small": _quoted_small,
    "percent, twice": lambda text: quote(quote(text, safe="", errors="surrogatepass"), safe=""),
    "form": lambda text: quote_plus(text, errors="surrogatepass"),
    "HTML": html.escape,
    "one line": lambda text: " ".join(text.split()),
    "basic": _basic,
    "base64": _urlsafe,
}
# A credential of letters, with what a careless hand or a strange platform puts in between.
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
ODD = "\n\r\t \u00a0\u200b\u2028Äß€漢😀\"'%&+=/\\{}<>,:;?#@!$()*[]|`^\x00\x1b\x7f"
secrets = st.lists(
    st.text(LETTERS, min_size=4, max_size=8) | st.text(ODD, min_size=1, max_size=3),
    min_size=3,
    max_size=8,
).map(lambda parts: "".join(parts).strip()).filter(
    lambda secret: sum(character in LETTERS for character in secret) >= 12
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@given(secret=secrets, before=st.text(), after=st.text())
def test_a_secret_is_removed_in_every_form(form: str, secret: str, before: str, after: str) -> None:
    written = FORMS[form](secret)
    shown = mask(f"{before} {written} {after}", [secret])
    assert written not in shown
    for piece in _telling_pieces(secret):
        if piece not in before + after:
            assert piece not in shown


def _telling_pieces(secret: str) -> list[str]:
    """Runs of characters long enough to reveal something of it."""
    runs = "".join(one if one in LETTERS else " " for one in secret).split()
    return [run for run in runs if len(run) >= SHORTEST_REMEMBERED]


@given(st.text(), st.lists(st.text(min_size=6, max_size=40), max_size=3), st.text())
def test_secrets_are_removed_wherever_they_are(before: str, secrets: list[str], after: str) -> None:
    shown = redact(before + "".join(secrets) + after, secrets)
    assert len(shown) <= LONGEST_MESSAGE
    for secret in map(str.strip, secrets):
        is_short = len(secret) < SHORTEST_SECRET
        assert is_short or secret not in shown or secret in "[redacted]"


@given(st.lists(st.text(max_size=SHORTEST_SECRET - 1), max_size=4))
def test_no_message_is_garbled_because_a_credential_is_short(secrets: list[str]) -> None:
    shown = "Meta refused it with 190/463: Session has expired on Tuesday (fbtrace_id A1b2)"
    assert redact(shown, [*secrets, "a", "1", "has", "190", "error"]) == shown


def test_the_text_around_a_known_secret_stays() -> None:
    assert redact("a hunter2 b, hunter2!", ["hunter2", ""]) == "a [redacted] b, [redacted]!"


@pytest.mark.parametrize("secrets", [["zebra", "a-zebra-2"], ["a-zebra-2", "zebra"]])
def test_nothing_remains_of_a_secret_that_contains_another(secrets: list[str]) -> None:
    assert redact("sent a-zebra-2 off", secrets) == "sent [redacted] off"


def test_a_long_message_is_cut_and_says_so() -> None:
    assert redact("x" * LONGEST_MESSAGE) == "x" * LONGEST_MESSAGE
    assert redact("x" * (LONGEST_MESSAGE + 1)) == "x" * (LONGEST_MESSAGE - 1) + "…"


def test_a_secret_goes_before_the_message_is_cut() -> None:
    secret = "s3cret-" * 20
    assert "s3cret" not in redact("x" * (LONGEST_MESSAGE - 10) + secret, [secret])


def test_a_remembered_secret_is_removed_from_every_text() -> None:
    remember(["  Quince-and-Medlar\n", "short"])
    assert mask("of Quince-and-Medlar, short") == "of [redacted], short"
    assert mask_all({"a": ["Quince-and-Medlar", 7, None, ("Quince-and-Medlar",)]}) == {
        "a": ["[redacted]", 7, None, ["[redacted]"]]
    }


def test_secrets_of_settings_are_not_forgotten_for_those_of_connections() -> None:
    remember(["Borage-and-Dill"], lasting=True)
    remember(f"Weed number {number:06}" for number in range(2 * MOST_REMEMBERED))
    assert mask("Borage-and-Dill") == "[redacted]"


def test_a_text_without_any_of_them_is_compared_with_no_pattern() -> None:
    remember(f"Weed number {number:06}" for number in range(MOST_REMEMBERED))
    before = redaction._written.cache_info()
    assert mask("The run ended: drained") == "The run ended: drained"
    assert redaction._written.cache_info() == before
    assert mask("Weed%20number%20000007!") == "[redacted]!"


def test_only_the_latest_are_remembered() -> None:
    remember(["Sorrel-and-Tansy"])
    remember(f"Weed number {number:06}" for number in range(MOST_REMEMBERED - 1))
    assert mask("Sorrel-and-Tansy") == "[redacted]"
    remember(["Weed number 999999"])
    assert mask("Sorrel-and-Tansy") == "Sorrel-and-Tansy"
