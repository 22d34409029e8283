"""Slack's Web API: the few calls the workers make, and every way they can fail.

A post has no idempotency key, so the difference between "not sent" and "perhaps sent"
decides whether somebody reads a message twice. It is drawn here, in one place.
"""

from __future__ import annotations

import base64
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from typing import Any, Final, TypeGuard
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import Request, proxy_bypass

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from workers.errors import (
    AmbiguousError,
    ConfigurationError,
    CredentialsError,
    DestinationError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.notifications.rendering import Message
from workers.notifications.slack_codes import CodeClass, classify, retry_after_seconds

METADATA_EVENT: Final = "queue_delivery"
METADATA_KEY: Final = "delivery_id"

# Slack's advice for conversations.history: no more than 200 a page.
# https://docs.slack.dev/apis/web-api/pagination
_PAGE: Final = 200
# A host that does not answer is tried address by address, each for this long.
_CONNECT_TIMEOUT: Final = 5.0
_CODE = re.compile(r"[a-z0-9_]{1,100}", re.ASCII)
_TOKEN = re.compile(r"[!-~]+", re.ASCII)
_DETAIL_LIMIT: Final = 500

# slack_sdk logs failures that are reported here anyway, and whole message bodies while
# debugging; it also formats these on each call unless its logger has a level of its own.
_QUIET = logging.getLogger("workers.notifications.slack.sdk")
_QUIET.setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True)
class Posted:
    """A message that Slack has confirmed."""

    channel: str
    ts: str
    request_id: str


@dataclass(frozen=True)
class Identity:
    """Whose token it is, and what it may do."""

    team_id: str
    bot_id: str
    user_id: str
    url: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class ChannelInfo:
    """A channel as the bot sees it."""

    id: str
    name: str
    is_archived: bool
    is_member: bool
    is_shared_outside: bool


