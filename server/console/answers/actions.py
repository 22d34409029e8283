"""Answers about what people do from the console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.console.answers.paging import read_key
from workers.answers import Answer

# How many of what, by the names of the counts.
Numbers = Mapping[str, int]


class Ending(StrEnum):
    """How an action ended."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    # Refused, since what it needs was in use.
    BUSY = "busy"
    # Someone stopped it before it was done.
    STOPPED = "stopped"


class Acceptance(StrEnum):
    """What became of a confirmation: done at once or begun; or not carried out, since it was
    before (repeated), affects something else by now (stale), or the same is running (busy)."""

    DONE = "done"
    BEGUN = "begun"
    REPEATED = "repeated"
    STALE = "stale"
    BUSY = "busy"


@dataclass(frozen=True)
class ActionRecord:
    """A row of console_actions. `ending` is None while it runs; `is_lost`: it should be running,
    but has not reported for two minutes."""

    id: str
    action: str
    subject: str
    arguments: Mapping[str, object]
    who: str
    session: str
    began_at: datetime
    ended_at: datetime | None
    ending: Ending | None
    is_lost: bool
    confirmed: Numbers
    touched: Numbers
    error: str | None


@dataclass(frozen=True)
class ActionPage:
    """Of `list_console_actions`; `next` is the place where the next page begins."""

    rows: tuple[ActionRecord, ...]
    next: Mapping[str, str] | None


@dataclass(frozen=True)
class DatabaseScope:
    """Of `console_scope`."""

    fingerprint: str
    numbers: Numbers


def read_action_page(answer: Answer) -> ActionPage:
    """As `list_console_actions` returns it."""
    return ActionPage(
        rows=tuple(map(read_action, answer.inners("rows"))), next=read_key(answer, "next")
    )


def read_action(answer: Answer) -> ActionRecord:
    """As `console_action` returns it."""
    is_running = answer.optional_text("outcome") is None
    return ActionRecord(
        id=answer.text("id"),
        action=answer.text("action"),
        subject=answer.text("subject"),
        arguments=answer.inner("arguments").fields,
        who=answer.text("who"),
        session=answer.text("session"),
        began_at=answer.time("began_at"),
        ended_at=answer.optional_time("ended_at"),
        ending=None if is_running else answer.choice("outcome", Ending),
        is_lost=answer.flag("is_lost"),
        confirmed=answer.wholes("confirmed"),
        touched=answer.wholes("touched"),
        error=answer.optional_text("error"),
    )


def read_scope(answer: Answer) -> DatabaseScope:
    """As `console_scope` returns it."""
    return DatabaseScope(answer.text("fingerprint"), answer.wholes("numbers"))


def read_acceptance(answer: Answer) -> Acceptance:
    """As `console_act` and `begin_console_action` return it."""
    return answer.choice("outcome", Acceptance)
