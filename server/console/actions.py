"""The actions that there are, by name: what each needs to be told, and what it asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from server.console import asked
from server.console.acting import Action, Arguments, InDatabase
from server.console.long_actions import (
    EXAMINE,
    READ_PAST,
    RESTORE,
    RETENTION,
    RETENTION_DRY_RUN,
)
from server.console.notification_filter import FILTERS, filter_of

MOST_CHOSEN: Final = 1_000
# https://docs.slack.dev/reference/objects/conversation-object
# As much of a template as the doctor reads.
LONGEST_TEMPLATE: Final = 12_000
_CHANNEL: Final = re.compile(r"[CGD][A-Z0-9]{1,30}")

# Numbers of what is touched, in words: one, several.
NOUNS: Final[Mapping[str, tuple[str, str]]] = {
    "destinations": ("destination", "destinations"),
    "notifications_waiting": ("notification that waits there", "notifications that wait there"),
    "parked_connections": ("parked connection", "parked connections"),
    "waiting_accounts": ("account that waits", "accounts that wait"),
    "days_to_be_read_again": ("day to be read again at once", "days to be read again at once"),
    "released": ("connection or account released", "connections and accounts released"),
    "notifications": ("notification", "notifications"),
    "deliveries": ("delivery", "deliveries"),
    "rows_archived": ("row archived", "rows archived"),
    "rows_purged": ("row deleted", "rows deleted"),
    "rows_counted_to_archive": ("row would be archived", "rows would be archived"),
    "rows_counted_to_purge": ("row would be deleted", "rows would be deleted"),
    "days_to_read": ("day to read", "days to read"),
    "days_read": ("day read", "days read"),
    "rows_read": ("row read", "rows read"),
    "rows_restored": ("row restored", "rows restored"),
    "figures_created": ("figure created", "figures created"),
    "figures_updated": ("figure updated", "figures updated"),
    "objects": ("object of the archive", "objects of the archive"),
    "bytes": ("byte", "bytes"),
    "accounts_asked": ("ad account is asked", "ad accounts are asked"),
    "rows_changed": ("row is changed", "rows are changed"),
    "templates": ("template", "templates"),
    "notifications_waiting_with_it": (
        "waiting notification will be posted with it",
        "waiting notifications will be posted with it",
    ),
    "messages_posted": ("message posted, and deleted", "messages posted, and deleted"),
    "subjects": ("subject looked at", "subjects looked at"),
    "found_failed": ("thing wrong", "things wrong"),
    "found_warning": ("warning", "warnings"),
    "found_ok": ("thing well", "things well"),
    "perhaps_posted": (
        "perhaps posted already: looked for in Slack first",
        "perhaps posted already: looked for in Slack first",
    ),
}


def _only(said: Mapping[str, list[str]], name: str, what: str) -> str:
    values = [value.strip() for value in said.get(name, []) if value.strip()]
    if len(values) != 1:
        raise ValueError(f"Say which {what}, and one only.")
    return values[0]


def _row_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError(f"{text[:60]} is no id.") from None


def _destination(said: Mapping[str, list[str]]) -> dict[str, Any]:
    return {"destination": _only(said, "destination", "channel or person")}


def _connection(said: Mapping[str, list[str]]) -> dict[str, Any]:
    return {"connection_id": _row_id(_only(said, "connection_id", "connection"))}


def _notifications(*states: str) -> Callable[[Mapping[str, list[str]]], Arguments]:
    """Those that are named; else those that the filters leave, of one of these states."""

    def read(said: Mapping[str, list[str]]) -> Arguments:
        ids = sorted({_row_id(one) for one in said.get("id", [])})
        if len(ids) > MOST_CHOSEN:
            raise ValueError(f"That is more than {MOST_CHOSEN:,} at a time.")
        if ids:
            return {"ids": ids}
        chosen = {name: _only(said, name, name) for name in FILTERS if any(said.get(name, []))}
        if chosen.get("state") not in states:
            raise ValueError(f"Choose some first, or all that are {' or '.join(states)}.")
        return {"filter": filter_of(chosen)}

    return read


def _which(arguments: Arguments) -> str:
    if "ids" in arguments:
        ids = arguments["ids"]
        return str(ids[0]) if len(ids) == 1 else f"{len(ids)} that were chosen"
    return ", ".join(f"{name} {value}" for name, value in arguments["filter"].items() if value)


def _list_of(arguments: Arguments) -> str:
    if len(arguments.get("ids", [])) == 1:
        return f"/notifications/{arguments['ids'][0]}"
    return "/notifications"


def _channel(said: Mapping[str, list[str]]) -> dict[str, Any]:
    channel = _only(said, "channel", "channel")
    if _CHANNEL.fullmatch(channel) is None:
        raise ValueError(f"{channel[:60]} is no channel's id such as C0123456789.")
    return {"channel": channel}


def _days(said: Mapping[str, list[str]]) -> dict[str, Any]:
    since, until = (asked.day(_only(said, name, name)) for name in ("since", "until"))
    if until < since:
        raise ValueError("The last day is before the first.")
    return {"since": since.isoformat(), "until": until.isoformat()}


def _template(said: Mapping[str, list[str]]) -> dict[str, Any]:
    # a browser sends line breaks as CRLF
    template = "\n".join(said.get("template", [])).replace("\r\n", "\n")
    if not template.strip():
        raise ValueError("The template is empty.")
    if len(template) > LONGEST_TEMPLATE:
        raise ValueError(f"The template is longer than {LONGEST_TEMPLATE:,} characters.")
    return {"config_id": _row_id(_only(said, "config_id", "config")), "template": template}


def _past(said: Mapping[str, list[str]]) -> dict[str, Any]:
    return {**_connection(said), **_days(said)}


def _range(arguments: Arguments) -> str:
    return f"{arguments['since']} to {arguments['until']}"


def _part(name: str) -> Callable[[Arguments], str]:
    return lambda arguments: str(arguments[name])


ACTIONS: Final[Mapping[str, Action]] = {
    "release_destination": Action(
        "Release",
        "Have this channel or person tried again by the next run?",
        _destination,
        _part("destination"),
        InDatabase(),
        lambda arguments: f"/notifications?{urlencode({'channel': arguments['destination']})}",
    ),
    "release_account": Action(
        "Release",
        "Have this account synced by the next plan, though it is parked or waits?",
        _connection,
        _part("connection_id"),
        InDatabase(),
        lambda arguments: "/metrics",
    ),
    "redrive": Action(
        "Redrive",
        "Have these dead and expired notifications delivered after all?",
        _notifications("dead", "expired"),
        _which,
        InDatabase(),
        _list_of,
        remark="What was delivered is not repeated. The newest 1,000 at a time.",
    ),
    "skip": Action(
        "Skip",
        "End these notifications, so that they are not posted?",
        _notifications("waiting"),
        _which,
        InDatabase(),
        _list_of,
        is_destructive=True,
        remark="What is being posted at the moment stays. The newest 1,000 at a time.",
    ),
    "save_template": Action(
        "Save the template",
        "Save this as the template of the notification's config?",
        _template,
        _part("config_id"),
        InDatabase(),
        lambda arguments: "/notifications/try",
        remark="The record of this action keeps the template that it replaces.",
        text=_part("template"),
    ),
    "examine": Action(
        "Examine again",
        "Have the doctor look at everything again?",
        lambda said: {},
        lambda arguments: "",
        EXAMINE,
        lambda arguments: "/doctor",
    ),
    "test_post": Action(
        "Post a test message",
        "Post a test message there, find it and delete it?",
        _channel,
        _part("channel"),
        EXAMINE,
        lambda arguments: "/doctor",
        remark="The doctor looks at everything else on the way, and says what came of it.",
    ),
    "backfill": Action(
        "Read them",
        "Read these days of the account again?",
        _past,
        _part("connection_id"),
        READ_PAST,
        lambda arguments: "/metrics",
        remark="The same days, asked for again, go on where it stopped.",
    ),
    "retention_dry_run": Action(
        "Count",
        "Count what a run of retention would take now?",
        lambda said: {},
        lambda arguments: "",
        RETENTION_DRY_RUN,
        lambda arguments: "/retention",
    ),
    "retention": Action(
        "Archive and delete",
        "Archive and delete now what the retention policies say?",
        lambda said: {},
        lambda arguments: "",
        RETENTION,
        lambda arguments: "/retention",
        is_destructive=True,
    ),
    "restore": Action(
        "Restore",
        "Bring activity of these days back from the cold archive?",
        _days,
        _range,
        RESTORE,
        lambda arguments: f"/retention/archive?{urlencode({'until': arguments['until']})}",
        remark="What is there stays as it is; it can be done again.",
    ),
}
