"""What the doctor found, by section."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from workers.errors import (
    ConfigurationError,
    CredentialsError,
    RateLimitedError,
    TransientError,
    WorkerError,
)
from workers.findings import Finding, failed
from workers.redaction import mask_all, redact


@dataclass
class Section:
    """The findings about one subject."""

    title: str
    findings: list[Finding] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """JSON-able, without secrets that a platform or an old row may quote."""
        return {"section": self.title, "findings": mask_all([asdict(one) for one in self.findings])}


def of_error(what: str, error: WorkerError, secrets: Iterable[str] = ()) -> Finding:
    """A failed check: what the error says, and the fix that its kind suggests."""
    return failed(f"{what}: {redact(str(error), secrets)}", _fix(error))


def _fix(error: WorkerError) -> str:
    if isinstance(error, ConfigurationError):
        return "The message names the setting or migration that is missing"
    if isinstance(error, CredentialsError):
        return "Get a new credential and store it: docs/deploy.md says where"
    if isinstance(error, RateLimitedError):
        return f"Wait {error.retry_after:.0f} seconds, then run the doctor again"
    if isinstance(error, TransientError):
        return "Try again in a minute; if it persists, see the other side's status page"
    return "The other side's message is above; its documentation explains the code"


def worst(sections: Iterable[Section]) -> str:
    """failed, warning or ok."""
    levels = {one.level for section in sections for one in section.findings}
    return next((level for level in ("failed", "warning") if level in levels), "ok")
