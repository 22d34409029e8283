"""The doctor's examination for the page: in a thread of its own, seen while it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from workers.clock import utc_now
from workers.doctor.sections import Section, of_error, worst
from workers.errors import UnknownError
from workers.redaction import redact
from workers.telemetry import logger


@dataclass(frozen=True)
class Findings:
    """What is known so far; `ended_at` is None while it goes on. `sections` are JSON-able and hold
    no secret."""

    began_at: datetime
    sections: tuple[dict[str, Any], ...] = ()
    verdict: str = "ok"
    ended_at: datetime | None = None


class Examination:
    """The last one of this process, one at a time. Safe for threads."""

    def __init__(self, examine: Callable[[str | None], Iterator[Section]]) -> None:
        """`examine` is given a channel to post to, or None."""
        self._examine = examine
        self._lock = threading.Lock()
        self._findings: Findings | None = None

    def begin(self) -> None:
        """Begin one, unless one is under way."""
        if self._claim():
            threading.Thread(target=self._run, name="doctor", daemon=True).start()

    def run(self, post_to: str | None = None) -> Findings | None:
        """One in this thread, with a test message to `post_to`; None where one is under way."""
        if not self._claim():
            return None
        self._run(post_to)
        return self.findings

    def _claim(self) -> bool:
        with self._lock:
            if self._findings is not None and self._findings.ended_at is None:
                return False
            self._findings = Findings(utc_now())
            return True

    @property
    def findings(self) -> Findings | None:
        """Those of the last one; None where there was none yet."""
        with self._lock:
            return self._findings

    def _run(self, post_to: str | None = None) -> None:
        try:
            for section in self._examine(post_to):
                self._add(section)
        except Exception as error:  # noqa: BLE001 - it is told where one looks
            logger.error("The doctor failed", extra={"error": redact(repr(error))})
            broken = UnknownError(f"{type(error).__name__}: {error}", code="fault")
            self._add(Section("Doctor", [of_error("the examination broke off", broken)]))
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
                known, sections=(*known.sections, section.as_json()), verdict=verdict
            )
