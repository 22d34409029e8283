"""Slack's methods, to which faults can be limited."""

from __future__ import annotations

POST = {"path": "chat.postMessage"}
HISTORY = {"path": "conversations.history"}
AFTER = {"when": "after", **POST}
