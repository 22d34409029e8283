from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.redaction import LONGEST_MESSAGE, SHORTEST_SECRET, redact


@pytest.mark.parametrize(
    "secret",
    [
        "EAABsbCS1iHgBAKZCxyz0123456789",
        "ya29.a0AfH6SMBx-_.xyz",
        "1//0gLu8XyZabcdefghijk",
        "GOCSPX-abc_DEF-123",
        "AQXb3xkZ-0123456789_abcdefghijklmnopqrst",
        "xoxb-123-456-abcdef",
        "sb_secret_abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def",
    ],
)
@pytest.mark.parametrize("around", ["{}", "refused: {}.", '"{}"', "Bearer {}", "a={}&b=1"])
def test_what_looks_like_a_credential_goes(secret: str, around: str) -> None:
    assert secret not in redact(around.format(secret))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("GET /me?access_token=hunter2&fields=id", "GET /me?access_token=[redacted]&fields=id"),
        ('{"refresh_token": "hunter2", "x": 1}', '{"refresh_token": "[redacted]", "x": 1}'),
        ("client_secret=hunter2", "client_secret=[redacted]"),
        ("Access-Token: hunter2", "Access-Token: [redacted]"),
        ("Authorization: Bearer hunter2", "Authorization: Bearer [redacted]"),
        ('{"token": "hunter2"}', '{"token": "[redacted]"}'),
        ("token=hunter2", "token=[redacted]"),
        ("password: correct-horse-battery-staple", "password: [redacted]"),
        ("the token has expired (190/463)", "the token has expired (190/463)"),
        ("Error validating access token: Session has expired on Tuesday.",
         "Error validating access token: Session has expired on Tuesday."),
        ("Meta refused it with 17/2446079", "Meta refused it with 17/2446079"),
    ],
)  # fmt: skip
def test_what_a_person_needs_stays(text: str, kept: str) -> None:
    assert redact(text) == kept


@given(st.text(), st.lists(st.text(min_size=6, max_size=40), max_size=3), st.text())
def test_known_secrets_go_wherever_they_stand(before: str, secrets: list[str], after: str) -> None:
    told = redact(before + "".join(secrets) + after, secrets)
    assert len(told) <= LONGEST_MESSAGE
    for secret in secrets:
        assert secret not in told or secret in "[redacted]"


@given(st.lists(st.text(max_size=SHORTEST_SECRET - 1), max_size=4))
def test_no_message_is_garbled_because_a_credential_is_short(secrets: list[str]) -> None:
    told = "Meta refused it with 190/463: Session has expired on Tuesday (fbtrace_id A1b2)"
    assert redact(told, [*secrets, "a", "1", "has", "190", "error"]) == told


def test_what_stands_around_a_known_secret_stays() -> None:
    assert redact("a hunter2 b, hunter2!", ["hunter2", ""]) == "a [redacted] b, [redacted]!"


@pytest.mark.parametrize("secrets", [["zebra", "a-zebra-2"], ["a-zebra-2", "zebra"]])
def test_no_rest_of_a_secret_that_holds_another_stays(secrets: list[str]) -> None:
    assert redact("sent a-zebra-2 off", secrets) == "sent [redacted] off"


def test_a_long_message_is_cut_and_says_so() -> None:
    assert redact("x" * LONGEST_MESSAGE) == "x" * LONGEST_MESSAGE
    assert redact("x" * (LONGEST_MESSAGE + 1)) == "x" * (LONGEST_MESSAGE - 1) + "…"
