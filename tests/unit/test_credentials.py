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
    ("\t", "a space"),
    (" ", "a space"),
    ("\u00a0", "a space"),
    ("\u200b", "an invisible character"),
    ("\x00", "an invisible character"),
    ("Ä", "a character that is not ASCII"),
    ("漢", "a character that is not ASCII"),
]


@given(st.text(alphabet=[chr(code) for code in range(33, 127)]))
def test_what_a_header_allows_has_no_flaw(credential: str) -> None:
    assert flaw_of(credential) is None


@given(st.text(), st.characters(exclude_characters=[chr(code) for code in range(33, 127)]))
def test_anything_else_has_a_flaw_that_quotes_nothing(text: str, character: str) -> None:
    flaw = flaw_of(f"hunter{character}{text}two")
    assert flaw is not None
    assert "hunter" not in flaw
    assert character == " " or character not in flaw
    assert "at position 7" in flaw


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(("inside", "flaw"), FLAWS)
def test_a_setting_is_refused_by_name(name: str, inside: str, flaw: str) -> None:
    start = NEEDED.get(name, "https://key@sentry.example/1")
    value = f"{start}first{inside}SECONDHALF"
    with pytest.raises(ConfigurationError) as caught:
        load_settings({**NEEDED, name: value})
    assert f"{name} contains {flaw}" in str(caught.value)
    assert "SECONDHALF" not in str(caught.value)


@pytest.mark.parametrize("name", ["access_token", "refresh_token", "client_secret", "client_id"])
@pytest.mark.parametrize(("inside", "flaw"), FLAWS)
def test_a_connections_credential_is_refused_as_a_fault_of_its_own(
    name: str, inside: str, flaw: str
) -> None:
    connection = Connection("1", "meta", "act_1", None, {name: f" first{inside}SECONDHALF\n"})
    with pytest.raises(ConnectionCredentialsError) as caught:
        connection.optional_credential(name)
    assert caught.value.code == "credentials_malformed"
    assert f"{name} of the connection's credentials contains" in str(caught.value)
    assert flaw in str(caught.value)
    assert "SECONDHALF" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", " \n", True, 1.5, [], {"v": "x"}])
def test_a_value_that_is_not_a_text_counts_as_missing(value: object) -> None:
    connection = Connection("1", "meta", "act_1", None, {"access_token": value})
    with pytest.raises(ConnectionCredentialsError, match="lack access_token"):
        connection.credential("access_token")
