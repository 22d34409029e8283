from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import ConfigurationError
from workers.redaction import redact
from workers.settings import Settings, load_settings, read_dotenv

GOOD = {
    "SUPABASE_URL": "https://abc.supabase.co",
    "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_abc",
    "SLACK_BOT_TOKEN": "xoxb-1-2-abc",
}


def test_three_values_are_enough() -> None:
    settings = load_settings(GOOD)
    assert settings.supabase_url == "https://abc.supabase.co"
    assert settings.slack_api_url == "https://slack.com/api/"
    assert settings.notification_expiry_hours == 24


@pytest.mark.parametrize("key", ["sb_secret_abc", "eyJhbGciOiJIUzI1NiJ9.e30.x"])
def test_both_forms_of_the_key(key: str) -> None:
    loaded = load_settings({**GOOD, "SUPABASE_SERVICE_ROLE_KEY": key})
    assert loaded.supabase_service_role_key == key


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"NOTIFICATION_BATCH_SIZE": "many", "SLACK_API_URL": "https://slack.com"})
    for name in (*GOOD, "NOTIFICATION_BATCH_SIZE", "SLACK_API_URL"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("SUPABASE_URL", "abc.supabase.co", "not a URL"),
        ("SUPABASE_URL", "http://abc.supabase.co", "must be https"),
        ("SUPABASE_URL", "https://user:pw@abc.supabase.co", "plain URL"),
        ("SUPABASE_URL", "https://abc.supabase.co/rest/v1/", "URL alone"),
        ("SUPABASE_URL", "https://supabase.com/dashboard/project/abc", "URL alone"),
        ("SUPABASE_SERVICE_ROLE_KEY", "sb_publishable_abc", "publishable"),
        ("SUPABASE_SERVICE_ROLE_KEY", "hunter2", "sb_secret_"),
        ("SLACK_BOT_TOKEN", "xoxp-hunter2", "xoxb-"),
        ("SLACK_API_URL", "https://slack.com/api", "/api/"),
        ("SLACK_CHANNEL_RATE", "-1", "from 0"),
        ("SLACK_CHANNEL_RATE", "nan", "from 0"),
        ("NOTIFICATION_BATCH_SIZE", "1.5", "whole"),
        ("NOTIFICATION_CONCURRENCY", "0", "from 1"),
        ("META_API_VERSION", "26", "must look like v26.0"),
        ("GOOGLE_ADS_API_VERSION", "v26.1", "must look like v26"),
        ("GOOGLE_TOKEN_URL", "oauth2.googleapis.com", "not a URL"),
        ("TIKTOK_API_VERSION", "1.3", "must look like v1.3"),
        ("LINKEDIN_API_VERSION", "v202607", "must look like 202607"),
        ("LINKEDIN_API_VERSION", "202613", "must look like 202607"),
        ("SYNC_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com", "SQS queue"),
        ("SENTRY_DSN", "https://sentry.example/1", "KEY@HOST"),
        ("GOOGLE_CLIENT_ID", "400 hunter2.apps.googleusercontent.com", "a space"),
        ("GOOGLE_CLIENT_SECRET", "GOCSPX-\nhunter2", "a line break"),
        ("GOOGLE_DEVELOPER_TOKEN", "hunter2\u200b", "invisible"),
        ("NOTIFICATION_THREADS", "yes", "one of: off, on"),
        ("NOTIFICATION_UNVERIFIABLE", "hope", "one of: repost, park"),
        ("NOTIFICATION_LOCALE", "tlh", "one of: en-US, "),
        ("APP_REQUEST_URL", "https://hunter2.example/r", "{id} once"),
        ("APP_REQUEST_URL", "https://hunter2.example/{id}/{id}", "{id} once"),
        ("APP_REQUEST_URL", "https://hunter2-{id}.example/", "the host before {id}"),
        ("APP_REQUEST_URL", "javascript:hunter2/a/b/{id}", "https://"),
        ("APP_REQUEST_URL", "http://hunter2.example/{id}", "must be https"),
        ("APP_REQUEST_URL", "https://me@hunter2.example/{id}", "plain URL"),
        ("APP_REQUEST_URL", "https://hunter2.example/{id}|x", "used in a link"),
        ("METRICS_FIGURES", "conversions, hunter2", "may only contain: conversions, "),
        ("META_CONVERSION_ACTIONS", "purchase, hunter2!", "action types"),
    ],
)
def test_a_malformed_setting_is_named_without_its_value(name: str, value: str, shown: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        load_settings({**GOOD, name: value})
    assert shown in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_list_is_read_however_it_is_written() -> None:
    loaded = load_settings(
        {
            **GOOD,
            "METRICS_FIGURES": " roas,conversions roas",
            "META_CONVERSION_ACTIONS": "lead,lead",
        }
    )
    assert loaded.metrics_figures == ("conversions", "roas")
    assert loaded.meta_conversion_actions == ("lead",)


@pytest.mark.parametrize(
    "url",
    ["https://app.example/requests/{id}", "https://app.example/#/r/{id}?x=1",
     "http://localhost:5173/?request={id}&tab=files"],
)  # fmt: skip
def test_the_address_of_a_request_may_have_its_id_anywhere(url: str) -> None:
    assert load_settings({**GOOD, "APP_REQUEST_URL": url}).app_request_url == url


def test_an_empty_setting_is_not_set() -> None:
    # as the template sets it where there is no archive
    assert load_settings({**GOOD, "ARCHIVE_BUCKET_NAME": ""}).archive_bucket_name is None


def test_http_is_for_loopback() -> None:
    settings = load_settings({**GOOD, "SUPABASE_URL": "http://127.0.0.1:54321/"})
    assert settings.supabase_url == "http://127.0.0.1:54321"


def test_secrets_are_hidden_from_repr() -> None:
    shown = repr(load_settings(GOOD))
    assert "sb_secret_abc" not in shown
    assert "xoxb" not in shown
    secrets = [s for s in fields(Settings) if s.metadata["secret"]]
    assert {s.name for s in secrets} == {
        "supabase_service_role_key",
        "slack_bot_token",
        "google_client_secret",
        "google_developer_token",
        "sentry_dsn",
    }


def test_environment_beats_dotenv_beats_secret(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("SLACK_BOT_TOKEN=xoxb-dotenv\nSUPABASE_URL=https://dotenv.example\n")
    asked: list[str] = []

    def read_secret(name: str) -> dict[str, Any]:
        asked.append(name)
        return {**GOOD, "SLACK_BOT_TOKEN": "xoxb-secret"}

    settings = load_settings(
        {"SUPABASE_URL": "https://environment.example", "WORKERS_SECRET_NAME": "agency/workers"},
        dotenv=dotenv,
        read_secret=read_secret,
    )
    assert settings.supabase_url == "https://environment.example"
    assert settings.slack_bot_token == "xoxb-dotenv"
    assert settings.supabase_service_role_key == "sb_secret_abc"
    assert asked == ["agency/workers"]


def test_an_empty_value_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SLACK_BOT_TOKEN is missing"):
        load_settings({**GOOD, "SLACK_BOT_TOKEN": ""})


def test_dotenv_forms(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "# a comment\n\nexport A=1\nB = 'two words' \nC=\"x # y\"\nD=plain # comment\nE=a=b\n"
        "F=\"x # y\"  # comment\nG='it's'\nH=\"\nI=''\n"
    )
    assert read_dotenv(path) == {
        "A": "1", "B": "two words", "C": "x # y", "D": "plain", "E": "a=b",
        "F": "x # y", "G": "it's", "H": '"', "I": "",
    }  # fmt: skip


def test_a_malformed_dotenv_line_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nxoxb-secret\n")
    with pytest.raises(ConfigurationError, match="line 2") as caught:
        read_dotenv(path)
    assert "xoxb" not in str(caught.value)


@given(st.dictionaries(st.sampled_from([s.name.upper() for s in fields(Settings)]), st.text()))
def test_any_environment_loads_or_names_what_is_wrong(values: dict[str, str]) -> None:
    try:
        settings = load_settings({**GOOD, **values})
    except ConfigurationError as error:
        assert any(name in str(error) for name in values)  # noqa: PT017
    else:
        assert settings.slack_api_url.endswith("/api/")


def test_keys_may_be_in_files(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("xoxb-1-2-of-a-file\n", encoding="utf-8")
    rest = {name: value for name, value in GOOD.items() if name != "SLACK_BOT_TOKEN"}
    loaded = load_settings({**rest, "SLACK_BOT_TOKEN_FILE": str(file)})
    assert loaded.slack_bot_token == "xoxb-1-2-of-a-file"
    assert "of-a-file" not in redact("refused: xoxb-1-2-of-a-file")
    for content, shown in (
        ("", "is empty"),
        ("xoxb-1\nxoxb-2", "contains a line break"),
        ("not-a-token", "starts with xoxb-"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigurationError, match=f"SLACK_BOT_TOKEN.*{shown}"):
            load_settings({**rest, "SLACK_BOT_TOKEN_FILE": str(file)})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    rest = {name: value for name, value in GOOD.items() if name != "SLACK_BOT_TOKEN"}
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "nothing", tmp_path, binary):
        with pytest.raises(ConfigurationError, match=f"SLACK_BOT_TOKEN_FILE: {path} cannot"):
            load_settings({**rest, "SLACK_BOT_TOKEN_FILE": str(path)})


def test_a_key_in_two_places_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SLACK_BOT_TOKEN_FILE are both set"):
        load_settings({**GOOD, "SLACK_BOT_TOKEN_FILE": str(tmp_path / "token")})


def test_only_a_key_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "rate"
    file.write_text("7", encoding="utf-8")
    assert load_settings({**GOOD, "SLACK_CHANNEL_RATE_FILE": str(file)}).slack_channel_rate == 1


def test_defaults_of_a_program_come_last() -> None:
    linger = {"NOTIFICATION_LINGER_SECONDS": "150"}
    assert load_settings(GOOD, defaults=linger).notification_linger_seconds == 150
    assert load_settings({**GOOD, **linger}, defaults={}).notification_linger_seconds == 150
    chosen = {**GOOD, "NOTIFICATION_LINGER_SECONDS": "0"}
    assert load_settings(chosen, defaults=linger).notification_linger_seconds == 0
