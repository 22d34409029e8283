from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.credentials import flaw_of
from workers.errors import ConfigurationError, ConnectionCredentialsError
from workers.metrics.platforms.protocol import Connection
from workers.settings import load_settings

NEEDED = {
    "SUPABASE_URL": "https://abc.supabase.co",
    "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_abcdef",
    "SLACK_BOT_TOKEN": "xoxb-abcdef",
}
SECRETS = (
    "SUPABASE_SERVICE_ROLE_KEY", "SLACK_BOT_TOKEN", "GOOGLE_CLIENT_SECRET",
    "GOOGLE_DEVELOPER_TOKEN", "SENTRY_DSN",
)  # fmt: skip
FLAWS = [
    ("\n", "a line break"),
    ("\r\n", "a line break"),
    ("\t", "a blank"),
    (" ", "a blank"),
    ("\u00a0", "a blank"),
    ("\u200b", "cannot be seen"),
    ("\x00", "cannot be seen"),
    ("Ä", "not ASCII"),
    ("漢", "not ASCII"),
]


@given(st.text(alphabet=[chr(code) for code in range(33, 127)]))
def test_what_a_header_takes_has_no_flaw(credential: str) -> None:
    assert flaw_of(credential) is None


@given(st.text(), st.characters(exclude_characters=[chr(code) for code in range(33, 127)]))
def test_whatever_else_has_one_that_quotes_nothing(text: str, character: str) -> None:
    told = flaw_of(f"hunter{character}{text}two")
    assert told is not None
    assert "hunter" not in told
    assert character == " " or character not in told
    assert "at position 7" in told


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(("inside", "told"), FLAWS)
def test_a_setting_is_refused_by_name(name: str, inside: str, told: str) -> None:
    start = NEEDED.get(name, "https://key@sentry.example/1")
    value = f"{start}first{inside}SECONDHALF"
    with pytest.raises(ConfigurationError) as caught:
        load_settings({**NEEDED, name: value})
    assert f"{name} holds {told}" in str(caught.value).replace("a character that is ", "").replace(
        "a character that ", ""
    )
    assert "SECONDHALF" not in str(caught.value)


@pytest.mark.parametrize("name", ["access_token", "refresh_token", "client_secret", "client_id"])
@pytest.mark.parametrize(("inside", "told"), FLAWS)
def test_a_credential_of_a_connection_is_refused_as_its_own_fault(
    name: str, inside: str, told: str
) -> None:
    connection = Connection("1", "meta", "act_1", None, {name: f" first{inside}SECONDHALF\n"})
    with pytest.raises(ConnectionCredentialsError) as caught:
        connection.optional_credential(name)
    assert caught.value.code == "credentials_malformed"
    assert f"{name} of the connection's credentials holds" in str(caught.value)
    assert told in str(caught.value)
    assert "SECONDHALF" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", " \n", True, 1.5, [], {"v": "x"}])
def test_what_is_no_text_counts_as_missing(value: object) -> None:
    connection = Connection("1", "meta", "act_1", None, {"access_token": value})
    with pytest.raises(ConnectionCredentialsError, match="lack access_token"):
        connection.credential("access_token")
