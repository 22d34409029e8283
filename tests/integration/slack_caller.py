"""A plain HTTP client for the fake for Slack."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from local.control import Control

TOKEN = "xoxb-local-1-sample"
CREATIVE, LEADERS, ARCHIVED = "C0CREATIVE0", "C0LEADERS00", "C0ARCHIVED0"
AVA = "U0AVA00000"


class Caller:
    """Calls methods with one token and keeps the status and headers of the last answer."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc
        self.control = Control(url)
        self.token = TOKEN
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def __call__(self, method: str, **arguments: Any) -> Any:
        return json.loads(self.raw(method, json.dumps(arguments), "application/json"))

    def form(self, method: str, **arguments: str) -> Any:
        return json.loads(
            self.raw(method, urlencode(arguments), "application/x-www-form-urlencoded")
        )

    def raw(self, method: str, body: str, kind: str, timeout: float = 60.0) -> bytes:
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        headers = {"Content-Type": kind}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request("POST", f"/api/{method}", body, headers)
            answer = connection.getresponse()
            self.status, self.headers = answer.status, dict(answer.getheaders())
            return answer.read()
        finally:
            connection.close()

    def post(self, channel: str = CREATIVE, text: str = "hello", **more: Any) -> Any:
        return self("chat.postMessage", channel=channel, text=text, **more)

    def change(self, part: str, key: str, /, **values: Any) -> None:
        """Change or add one channel, user or token."""
        state = self.control.state()
        state[part][key] = {**state[part].get(key, {}), **values}
        self.control.replace_state(state)

    def texts(self, channel: str = CREATIVE) -> list[str]:
        messages = self.control.state()["messages"].get(channel, [])
        return [message["text"] for message in messages]
