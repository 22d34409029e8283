"""What people do from here: of each action what it touches, how it is done, and its record.

An action is confirmed on a page that says what it will touch, in numbers. That page has a key: one
confirmation acts once, however often it is sent. It also has a fingerprint of what it showed: where
that is another by now, nothing is done and the page is shown anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from server.console.project import Project
from workers.errors import UnknownError, WorkerError
from workers.redaction import redact
from workers.telemetry import logger

# What an action is done to, as JSON.
Arguments = Mapping[str, Any]
# What is touched: how many, by what.
Numbers = Mapping[str, int]
# Told now and then what was touched so far.
Tell = Callable[[Numbers], None]

# How often one that goes on says so, in seconds: well within the two minutes after which it counts
# as broken off.
RENEWED_EVERY: Final = 15.0


@dataclass(frozen=True)
class Scope:
    """What an action would touch now; `remarks` are sentences for whoever confirms.

    Two of the same fingerprint are of the same things in the same state."""

    fingerprint: str
    numbers: Numbers
    remarks: tuple[str, ...] = ()
    # Whether there is anything to do.
    is_empty: bool = False


@dataclass(frozen=True)
class Confirmation:
    """What somebody has confirmed."""

    key: str
    fingerprint: str
    subject: str
    arguments: Arguments
    who: str
    session: str


class NotDoneError(Exception):
    """It was not done, or not all of it, as where another is at it. Its text says why."""


class Work(Protocol):
    """How an action is measured and done. Both raise WorkerError."""

    def scope(self, project: Project, name: str, arguments: Arguments) -> Scope:
        """What it would touch now."""

    def act(self, project: Project, name: str, confirmation: Confirmation) -> str:
        """done, begun, repeated, stale or busy."""


@dataclass(frozen=True)
class Action:
    """`title` is a button's, `question` a sentence on the page that asks; `read` makes arguments of
    what a page's query or a form says and raises ValueError with a sentence; `subject`: what it is
    done to."""

    title: str
    question: str
    read: Callable[[Mapping[str, list[str]]], Arguments]
    subject: Callable[[Arguments], str]
    work: Work
    # Where one goes who does not do it.
    back: Callable[[Arguments], str]
    is_destructive: bool = False
    remark: str = ""
    # What is to be read before one says yes.
    text: Callable[[Arguments], str] = lambda arguments: ""


@dataclass(frozen=True)
class InDatabase:
    """One call: the effect and its record are a transaction."""

    def scope(self, project: Project, name: str, arguments: Arguments) -> Scope:
        found = project.call("console_scope", action=name, arguments=arguments)
        numbers = found["numbers"]
        return Scope(found["fingerprint"], numbers, is_empty=not any(numbers.values()))

    def act(self, project: Project, name: str, confirmation: Confirmation) -> str:
        answer = project.call(
            "console_act",
            id=confirmation.key,
            action=name,
            subject=confirmation.subject,
            arguments=confirmation.arguments,
            fingerprint=confirmation.fingerprint,
            who=confirmation.who,
            session=confirmation.session,
        )
        return str(answer["outcome"])


@dataclass(frozen=True)
class UnderWay:
    """What takes longer than a call, in a thread of the console: it tells how far it is.

    `measure` says what it would touch. `carry_out` returns what it touched; it raises WorkerError,
    or NotDoneError with the reason."""

    measure: Callable[[Project, Arguments], Scope]
    carry_out: Callable[[Project, Arguments, Tell], Numbers]

    def scope(self, project: Project, name: str, arguments: Arguments) -> Scope:
        return self.measure(project, arguments)

    def act(self, project: Project, name: str, confirmation: Confirmation) -> str:
        scope = self.measure(project, confirmation.arguments)
        if scope.fingerprint != confirmation.fingerprint:
            known = project.call("console_action", id=confirmation.key)
            return "stale" if known is None else "repeated"
        answer = project.call(
            "begin_console_action",
            id=confirmation.key,
            action=name,
            subject=confirmation.subject,
            arguments=confirmation.arguments,
            confirmed=scope.numbers,
            who=confirmation.who,
            session=confirmation.session,
        )
        if answer == "begun":
            run = _Run(project, confirmation.key, self.carry_out, confirmation.arguments)
            threading.Thread(target=run.run, name=name, daemon=True).start()
        return str(answer)


class _Run:
    """One action that goes on."""

    def __init__(
        self,
        project: Project,
        key: str,
        carry_out: Callable[[Project, Arguments, Tell], Numbers],
        arguments: Arguments,
    ) -> None:
        self._project, self._key = project, key
        self._carry_out, self._arguments = carry_out, arguments
        self._touched: Numbers = {}
        self._is_over = threading.Event()

    def run(self) -> None:
        """Until it has ended, however it does; the record has how."""
        threading.Thread(target=self._renew, name="renewing", daemon=True).start()
        outcome, error = "done", None
        try:
            self._touched = self._carry_out(self._project, self._arguments, self._tell)
        except (NotDoneError, WorkerError) as failure:
            outcome, error = "failed", redact(str(failure))
        except Exception as failure:  # noqa: BLE001 - it is told where one looks
            logger.error("An action failed", extra={"error": redact(repr(failure))})
            fault = UnknownError(f"{type(failure).__name__}: {failure}", code="fault")
            outcome, error = "failed", redact(f"A fault of the console itself, {fault}")
        self._is_over.set()
        self._call("end_console_action", outcome=outcome, touched=self._touched, error=error)

    def _tell(self, touched: Numbers) -> None:
        self._touched = dict(touched)
        self._call("renew_console_action", touched=self._touched)

    def _renew(self) -> None:
        while not self._is_over.wait(RENEWED_EVERY):
            self._call("renew_console_action", touched=self._touched)

    def _call(self, function: str, **arguments: Any) -> None:
        try:
            self._project.call(function, id=self._key, **arguments)
        except WorkerError as error:  # what is done is done; its record says broken off
            logger.warning(
                "An action was not recorded",
                extra={"function": function, "error": redact(str(error))},
            )
