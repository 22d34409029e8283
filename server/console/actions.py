"""All actions by name: the arguments that each needs, and the question that it asks."""

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
from server.console.stopping import STOP
from workers.clock import utc_now
from workers.metrics.windows import past_window

MOST_CHOSEN: Final = 1_000
# As much of a template as the doctor reads.
LONGEST_TEMPLATE: Final = 12_000
# https://docs.slack.dev/reference/objects/conversation-object
_CHANNEL: Final = re.compile(r"[CGD][A-Z0-9]{1,30}")

# Where counting ends: `console_scope` reads no more.
COUNTED_TO: Final = 10_000
COUNTED_IN_PART: Final = ("notifications_waiting", "notifications_waiting_with_it")
# What the numbers count: singular and plural.
NOUNS: Final[Mapping[str, tuple[str, str]]] = {
    "destinations": ("destination", "destinations"),
    "notifications_waiting": ("notification waiting there", "notifications waiting there"),
    "parked_connections": ("parked connection", "parked connections"),
    "waiting_accounts": ("waiting account", "waiting accounts"),
    "days_to_be_read_again": ("day to be retried at once", "days to be retried at once"),
    "released": ("connection or account released", "connections and accounts released"),
    "notifications": ("notification", "notifications"),
    "deliveries": ("delivery", "deliveries"),
    "deliveries_elsewhere": (
        "of them to another channel or person: a notification is one, wherever it goes",
        "of them to other channels or people: a notification is one, wherever it goes",
    ),
    "rows_archived": ("row archived", "rows archived"),
    "rows_purged": ("row deleted", "rows deleted"),
    "rows_counted_to_archive": ("row would be archived", "rows would be archived"),
    "rows_counted_to_purge": ("row would be deleted", "rows would be deleted"),
    "days_to_read": ("day to read", "days to read"),
    "days_not_kept": (
        "day that the platform no longer keeps",
        "days that the platform no longer keeps",
    ),
    "days_read": ("day read", "days read"),
    "rows_read": ("row read", "rows read"),
    "rows_restored": ("row restored", "rows restored"),
    "figures_created": ("figure created", "figures created"),
    "figures_updated": ("figure updated", "figures updated"),
    "objects": ("archived object", "archived objects"),
    "bytes": ("byte", "bytes"),
    "accounts_asked": ("ad account checked", "ad accounts checked"),
    "rows_changed": ("row changed", "rows changed"),
    "templates": ("template", "templates"),
    "actions_stopped": ("action stopped", "actions stopped"),
    "notifications_waiting_with_it": (
        "waiting notification that will use it",
        "waiting notifications that will use it",
    ),
    "messages_posted": ("message posted and deleted", "messages posted and deleted"),
    "subjects": ("section checked", "sections checked"),
    "found_failed": ("problem", "problems"),
    "found_warning": ("warning", "warnings"),
    "found_ok": ("passed check", "passed checks"),
    "perhaps_posted": (
        "may already be posted and is searched for in Slack first",
        "may already be posted and are searched for in Slack first",
    ),
}


def _only(values: Mapping[str, list[str]], name: str, what: str) -> str:
    found = [value.strip() for value in values.get(name, []) if value.strip()]
    if len(found) != 1:
        raise ValueError(f"Give exactly one {what}.")
    return found[0]


def _row_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError(f"{text[:60]} is not a valid id.") from None


def _destination(values: Mapping[str, list[str]]) -> dict[str, Any]:
    return {"destination": _only(values, "destination", "channel or person")}


def _connection(values: Mapping[str, list[str]]) -> dict[str, Any]:
    return {"connection_id": _row_id(_only(values, "connection_id", "connection"))}


def _action_id(values: Mapping[str, list[str]]) -> dict[str, Any]:
    return {"action_id": _row_id(_only(values, "action_id", "action"))}


def _notifications(*states: str) -> Callable[[Mapping[str, list[str]]], Arguments]:
    """Those that are selected, or else those that match the filters, with one of these states."""

    def read(values: Mapping[str, list[str]]) -> Arguments:
        ids = sorted({_row_id(one) for one in values.get("id", [])})
        if len(ids) > MOST_CHOSEN:
            raise ValueError(f"At most {MOST_CHOSEN:,} can be selected at a time.")
        if ids:
            return {"ids": ids}
        chosen = {name: _only(values, name, name) for name in FILTERS if any(values.get(name, []))}
        if chosen.get("state") not in states:
            raise ValueError(f"Select some first, or filter by the state {' or '.join(states)}.")
        return {"filter": filter_of(chosen)}

    return read


def _which(arguments: Arguments) -> str:
    if "ids" in arguments:
        ids = arguments["ids"]
        return str(ids[0]) if len(ids) == 1 else f"{len(ids)} selected ones"
    return ", ".join(f"{name} {value}" for name, value in arguments["filter"].items() if value)


def _list_of(arguments: Arguments) -> str:
    if len(arguments.get("ids", [])) == 1:
        return f"/notifications/{arguments['ids'][0]}"
    return "/notifications"


