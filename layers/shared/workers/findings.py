"""What a check found: the platforms make findings of one connection, the doctor of all else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One result of a check; `mend` says what to do about it."""

    level: Literal["ok", "warning", "failed"]
    text: str
    mend: str = ""


def ok(text: str) -> Finding:
    return Finding("ok", text)


def warning(text: str, mend: str) -> Finding:
    return Finding("warning", text, mend)


def failed(text: str, mend: str) -> Finding:
    return Finding("failed", text, mend)