class Slack:
    """One workspace, through one bot token. Safe to use from several threads at once.

    Every method raises a `WorkerError` for what the outside world does:
    `RateLimitedError`, `CredentialsError`, `DestinationError`, `PermanentError`,
    `TransientError`, `UnknownError` for a code that is new to us and, from `post` alone,
    `AmbiguousError`. None holds the token.
    """

    def __init__(self, token: str, api_url: str, timeout: float = 10.0) -> None:
        """`timeout` is for a whole call, in seconds. Raises ConfigurationError for a token that
        no header can carry."""
        if not _TOKEN.fullmatch(token.strip()):
            raise ConfigurationError("The Slack token holds spaces or characters that none has.")
        self.timeout = timeout
        self._client = _Client(token.strip(), api_url, timeout)
        self._own_bot_id = ""

    def post(self, channel: str, message: Message, delivery_id: str) -> Posted:
        """Post once, marked with the delivery's id. Only Slack's full confirmation counts."""

        def call() -> SlackResponse:
            return self._client.chat_postMessage(
                channel=channel,
                text=message.text,
                blocks=message.blocks or None,
                metadata={
                    "event_type": METADATA_EVENT,
                    "event_payload": {METADATA_KEY: delivery_id},
                },
                # Addresses in `text` stay text, and nothing is shown below the message.
                parse="none",
                unfurl_links=False,
                unfurl_media=False,
            )

        answer = _perform("chat.postMessage", call)
        place, ts = answer.get("channel"), answer.get("ts")
        if not (_is_text(place) and _is_text(ts)):
            raise AmbiguousError(
                "Slack said ok but named no message; it may have been posted.",
                code="answer_unusable",
            )
        return Posted(place, ts, answer.headers.get("x-slack-req-id", ""))

    def open_dm(self, user_id: str) -> str:
        """The id (`D...`) of the bot's conversation with a person; opens it if need be."""
        answer = _read("conversations.open", lambda: self._client.conversations_open(users=user_id))
        return _text(_mapping(answer.get("channel")), "id", "conversations.open")

    def identity(self) -> Identity:
        """Whose token this is."""
        answer = _read("auth.test", self._client.auth_test)
        scopes = answer.headers.get("x-oauth-scopes", "")
        return Identity(
            team_id=_text(answer, "team_id", "auth.test"),
            # Absent for tokens that are not a bot's.
            bot_id=answer.get("bot_id") or "",
            user_id=_text(answer, "user_id", "auth.test"),
            url=answer.get("url") or "",
            scopes=tuple(scope.strip() for scope in scopes.split(",") if scope.strip()),
        )

    def history(self, channel: str, oldest: float, latest: float | None = None) -> dict[str, str]:
        """Delivery id → ts of all messages that this bot posted in the channel for a delivery,
        between two Unix times (None: up to now); of several copies the earliest.

        Complete, or an error: CredentialsError or DestinationError when the bot may not read
        the conversation, TransientError when Slack's answer breaks off.
        """
        bot_id = self._bot_id()
        found: dict[str, str] = {}
        for entry in self._messages(channel, oldest, latest):
            delivery_id, ts = _delivery_of(entry, bot_id), entry.get("ts")
            if delivery_id and _is_text(ts):
                found[delivery_id] = min(ts, found.get(delivery_id, ts), key=_ts_order)
        return found

    def delete(self, channel: str, ts: str) -> None:
        """Delete one of the bot's own messages."""
        _perform("chat.delete", lambda: self._client.chat_delete(channel=channel, ts=ts))

    def channel_info(self, channel: str) -> ChannelInfo:
        """How the bot stands to a channel."""
        answer = _read(
            "conversations.info", lambda: self._client.conversations_info(channel=channel)
        )
        info = _mapping(answer.get("channel"))
        return ChannelInfo(
            id=_text(info, "id", "conversations.info"),
            name=str(info.get("name") or ""),
            is_archived=info.get("is_archived") is True,
            # A direct message has its two members and does not say so.
            is_member=info.get("is_member") is True or info.get("is_im") is True,
            is_shared_outside=info.get("is_ext_shared") is True,
        )

    def _bot_id(self) -> str:
        if not self._own_bot_id:
            bot_id = self.identity().bot_id
            if not bot_id:
                raise CredentialsError(
                    "The Slack token is not a bot's, so its own messages cannot be told apart.",
                    code="no_bot_token",
                )
            self._own_bot_id = bot_id
        return self._own_bot_id

    def _messages(
        self, channel: str, oldest: float, latest: float | None
    ) -> Iterator[dict[str, Any]]:
        cursors = {""}
        cursor: str | None = None
        while True:
            answer = _read("conversations.history", self._page(channel, oldest, latest, cursor))
            messages = answer.get("messages")
            if not isinstance(messages, list):
                raise _incomplete()
            yield from (entry for entry in messages if isinstance(entry, dict))
            cursor = _next_cursor(answer)
            if not cursor:
                if answer.get("has_more"):
                    raise _incomplete()
                return
            if cursor in cursors:
                raise _incomplete()
            cursors.add(cursor)

    def _page(
        self, channel: str, oldest: float, latest: float | None, cursor: str | None
    ) -> Callable[[], SlackResponse]:
        return lambda: self._client.conversations_history(
            channel=channel,
            oldest=f"{oldest:.6f}",
            latest=None if latest is None else f"{latest:.6f}",
            inclusive=True,
            limit=_PAGE,
            # Without it Slack leaves the metadata out.
            include_all_metadata=True,
            cursor=cursor,
        )