def _channel(values: Mapping[str, list[str]]) -> dict[str, Any]:
    channel = _only(values, "channel", "channel")
    if _CHANNEL.fullmatch(channel) is None:
        raise ValueError(f"{channel[:60]} is not a channel id such as C0123456789.")
    return {"channel": channel}


def _days(values: Mapping[str, list[str]]) -> dict[str, Any]:
    since, until = (asked.day(_only(values, name, name)) for name in ("since", "until"))
    if until < since:
        raise ValueError("The last day is before the first.")
    return {"since": since.isoformat(), "until": until.isoformat()}


def _as_of(values: Mapping[str, list[str]]) -> dict[str, Any]:
    """When the page was opened, by which everything it counts is due."""
    now = utc_now()
    given = values.get("as_of")
    as_of = asked.moment(_only(values, "as_of", "time")) if given else now
    if as_of > now:
        raise ValueError(f"{as_of.isoformat()} has not come yet.")
    return {"as_of": as_of.isoformat()}


def _template(values: Mapping[str, list[str]]) -> dict[str, Any]:
    texts = values.get("template", [])
    if len(texts) != 1 or not texts[0].strip():
        raise ValueError("Enter one template.")
    # a browser sends line breaks as CRLF
    template = texts[0].replace("\r\n", "\n")
    if len(template) > LONGEST_TEMPLATE:
        raise ValueError(f"The template is longer than {LONGEST_TEMPLATE:,} characters.")
    return {"config_id": _row_id(_only(values, "config_id", "config")), "template": template}


def _past(values: Mapping[str, list[str]]) -> dict[str, Any]:
    days = {name: asked.day(_only(values, name, name)) for name in ("since", "until")}
    past = past_window(days["since"], days["until"], utc_now().date())
    return {**_connection(values), "since": f"{past.since}", "until": f"{past.until}"}


def _range(arguments: Arguments) -> str:
    return f"{arguments['since']} to {arguments['until']}"


def _part(name: str) -> Callable[[Arguments], str]:
    return lambda arguments: str(arguments[name])


ACTIONS: Final[Mapping[str, Action]] = {
    "release_destination": Action(
        "Release",
        "Release this channel or person, so that the next run tries it again?",
        _destination,
        _part("destination"),
        InDatabase(),
        lambda arguments: f"/notifications?{urlencode({'channel': arguments['destination']})}",
    ),
    "release_account": Action(
        "Release",
        "Release this account, so that the next plan syncs it?",
        _connection,
        _part("connection_id"),
        InDatabase(),
        lambda arguments: "/metrics",
    ),
    "redrive": Action(
        "Redrive",
        "Deliver these dead and expired notifications after all?",
        _notifications("dead", "expired"),
        _which,
        InDatabase(),
        _list_of,
        remark="What was delivered is not sent again. At most the newest 1,000 at a time.",
    ),
    "skip": Action(
        "Skip",
        "Skip these notifications, so that they are not posted?",
        _notifications("waiting"),
        _which,
        InDatabase(),
        _list_of,
        is_destructive=True,
        remark="Notifications that are being posted right now are not skipped. "
        "At most the newest 1,000 at a time.",
    ),
    "save_template": Action(
        "Save the template",
        "Save this as the template of the config?",
        _template,
        _part("config_id"),
        InDatabase(),
        lambda arguments: "/notifications/try",
        remark="The record of this action keeps the template that it replaces.",
        text=_part("template"),
    ),
    "examine": Action(
        "Check again",
        "Run the doctor again?",
        lambda values: {},
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
        remark="The doctor also checks everything else, and reports the result.",
    ),
    "backfill": Action(
        "Read them",
        "Read these days of the account again?",
        _past,
        _part("connection_id"),
        READ_PAST,
        lambda arguments: "/metrics",
        remark="If it is interrupted or stopped, the same days continue where it stopped.",
    ),
    "retention_dry_run": Action(
        "Count",
        "Count what retention would archive and delete now?",
        lambda values: {},
        lambda arguments: "",
        RETENTION_DRY_RUN,
        lambda arguments: "/retention",
    ),
    "retention": Action(
        "Archive and delete",
        "Archive and delete now what is due by the retention policies?",
        _as_of,
        lambda arguments: "",
        RETENTION,
        lambda arguments: "/retention",
        is_destructive=True,
    ),
    "restore": Action(
        "Restore",
        "Restore activity of these days from the cold archive?",
        _days,
        _range,
        RESTORE,
        lambda arguments: f"/retention/archive?{urlencode({'until': arguments['until']})}",
        remark="Existing rows stay as they are, so that it can safely be repeated.",
    ),
    "stop": Action(
        "Stop",
        "Stop this action?",
        _action_id,
        _part("action_id"),
        STOP,
        lambda arguments: f"/actions/{arguments['action_id']}",
        remark="What it is doing at the moment is finished first, which may take a minute. "
        "What it has done stays.",
    ),
}
