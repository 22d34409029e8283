"""Finds the stack that `up` of this clone keeps running, from another process.

Its addresses and keys are in a file that only this user can read, in a folder of the system's
temporary directory that belongs to this user and clone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path

from local.services import data_api
from local.stack import ROOT, Running


class StateError(RuntimeError):
    """The state cannot be stored: another user owns its folder, or another stack was faster."""


def state_file() -> Path:
    """Where the state of this user's and clone's stack is, or would be.

    Raises StateError when its folder is not this user's own.
    """
    clone = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"agency-dashboard-workers-{os.getuid()}-{clone}"
    with contextlib.suppress(FileNotFoundError):
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise StateError(f"{folder} belongs to another user: remove it")
    return folder / "stack.json"


def remember(running: Running) -> None:
    """Let other processes find this stack. Raises StateError if they already find another."""
    state_file().parent.mkdir(mode=0o700, exist_ok=True)
    path = state_file()  # checked again: another process may have been faster
    # written elsewhere and linked, so that no one reads half of it or replaces another stack's
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(running.as_json(), file)
        os.link(draft, path)
    except FileExistsError:
        raise StateError("another stack of this clone started at the same time") from None
    finally:
        os.unlink(draft)


def forget() -> None:
    """Let no process find this stack any longer."""
    path = state_file()
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def find() -> Running | None:
    """The running stack, or None. What a killed one left behind is removed."""
    try:
        running = Running.from_json(json.loads(state_file().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        forget()
        return None
    # The key distinguishes this stack from another one that got its port in the meantime.
    if data_api.accepts_key(running.api_url, running.keys.secret) and running.slack.is_up():
        return running
    forget()
    return None
