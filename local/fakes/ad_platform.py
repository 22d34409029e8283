"""What the fakes of the ad platforms have in common: settings, state, and the current day."""

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
        """`state`: the initial state, instead of the sample agency's."""
        self._first = json.loads(self.first_state.read_text()) if state is None else dict(state)
        self._lock = threading.RLock()
        self._settings: dict[str, Any] = {}
        self._state: dict[str, Any] = {}
        self._records: dict[str, list[AdRecord]] = {}
        self.reset()

    def settings(self) -> dict[str, Any]:
        """The current settings."""
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
        """Replace the state by one in the form that `state` returns.

        Raises ValueError, KeyError or TypeError if an account cannot be read.
        """
        taken = copy.deepcopy(state)
        records = {
            id_: ad_records(self.platform, id_, one) for id_, one in taken["accounts"].items()
        }
        with self._lock:
            self._state, self._records = taken, records

    def reset(self) -> None:
        """Restore the state and settings of the start."""
        with self._lock:
            self._settings = {"now": None, **copy.deepcopy(dict(self.defaults))}
            self.replace_state(self._first)

    def close(self) -> None:
        """Nothing to release."""

    def now(self) -> datetime:
        """The current time, in UTC."""
        given = self._settings["now"]
        if given is None:
            return datetime.now(UTC)
        if isinstance(given, int | float):
            return datetime.fromtimestamp(given, UTC)
        at = datetime.fromisoformat(str(given))
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)

    def today(self, account: Mapping[str, Any]) -> date:
        """The current day in the account's time zone."""
        return self.now().astimezone(ZoneInfo(account["time_zone"])).date()
