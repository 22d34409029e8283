"""Parked destinations of which one message is to be tried.

Where Slack can show whether the reason is gone, it is asked first, so that nothing is posted in
vain.
"""

from __future__ import annotations

from collections.abc import Iterable

from workers.errors import WorkerError
from workers.notifications.answers import Probe
from workers.notifications.jobs import Jobs
from workers.notifications.posting import takes_posts
from workers.notifications.report import Report
from workers.notifications.slack import Slack
from workers.notifications.slack_codes import is_visible_in_info


class Probes:
    """Of one run: `take` returns the destinations that are to be tried, each once."""

    def __init__(self, *, slack: Slack, report: Report, jobs: Jobs) -> None:
        self._slack = slack
        self._report = report
        self._jobs = jobs
        self._asking = 0
        self._trials: list[str] = []

    @property
    def is_busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._asking > 0

    def begin(self, probes: Iterable[Probe]) -> None:
        """Ask Slack about those for which it can say; the others are tried at once."""
        for probe in probes:
            if is_visible_in_info(probe.code):
                self._ask(probe.destination)
            else:
                self._trials.append(probe.destination)

    def take(self) -> list[str]:
        """The destinations to try now."""
        trials, self._trials = self._trials, []
        return trials

    def _ask(self, destination: str) -> None:
        self._asking += 1
        self._jobs.submit(
            lambda: takes_posts(self._slack, destination),
            lambda open_again: self._answered(destination, open_again=open_again),
            lambda error: self._failed(destination, error),
        )

    def _answered(self, destination: str, *, open_again: bool) -> None:
        self._asking -= 1
        if open_again:
            self._trials.append(destination)

    def _failed(self, destination: str, error: Exception) -> None:
        """Slack cannot be asked: only a post can show it."""
        self._asking -= 1
        if isinstance(error, WorkerError):
            self._trials.append(destination)
        else:
            self._report.end("failed", error)
