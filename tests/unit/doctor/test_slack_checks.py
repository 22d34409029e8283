"""The doctor's checks of Slack end with their share of the time."""

from __future__ import annotations

from typing import cast

import pytest

from workers.doctor.slack_checks import MOST_PLACES, check_slack
from workers.errors import TransientError
from workers.notifications.slack import ChannelInfo, HistoryPage, Identity, Slack


class SlowSlack:
    """Each check takes five seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def identity(self) -> Identity:
        return Identity("T1", "B1", "U1", "https://x.slack.com", ("chat:write", "im:write"))

    def channel_info(self, channel: str) -> ChannelInfo:
        self.now += 5
        return ChannelInfo(channel, "general", False, True, False)

    def history_page(self, channel: str, oldest: float, latest: str | float | None) -> HistoryPage:
        return HistoryPage({}, None, 0)

    def open_dm(self, person: str) -> str:
        self.now += 5
        raise TransientError("Slack cannot be reached", code="connect_failed")


@pytest.mark.parametrize(
    ("limit", "checked", "text"),
    [
        (0.0, 0, "60 more channels and people were not checked, for lack of time"),
        (26.0, 6, "54 more channels and people were not checked, for lack of time"),
        (1e9, MOST_PLACES, "20 more channels and people were not checked, to stay within"),
    ],
)
def test_what_was_not_checked_is_reported(limit: float, checked: int, text: str) -> None:
    slack = SlowSlack()
    channels = [f"C{number:02}" for number in range(40)]
    people = [f"U{number:02}" for number in range(20)]
    found = list(check_slack(cast(Slack, slack), channels, people, lambda: slack.now < limit))
    assert slack.now == checked * 5
    assert any(one.text.startswith(text) for one in found)