class _Until(RawIOBase):
    """The bytes that a socket receives, none later than the deadline.

    A socket's own timeout is for each wait, so an answer in drops would take any time.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, _mode: str) -> BufferedReader:
        """As a file, which is what http.client asks a socket for."""
        return BufferedReader(self)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """What has arrived. Raises TimeoutError when nothing does in time."""
        self._sock.settimeout(_time_left(self._deadline))
        return self._sock.recv_into(buffer)


def _time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it takes too long")
    return left


class _Client(WebClient):
    """slack_sdk's client with a transport that knows whether a request went out.

    urllib's, which it replaces, reports failures to connect and failures to send alike, and
    follows a redirect of a POST with a GET that carries the token to wherever it points.
    This one opens a connection per request, on purpose: a kept one that the other side has
    just closed fails in a way that cannot be told from a message that was taken.
    """

    def __init__(self, token: str, api_url: str, timeout: float) -> None:
        # Reading the certificates takes as long as dozens of requests: once, not each time.
        context = ssl.create_default_context()
        super().__init__(
            token=token,
            base_url=api_url,
            timeout=timeout,  # type: ignore[arg-type]  # any number, says its use in sockets
            ssl=context,
            logger=_QUIET,
            # The queue retries; slack_sdk alone would send again after a lost connection.
            retry_handlers=[],
        )
        self._context = context
        self._api = urlsplit(self.base_url)
        self._tunnel = self._find_tunnel()

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        """One request, one answer of any status, no redirects. slack_sdk's own place for it.

        Raises TransientError if nothing was sent, AmbiguousError if no whole answer came.
        """
        deadline = time.monotonic() + self.timeout
        connection = self._connect(deadline)
        try:
            connection.request("POST", urlsplit(url).path, req.data, dict(req.header_items()))
            source: Any = _Until(connection.sock, deadline)
            with HTTPResponse(source, method="POST") as answer:
                answer.begin()
                body = answer.read()
        except (OSError, HTTPException) as error:
            raise _lost(error) from error
        finally:
            connection.close()
        return {
            "status": answer.status,
            "headers": {name.lower(): value for name, value in answer.getheaders()},
            "body": _object_or_nothing(body),
        }

    def _connect(self, deadline: float) -> HTTPConnection:
        connection = self._connection()
        try:
            connection.connect()
            connection.sock.settimeout(_time_left(deadline))
        except (OSError, HTTPException, UnicodeError) as error:
            connection.close()
            raise TransientError(
                f"Slack cannot be reached: {_named(error)}.", code="connect_failed"
            ) from error
        return connection

    def _connection(self) -> HTTPConnection:
        host, port = self._api.hostname or "", self._api.port
        timeout = min(self.timeout, _CONNECT_TIMEOUT)
        if self._api.scheme == "http":  # a fake on this machine
            return HTTPConnection(host, port, timeout=timeout)
        if self._tunnel is None:
            return HTTPSConnection(host, port, timeout=timeout, context=self._context)
        proxy, headers = self._tunnel
        connection = HTTPSConnection(
            proxy.hostname or "", proxy.port, timeout=timeout, context=self._context
        )
        connection.set_tunnel(host, port or 443, headers)
        return connection

    def _find_tunnel(self) -> tuple[SplitResult, dict[str, str]] | None:
        """The proxy that slack_sdk found in the environment, unless Slack is exempt from it."""
        if not self.proxy or proxy_bypass(self._api.hostname or ""):
            return None
        proxy = urlsplit(self.proxy if "://" in self.proxy else f"http://{self.proxy}")
        if proxy.username is None:
            return proxy, {}
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        return proxy, {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def _object_or_nothing(body: bytes) -> str:
    """The answer if it may be a JSON object, else an empty one, which no success looks like.

    slack_sdk assumes objects and fails on a list, say, in ways of its own.
    """
    text = body.decode("utf-8", "replace")
    return text if text.lstrip().startswith("{") else "{}"


def _lost(error: Exception) -> AmbiguousError:
    code = "answer_timeout" if isinstance(error, TimeoutError) else "answer_lost"
    return AmbiguousError(f"Slack's answer did not arrive: {_named(error)}.", code=code)


def _named(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _perform(method: str, call: Callable[[], SlackResponse]) -> SlackResponse:
    """Slack's answer to a call that changes something, if it says that it is a success."""
    try:
        answer = call()
    except SlackApiError as refusal:
        failed: SlackResponse = refusal.response
    except (RecursionError, ValueError):  # nested too deep, a number too long
        raise AmbiguousError("Slack's answer is no answer.", code="answer_unusable") from None
    else:
        if answer.get("ok") is True:
            return answer
        failed = answer
    # Outside of the handler: the refusal holds the request, and with it the token.
    raise _translated(method, failed)


