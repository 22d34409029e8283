"""How actions are carried out: what each affects, how it is done, and its record.

An action is confirmed on a page that shows in numbers what it affects. The page has a key, so that
one confirmation acts once, however often it is sent. It also has a fingerprint of what it showed:
if that has changed by then, nothing is done and the page is shown again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from server.console.answers.actions import (
    Acceptance,
    Ending,
    Numbers,
    read_acceptance,
    read_scope,
)
from server.console.project import Project
from workers.clock import SystemClock
from workers.errors import UnknownError, WorkerError
from workers.redaction import redact
from workers.telemetry import logger

# What an action is done to, as JSON.
Arguments = Mapping[str, Any]

# Seconds before each further try to record how an action ended.
RECORDED_AFTER: Final = (1.0, 5.0, 30.0)
# Seconds between reports that an action still runs: well within the two minutes after which it
# counts as interrupted.
RENEWED_EVERY: Final = 15.0


@dataclass(frozen=True)
class Scope:
    """What an action would affect now; `remarks` are sentences for the person who confirms.

    Two scopes with the same fingerprint are of the same things in the same state."""

    fingerprint: str
    numbers: Numbers
    remarks: tuple[str, ...] = ()
    # Whether there is anything to do.
    is_empty: bool = False


@dataclass(frozen=True)
class Confirmation:
    """An action that someone confirmed."""

    key: str
    fingerprint: str
    subject: str
    arguments: Arguments
    who: str
    session: str


class NotDoneError(Exception):
    """The action was not carried out, or only in part. The text says why."""

    ending = Ending.FAILED


class BusyError(NotDoneError):
    """What the action needs is in use: nothing was done."""

    ending = Ending.BUSY


class StoppedError(NotDoneError):
    """Someone stopped the action before it was done."""

    ending = Ending.STOPPED


class Work(Protocol):
    """How an action is measured and carried out. Both raise WorkerError."""

    def scope(self, project: Project, name: str, arguments: Arguments) -> Scope:
        """What it would affect now."""

    def act(self, project: Project, name: str, confirmation: Confirmation) -> Acceptance:
        """Carries it out, or begins to, unless the confirmation no longer counts."""


@dataclass(frozen=True)
class Action:
    """`title` is the button's label, `question` the heading of the page that asks; `read` makes
    arguments of the values in a query or form and raises ValueError with a sentence; `subject` is
    what it is done to."""

    title: str
    question: str
    read: Callable[[Mapping[str, list[str]]], Arguments]
    subject: Callable[[Arguments], str]
    work: Work
    # Where Cancel leads.
    back: Callable[[Arguments], str]
    is_destructive: bool = False
    remark: str = ""
    # A text to be read before confirming.
    text: Callable[[Arguments], str] = lambda arguments: ""


@dataclass(frozen=True)
class InDatabase:
    """An action in one call: its effect and its record are one transaction."""

    def scope(self, project: Project, name: str, arguments: Arguments) -> Scope:
        found = read_scope(project.answer("console_scope", action=name, arguments=arguments))
        is_empty = not any(found.numbers.values())
        return Scope(found.fingerprint, found.numbers, is_empty=is_empty)

    def act(self, project: Project, name: str, confirmation: Confirmation) -> Acceptance:
        answer = project.answer(
            "console_act",
            id=confirmation.key,
            action=name,
            subject=confirmation.subject,
            arguments=confirmation.arguments,
            fingerprint=confirmation.fingerprint,
            who=confirmation.who,
            session=confirmation.session,
        )
        return read_acceptance(answer)


@dataclass(frozen=True)
class Run:
    """An action in progress: `report` is called now and then with what was affected so far; what
    is in progress once `clock` is stopped is the last step."""

    report: Callable[[Numbers], None]
    clock: SystemClock


CarryOut = Callable[[Project, Arguments, Run], Numbers]


@dataclass(frozen=True)
class InThread:
    """An action that takes longer than a call, in a thread of the console, with progress.

    `measure` returns what it would affect. `carry_out` returns what it affected; it raises
    WorkerError, or NotDoneError with the reason. While `is_busy`, it does not begin."""

    measure: Callable[[Project, Arguments], Scope]
    carry_out: CarryOut
    is_busy: Callable[[Project], bool] = lambda project: False

    def scope(self, project: Project, name: str, arguments: Arguments) -> Scope:
        return self.measure(project, arguments)

    def act(self, project: Project, name: str, confirmation: Confirmation) -> Acceptance:
        scope = self.measure(project, confirmation.arguments)
        acceptance = begin(project, name, confirmation, scope, is_busy=self.is_busy(project))
        if acceptance is Acceptance.BEGUN:
            thread = _Thread(project, confirmation.key, self.carry_out, confirmation.arguments)
            threading.Thread(target=thread.run, name=name, daemon=True).start()
        return acceptance


def begin(
    project: Project,
    name: str,
    confirmation: Confirmation,
    scope: Scope,
    *,
    is_busy: bool = False,
) -> Acceptance:
    """Records that an action begins, unless its confirmation no longer counts or it `is_busy`."""
    if scope.fingerprint != confirmation.fingerprint or is_busy:
        if project.call("console_action", id=confirmation.key) is not None:
            return Acceptance.REPEATED
        return Acceptance.BUSY if is_busy else Acceptance.STALE
    answer = project.answer(
        "begin_console_action",
        id=confirmation.key,
        action=name,
        subject=confirmation.subject,
        arguments=confirmation.arguments,
        confirmed=scope.numbers,
        who=confirmation.who,
        session=confirmation.session,
    )
    return read_acceptance(answer)


class _Thread:
    """An action that is running."""

    def __init__(
        self,
        project: Project,
        key: str,
        carry_out: CarryOut,
        arguments: Arguments,
    ) -> None:
        self._project, self._key = project, key
        self._carry_out, self._arguments = carry_out, arguments
        self._touched: Numbers = {}
        self._is_over = threading.Event()
        # from now on it can be stopped
        self._clock = project.running.begin(key)

    def run(self) -> None:
        """Run it to its end, and record how it ended."""
        threading.Thread(target=self._renew, name="renewing", daemon=True).start()
        ending, error = Ending.DONE, None
        try:
            run = Run(self._report, self._clock)
            self._touched = self._carry_out(self._project, self._arguments, run)
        except NotDoneError as reason:
            ending, error = reason.ending, redact(str(reason))
        except WorkerError as failure:
            ending, error = Ending.FAILED, redact(str(failure))
        except Exception as failure:  # noqa: BLE001 - the record shows it
            logger.error("An action failed", extra={"error": redact(repr(failure))})
            fault = UnknownError(f"{type(failure).__name__}: {failure}", code="fault")
            ending, error = Ending.FAILED, redact(f"An error in the console itself, {fault}")
        self._project.running.end(self._key)
        self._is_over.set()
        for wait in (*RECORDED_AFTER, None):
            if self._call("end_console_action", outcome=ending, touched=self._touched, error=error):
                break
            if wait is not None:
                SystemClock().sleep(wait)

    def _report(self, touched: Numbers) -> None:
        self._touched = dict(touched)
        self._call("renew_console_action", touched=self._touched)

    def _renew(self) -> None:
        while not self._is_over.wait(RENEWED_EVERY):
            self._call("renew_console_action", touched=self._touched)

    def _call(self, function: str, **arguments: object) -> bool:
        """Whether it was recorded. What is done is done; without its end a record will say
        interrupted."""
        try:
            self._project.call(function, id=self._key, **arguments)
        except WorkerError as error:
            logger.warning(
                "An action was not recorded",
                extra={"function": function, "error": redact(str(error))},
            )
            return False
        return True
