"""What the fakes of the ad platforms have in common: settings, state, and the day it is."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from local.fakes.ad_facts import AdRecord, Platform, ad_records


class AdPlatform:
    """Keeps a state {"accounts": {"<digits>": {...}}, ...} and settings; see `App`.

    A subclass names its platform, the file with its first state and its settings. Each has the
    setting `now` (ISO 8601 text or epoch seconds; None: the real time).
    """

    platform: Platform
    first_state: Path
    defaults: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        """`state`: the one to start with, instead of the sample agency's."""
        self._first = json.loads(self.first_state.read_text()) if state is None else dict(state)
        self._lock = threading.RLock()
        self._settings: dict[str, Any] = {}
        self._state: dict[str, Any] = {}
        self._records: dict[str, list[AdRecord]] = {}
        self.reset()

    def settings(self) -> dict[str, Any]:
        """The present settings."""
        return dict(self._settings)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change some settings. Raises ValueError for an unknown name."""
        unknown = set(settings) - set(self._settings)
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        with self._lock:
            self._settings = {**self._settings, **settings}

    def state(self) -> Any:
        """The accounts and who may see them."""
        with self._lock:
            return copy.deepcopy(self._state)

    def replace_state(self, state: Any) -> None:
        """Take over a state of the form that `state` returns.

        Raises ValueError, KeyError or TypeError when an account cannot be read.
        """
        taken = copy.deepcopy(state)
        records = {
            id_: ad_records(self.platform, id_, one) for id_, one in taken["accounts"].items()
        }
        with self._lock:
            self._state, self._records = taken, records

    def reset(self) -> None:
        """The state and settings of the start."""
        with self._lock:
            self._settings = {"now": None, **copy.deepcopy(dict(self.defaults))}
            self.replace_state(self._first)

    def close(self) -> None:
        """Nothing is held."""

    def now(self) -> datetime:
        """The time it is, in UTC."""
        told = self._settings["now"]
        if told is None:
            return datetime.now(UTC)
        if isinstance(told, int | float):
            return datetime.fromtimestamp(told, UTC)
        at = datetime.fromisoformat(str(told))
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)

    def today(self, account: Mapping[str, Any]) -> date:
        """The day it is where the account is."""
        return self.now().astimezone(ZoneInfo(account["time_zone"])).date()
