"""Slack's methods, for faults to be limited to."""

from __future__ import annotations

POST = {"path": "chat.postMessage"}
HISTORY = {"path": "conversations.history"}
AFTER = {"when": "after", **POST}
