"""Stopping an action that this console carries out."""

from __future__ import annotations

import threading
from typing import Final

from server.console.acting import Arguments, Confirmation, Scope, begin
from server.console.answers.actions import Acceptance, Ending, read_action
from server.console.project import Project

# By the state of the action: why there is nothing to stop.
_WHY_NOT: Final = {
    "unknown": "There is no such action.",
    "ended": "It has ended.",
    "stopping": "Someone has stopped it: it ends once what it is doing at the moment is done.",
    "elsewhere": "Another console carries it out: only that one can stop it.",
}


class Stopping:
    """The stop of an action: what is in progress is finished first.

    Where the action ends at that moment, its end counts, and the stop is recorded as failed."""

    def __init__(self) -> None:
        # of two people who stop the same action, the second one sees that it is being stopped
        self._lock = threading.Lock()

    def scope(self, project: Project, name: str, arguments: Arguments) -> Scope:
        """One action, while it runs in this process."""
        key = arguments["action_id"]
        answer = project.optional_answer("console_action", id=key)
        if answer is None:
            return _nothing("unknown")
        record = read_action(answer)
        if record.ended_at is not None:
            return _nothing("ended")
        if project.running.is_stopping(key):
            return _nothing("stopping")
        if not project.running.has(key):
            return _nothing("elsewhere")
        about = f"{record.action.replace('_', ' ').capitalize()}, begun by {record.who}."
        return Scope("running", {"actions_stopped": 1}, (about,))

    def act(self, project: Project, name: str, confirmation: Confirmation) -> Acceptance:
        """Asks it to stop, and records that."""
        with self._lock:
            return self._stop(project, name, confirmation)

    def _stop(self, project: Project, name: str, confirmation: Confirmation) -> Acceptance:
        scope = self.scope(project, name, confirmation.arguments)
        acceptance = begin(project, name, confirmation, scope)
        if acceptance is not Acceptance.BEGUN:
            return acceptance
        is_stopped = project.running.stop(confirmation.arguments["action_id"])
        project.call(
            "end_console_action",
            id=confirmation.key,
            outcome=Ending.DONE if is_stopped else Ending.FAILED,
            touched={"actions_stopped": int(is_stopped)},
            error=None if is_stopped else "It ended by itself just before.",
        )
        return Acceptance.DONE


def _nothing(state: str) -> Scope:
    return Scope(state, {"actions_stopped": 0}, (_WHY_NOT[state],), is_empty=True)


STOP: Final = Stopping()
