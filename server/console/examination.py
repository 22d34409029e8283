"""The doctor's checks for the page: in their own thread, visible while they run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from workers.clock import utc_now
from workers.doctor.sections import Section, of_error, worst
from workers.errors import UnknownError
from workers.findings import Finding, warning
from workers.redaction import mask, redact
from workers.telemetry import logger


@dataclass(frozen=True)
class Findings:
    """The findings so far, without secrets; `ended_at` is None while the checks run."""

    began_at: datetime
    sections: tuple[Section, ...] = ()
    verdict: str = "ok"
    ended_at: datetime | None = None


class Examination:
    """The last examination of this process, one at a time. Safe for threads."""

    def __init__(self, examine: Callable[[str | None], Iterator[Section]]) -> None:
        """`examine` is given a channel to post to, or None."""
        self._examine = examine
        self._lock = threading.Lock()
        self._findings: Findings | None = None

    def begin(self) -> None:
        """Begin one, unless one is running."""
        if self._claim():
            threading.Thread(target=self._run, name="doctor", daemon=True).start()

    def run(
        self, post_to: str | None = None, is_stopped: Callable[[], bool] = lambda: False
    ) -> Findings | None:
        """Run one in this thread, with a test message to `post_to`; None where one is running.
        Once `is_stopped`, no further section is checked."""
        if not self._claim():
            return None
        self._run(post_to, is_stopped)
        return self.findings

    @property
    def is_running(self) -> bool:
        """Whether one is."""
        found = self.findings
        return found is not None and found.ended_at is None

    def _claim(self) -> bool:
        with self._lock:
            if self._findings is not None and self._findings.ended_at is None:
                return False
            self._findings = Findings(utc_now())
            return True

    @property
    def findings(self) -> Findings | None:
        """Those of the last one; None before the first."""
        with self._lock:
            return self._findings

    def _run(
        self, post_to: str | None = None, is_stopped: Callable[[], bool] = lambda: False
    ) -> None:
        try:
            for section in self._examine(post_to):
                self._add(section)
                if is_stopped():
                    stopped = warning("Someone stopped the doctor.", "Check again for the rest")
                    self._add(Section("Doctor", [stopped]))
                    break
        except Exception as error:  # noqa: BLE001 - the page shows it
            logger.error("The doctor failed", extra={"error": redact(repr(error))})
            broken = UnknownError(f"{type(error).__name__}: {error}", code="fault")
            self._add(Section("Doctor", [of_error("the examination was interrupted", broken)]))
        with self._lock:
            assert self._findings is not None  # noqa: S101 - see `begin`
            self._findings = replace(self._findings, ended_at=utc_now())

    def _add(self, section: Section) -> None:
        with self._lock:
            known = self._findings
            assert known is not None  # noqa: S101 - see `begin`
            levels = ("ok", "warning", "failed")
            verdict = max(known.verdict, worst([section]), key=levels.index)
            self._findings = replace(
                known, sections=(*known.sections, _masked(section)), verdict=verdict
            )


def _masked(section: Section) -> Section:
    """Without secrets that a platform or an old row quotes."""
    return Section(
        section.title,
        [Finding(one.level, mask(one.text), mask(one.fix)) for one in section.findings],
    )