def _read(method: str, call: Callable[[], SlackResponse]) -> SlackResponse:
    """The same for a call that may be repeated at will: nothing about it is ambiguous."""
    try:
        return _perform(method, call)
    except AmbiguousError as error:
        raise TransientError(str(error), code=error.code) from error


def _translated(method: str, failed: SlackResponse) -> WorkerError:
    """What an answer other than success means; the table says what its code does."""
    status, data = failed.status_code, failed.data if isinstance(failed.data, dict) else {}
    code = str(data.get("error") or "")
    if not _CODE.fullmatch(code):
        code = ""
    kind = classify(code) if code else CodeClass.AMBIGUOUS
    # The status first: a 429 may come as plain text, without a code.
    if status == 429 or kind in (CodeClass.RATE, CodeClass.RATE_WORKSPACE):
        return RateLimitedError(
            f"Slack asked to wait with {method}.",
            code=code or "ratelimited",
            retry_after=retry_after_seconds(failed.headers.get("retry-after")),
            everywhere=kind is CodeClass.RATE_WORKSPACE,
        )
    if not code or status >= 500 or (status < 400 and status != 200):
        kind = CodeClass.AMBIGUOUS
        code = code or ("answer_unusable" if status == 200 else f"http_{status}")
    return _ERRORS[kind](f"Slack refused {method}: {code}{_details(data)}.", code=code)


_ERRORS: Final[Mapping[CodeClass, type[WorkerError]]] = {
    CodeClass.AMBIGUOUS: AmbiguousError,
    CodeClass.TRANSIENT: TransientError,
    CodeClass.TOKEN: CredentialsError,
    CodeClass.DESTINATION: DestinationError,
    CodeClass.MESSAGE: PermanentError,
    CodeClass.MESSAGE_FORMAT: PermanentError,
    CodeClass.UNKNOWN: UnknownError,
}


def _details(data: Mapping[str, Any]) -> str:
    """What else Slack says: the scopes that are missing, or what is wrong with the message."""
    details = [f"{key} {data[key]}" for key in ("needed", "provided") if _is_text(data.get(key))]
    messages = _mapping(data.get("response_metadata")).get("messages")
    if isinstance(messages, list):
        details += [message for message in messages if _is_text(message)]
    text = "; ".join(" ".join(detail.split()) for detail in details)
    return f" ({text[:_DETAIL_LIMIT]})" if text else ""


def _delivery_of(entry: Mapping[str, Any], bot_id: str) -> str:
    """The delivery that one of our own messages was posted for; empty for all other messages.

    The metadata alone proves nothing, for any app can write it.
    """
    metadata = _mapping(entry.get("metadata"))
    if entry.get("bot_id") != bot_id or metadata.get("event_type") != METADATA_EVENT:
        return ""
    delivery_id = _mapping(metadata.get("event_payload")).get(METADATA_KEY)
    return delivery_id if _is_text(delivery_id) else ""


def _ts_order(ts: str) -> tuple[int, str]:
    """Slack's timestamps are decimal numbers of Unix seconds, compared without rounding."""
    return len(ts.partition(".")[0]), ts


def _next_cursor(answer: SlackResponse) -> str:
    cursor = _mapping(answer.get("response_metadata")).get("next_cursor")
    return cursor if _is_text(cursor) else ""


def _incomplete() -> TransientError:
    return TransientError("Slack gave only a part of the history.", code="history_incomplete")


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value != ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(source: Mapping[str, Any] | SlackResponse, key: str, method: str) -> str:
    value = source.get(key)
    if not _is_text(value):
        raise TransientError(f"Slack's answer to {method} lacks {key}.", code="answer_unusable")
    return value
