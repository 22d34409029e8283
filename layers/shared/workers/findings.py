"""What a check found: the platforms report on one connection, the doctor on everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One result of a check; `fix` says what to do about it."""

    level: Literal["ok", "warning", "failed"]
    text: str
    fix: str = ""


def ok(text: str) -> Finding:
    return Finding("ok", text)


def warning(text: str, fix: str) -> Finding:
    return Finding("warning", text, fix)


def failed(text: str, fix: str) -> Finding:
    return Finding("failed", text, fix)
