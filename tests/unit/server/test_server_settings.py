"""A server's settings in addition to the workers'."""

from __future__ import annotations

import pytest

from server.settings import LINGER, ServerSettings
from workers.errors import ConfigurationError
from workers.settings import load, load_settings

SECRET = "pass-word-of-the-database"


def test_every_setting_has_a_default() -> None:
    known = load(ServerSettings, {})
    assert (known.server_host, known.port) == ("127.0.0.1", 3001)
    assert known.database_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "-1"),
        ("PORT", "http"),
        ("NOTIFICATIONS_SCHEDULE", "every minute"),
        ("METRICS_SCHEDULE", "rate(0 minutes)"),
        ("RETENTION_SCHEDULE", "every sunday"),
        ("RETENTION_TIME_ZONE", "Europe/Nowhere"),
        ("RETENTION_TIME_ZONE", "../../etc/passwd"),
        ("LOG_FORMAT", "xml"),
        ("EMF_METRICS", "1"),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@db.example.com:6543/postgres"),
        ("DATABASE_URL", f"mysql://u:{SECRET}@db.example.com/postgres"),
        ("DATABASE_URL", f"postgresql://u:{SECRET}/x@db.example.com/postgres"),
        ("DATABASE_URL", f"postgresql://u:{SECRET}\n@db.example.com/postgres"),
    ],
)
def test_a_malformed_setting_is_named_but_not_quoted(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(ServerSettings, {name: value})
    assert str(refused.value).startswith(f"{name} ")
    assert SECRET not in str(refused.value)


def test_all_malformed_settings_are_named_together() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(ServerSettings, {"PORT": "x", "LOG_FORMAT": "y"})
    assert "PORT" in str(refused.value)
    assert "LOG_FORMAT" in str(refused.value)


def test_the_database_password_is_shown_nowhere() -> None:
    known = load(
        ServerSettings, {"DATABASE_URL": f"postgresql://u:{SECRET}@db.example.com:5432/postgres"}
    )
    assert known.database_url is not None
    assert (known.database_url.host, known.database_url.port) == ("db.example.com", 5432)
    assert SECRET not in repr(known)


def test_a_server_lingers_unless_configured_otherwise() -> None:
    needed = {
        "SUPABASE_URL": "https://x.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_x",
        "SLACK_BOT_TOKEN": "xoxb-x",
    }  # fmt: skip
    assert load_settings(needed).notification_linger_seconds == 0
    assert load_settings(needed, defaults=LINGER).notification_linger_seconds == 150
    chosen = {**needed, "NOTIFICATION_LINGER_SECONDS": "0"}
    assert load_settings(chosen, defaults=LINGER).notification_linger_seconds == 0
