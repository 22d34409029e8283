"""Slack's Web API: the few calls the workers make, and every way they can fail.

A post has no idempotency key, so the difference between "not sent" and "perhaps sent" decides
whether someone reads a message twice. That difference is determined here, in one place.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from workers.errors import (
    AmbiguousError,
    CannotReadError,
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
from workers.notifications.slack_client import SlackApiError, SlackClient, SlackResponse
from workers.notifications.slack_codes import (
    AUTH,
    DELETE,
    HISTORY,
    INFO,
    OPEN,
    POST,
    REPLIES,
    CodeClass,
    classify,
    hint_at_id,
    retry_after_seconds,
    ts_order,
)
from workers.telemetry import logger

METADATA_EVENT: Final = "queue_delivery"
METADATA_KEY: Final = "delivery_id"

# Slack advises no more than 200: https://docs.slack.dev/apis/web-api/pagination. Half of that
# keeps the answer within the client's bound, however long the messages are.
_PAGE: Final = 100
# With `oldest` alone Slack returns the page next to it, not the newest one, so an end is always
# given: https://github.com/slackhq/slack-api-docs/issues/4
_NO_END: Final = "9999999999.999999"
# Slack excludes both ends of a window; moved outwards by this much, they are included.
_MICROSECOND: Final = 0.000_001
# What conversations.open says about a conversation that was already open, as most are.
_USUAL_WARNINGS: Final = frozenset({"already_open", "no_op"})
_CODE = re.compile(r"[a-z0-9_]{1,100}", re.ASCII)
_TOKEN = re.compile(r"[!-~]+", re.ASCII)
_TS = re.compile(r"\d{1,20}(?:\.\d{1,6})?", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CURSOR = re.compile(r"next_ts:(\d{1,20})", re.ASCII)
_DETAIL_LIMIT: Final = 500


@dataclass(frozen=True)
class Posted:
    """A message that Slack has confirmed. It is in the thread of `parent_ts`, or in the channel
    itself if that is None."""

    channel: str
    ts: str
    request_id: str
    parent_ts: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a message is: its own ts, and the parent of its thread, if it is in one."""

    ts: str
    parent_ts: str | None = None


@dataclass(frozen=True)
class Identity:
    """The owner of the token, and what it may do."""

    team_id: str
    bot_id: str
    user_id: str
    url: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class ChannelInfo:
    """A channel, or a direct message, as the bot sees it."""

    id: str
    name: str
    is_archived: bool
    is_member: bool
    is_shared_outside: bool
    is_person_gone: bool = False

    @property
    def takes_posts(self) -> bool:
        """Whether nothing that Slack shows rules out a post. It does not show everything: see
        `is_visible_in_info`."""
        return self.is_member and not self.is_archived and not self.is_person_gone


@dataclass(frozen=True)
class HistoryPage:
    """A part of a conversation's history.

    `found`: delivery id → its place, for this bot's own posts, of several copies the earliest.
    `read_down_to`: the ts of the oldest message read, below which to continue, if there may be
    older ones within the window; None when the window was read to its end. `messages`: how many
    messages it has, no matter whose.
    """

    found: Mapping[str, Place]
    read_down_to: str | None
    messages: int


@dataclass(frozen=True)
class ThreadPage:
    """A part of a thread: `found` as in `HistoryPage`, and the `cursor` of the next part, None at
    the end."""

    found: Mapping[str, Place]
    cursor: str | None


class Slack:
    """One workspace, through one bot token. Safe to use from several threads at once.

    Every method raises a `WorkerError` for failures outside of this process. Those that change
    something (`post`, `delete`) raise `RateLimitedError`, `CredentialsError`, `DestinationError`,
    `PermanentError`, `TransientError`, `AmbiguousError`, and `UnknownError` for an unknown code.
    Those that read raise `RateLimitedError`, `TransientError`, `CredentialsError` for a token that
    is refused as a whole, and `CannotReadError` for everything else. None holds the token.
    """

    def __init__(self, token: str, api_url: str, timeout: float = 10.0) -> None:
        """`timeout` is for a whole call, in seconds. Raises ConfigurationError for a token that
        cannot be sent in a header."""
        if not _TOKEN.fullmatch(token.strip()):
            raise ConfigurationError(
                "The Slack token contains spaces or characters that no token has."
            )
        self.timeout = timeout
        self._client = SlackClient(token.strip(), api_url, timeout)
        self._own_bot_id = ""
        self._warned: set[tuple[str, str]] = set()

    def post(
        self,
        channel: str,
        message: Message,
        delivery_id: str,
        *,
        parent_ts: str | None = None,
        broadcast: bool = False,
    ) -> Posted:
        """Post once, marked with the delivery's id. Only Slack's full confirmation counts.

        `channel` is the id of a channel, a direct message or a person; for a person the answer
        names the direct message. `parent_ts` is the message in whose thread it is posted; with
        `broadcast` it also appears in the channel. If that message was deleted and had no replies,
        Slack posts in the channel itself, which only its answer shows
        (https://github.com/slack-go/slack/issues/1571).
        """

        def call() -> SlackResponse:
            return self._client.chat_postMessage(
                channel=channel,
                text=message.text,
                blocks=message.blocks or None,
                thread_ts=parent_ts,
                reply_broadcast=True if broadcast and parent_ts else None,
                metadata={
                    "event_type": METADATA_EVENT,
                    "event_payload": {METADATA_KEY: delivery_id},
                },
                # Addresses in `text` stay text, and no previews appear below the message.
                parse="none",
                unfurl_links=False,
                unfurl_media=False,
            )

        try:
            answer = self._perform(POST, call)
        except DestinationError as error:
            hint = hint_at_id(error.code, channel)
            raise DestinationError(f"{error}{hint}", code=error.code) from None
        place, ts = _text(answer.get("channel")), _text(answer.get("ts"))
        if not (place and ts):
            raise AmbiguousError(
                "Slack answered ok but named no message; it may have been posted.",
                code="answer_unusable",
            )
        request_id = _text(answer.headers.get("x-slack-req-id"))
        shown = answer.get("message")
        # an answer that does not show the message does not contradict the request
        parent = _parent_of(shown, ts) if isinstance(shown, dict) else parent_ts
        return Posted(place, ts, request_id, parent)

    def open_dm(self, user_id: str) -> str:
        """The id (`D...`) of the bot's conversation with a person; opens it if necessary.

        Needed only to read its history: a post goes to the person's id.
        """
        answer = self._read(OPEN, lambda: self._client.conversations_open(users=user_id))
        return _required(_mapping(answer.get("channel")), "id", OPEN)

    def identity(self) -> Identity:
        """The owner of the token."""
        answer = self._read(AUTH, self._client.auth_test)
        scopes = _text(answer.headers.get("x-oauth-scopes")).split(",")
        return Identity(
            team_id=_required(answer, "team_id", AUTH),
            # Absent for tokens that are not a bot's.
            bot_id=_text(answer.get("bot_id")),
            user_id=_required(answer, "user_id", AUTH),
            url=_text(answer.get("url")),
            scopes=tuple(scope.strip() for scope in scopes if scope.strip()),
        )

    def history_page(self, channel: str, oldest: float, latest: str | float | None) -> HistoryPage:
        """One call's worth of a conversation's history, the newest part first.

        The window: from `oldest` (Unix time) up to `latest`: a Unix time, None for now, or the
        `read_down_to` of the page before, which is not part of it. Continuing below a message
        depends on nothing that Slack may forget in between, as it may forget its cursors.

        Raises TransientError with the code `history_incomplete` when the answer is incomplete
        and does not say where to continue.
        """
        bot_id = self._bot_id()
        start = f"{max(oldest - _MICROSECOND, 0.0):.6f}"
        answer = self._read(
            HISTORY,
            lambda: self._client.conversations_history(
                channel=channel,
                oldest=start,
                latest=_end_of_window(latest),
                limit=_PAGE,
                # Without it Slack leaves out the metadata.
                include_all_metadata=True,
            ),
        )
        messages = answer.get("messages")
        if not isinstance(messages, list):
            raise _incomplete()
        entries = [entry for entry in messages if isinstance(entry, dict)]
        end = latest if isinstance(latest, str) else None
        return HistoryPage(
            found=_own_posts(entries, bot_id),
            read_down_to=_read_down_to(answer, entries, start, end),
            messages=len(entries),
        )

    def thread_page(
        self, channel: str, parent_ts: str, oldest: float, latest: float, cursor: str | None = None
    ) -> ThreadPage:
        """One call's worth of a message's thread between two Unix times; `cursor` is that of the
        page before. A thread that does not exist is empty.

        Raises TransientError with the code `history_incomplete` when the answer is incomplete and
        does not say where to continue.
        """
        bot_id = self._bot_id()
        try:
            answer = self._read(
                REPLIES,
                lambda: self._client.conversations_replies(
                    channel=channel,
                    ts=parent_ts,
                    oldest=f"{max(oldest - _MICROSECOND, 0.0):.6f}",
                    latest=_end_of_window(latest),
                    limit=_PAGE,
                    cursor=cursor,
                    include_all_metadata=True,
                ),
            )
        except CannotReadError as error:
            if error.code != "thread_not_found":
                raise
            return ThreadPage({}, None)
        messages = answer.get("messages")
        if not isinstance(messages, list):
            raise _incomplete()
        entries = [entry for entry in messages if isinstance(entry, dict)]
        following = _next_cursor(answer) or None
        never_ends = following is not None and following == cursor
        if never_ends or (following is None and answer.get("has_more")):
            raise _incomplete()
        return ThreadPage(_own_posts(entries, bot_id), following)

    def takes_replies(self, channel: str, parent_ts: str) -> bool:
        """Whether a message still exists, so that others can be posted in its thread. One that was
        deleted leaves nothing, or a placeholder above its replies, a tombstone."""
        try:
            answer = self._read(
                REPLIES,
                lambda: self._client.conversations_replies(channel=channel, ts=parent_ts, limit=1),
            )
        except CannotReadError as error:
            if error.code != "thread_not_found":
                raise
            return False
        messages = answer.get("messages")
        first = _mapping(messages[0]) if isinstance(messages, list) and messages else {}
        return not (first.get("ts") == parent_ts and first.get("subtype") == "tombstone")

    def delete(self, channel: str, ts: str) -> None:
        """Delete one of the bot's own messages."""
        self._perform(DELETE, lambda: self._client.chat_delete(channel=channel, ts=ts))

    def channel_info(self, channel: str) -> ChannelInfo:
        """What the bot can see of a channel."""
        answer = self._read(INFO, lambda: self._client.conversations_info(channel=channel))
        info = _mapping(answer.get("channel"))
        return ChannelInfo(
            id=_required(info, "id", INFO),
            name=_text(info.get("name")),
            is_archived=info.get("is_archived") is True,
            # A direct message has its two members and does not say so.
            is_member=info.get("is_member") is True or info.get("is_im") is True,
            is_shared_outside=info.get("is_ext_shared") is True,
            is_person_gone=info.get("is_user_deleted") is True,
        )

    def _bot_id(self) -> str:
        if not self._own_bot_id:
            bot_id = self.identity().bot_id
            if not bot_id:
                raise CannotReadError(
                    "The Slack token is not a bot's, so its own messages cannot be recognised.",
                    code="no_bot_token",
                )
            self._own_bot_id = bot_id
        return self._own_bot_id

    def _read(self, method: str, call: Callable[[], SlackResponse]) -> SlackResponse:
        """`_perform` for a call that may be repeated freely: nothing about it is ambiguous."""
        try:
            return self._perform(method, call)
        except AmbiguousError as error:
            raise TransientError(str(error), code=error.code) from error
        except UnknownError as error:
            raise CannotReadError(str(error), code=error.code) from error

    def _perform(self, method: str, call: Callable[[], SlackResponse]) -> SlackResponse:
        """Slack's answer to a call that succeeded."""
        try:
            answer = call()
        except SlackApiError as refusal:
            failed: SlackResponse = refusal.response
        except (RecursionError, ValueError):  # nested too deeply, a number too long
            raise AmbiguousError("Slack's answer is not usable.", code="answer_unusable") from None
        else:
            if answer.get("ok") is True:
                self._log_warnings(method, answer)
                return answer
            failed = answer
        # Outside of the handler: the refusal contains the request, and with it the token.
        raise _translated(method, failed)

    def _log_warnings(self, method: str, answer: SlackResponse) -> None:
        """Log what Slack warns about in a call that it carried out; each warning once."""
        for code in _text(answer.get("warning")).split(","):
            if not _CODE.fullmatch(code) or code in _USUAL_WARNINGS:
                continue
            if (method, code) not in self._warned:
                self._warned.add((method, code))
                logger.warning(
                    "Slack carried out a call with a warning",
                    extra={"action": "slack_warning", "method": method, "code": code},
                )


def _translated(method: str, failed: SlackResponse) -> WorkerError:
    """The error for an answer other than success; the table says what its code means."""
    status, data = failed.status_code, failed.data if isinstance(failed.data, dict) else {}
    code = str(data.get("error") or "")
    if not _CODE.fullmatch(code):
        code = ""
    kind = classify(code, method) if code else CodeClass.AMBIGUOUS
    is_limit = kind in (CodeClass.RATE, CodeClass.RATE_WORKSPACE)
    # The status first: a 429 may come as plain text, without a code.
    if status == 429 and not is_limit:
        kind, code = CodeClass.RATE, code or "ratelimited"
    elif not is_limit and (not code or status >= 500 or (status < 400 and status != 200)):
        kind = CodeClass.AMBIGUOUS
        code = code or ("answer_unusable" if status == 200 else f"http_{status}")
    error: type[WorkerError]
    match kind:
        case CodeClass.RATE | CodeClass.RATE_WORKSPACE:
            return RateLimitedError(
                f"Slack asked us to wait with {method}.",
                code=code,
                retry_after=retry_after_seconds(failed.headers.get("retry-after")),
                everywhere=kind is CodeClass.RATE_WORKSPACE,
                method=method,
            )
        case CodeClass.AMBIGUOUS:
            error = AmbiguousError
        case CodeClass.TRANSIENT:
            error = TransientError
        case CodeClass.TOKEN:
            error = CredentialsError
        case CodeClass.DESTINATION | CodeClass.THREAD:
            error = DestinationError
        case CodeClass.MESSAGE | CodeClass.MESSAGE_FORMAT:
            error = PermanentError
        case CodeClass.CANNOT_READ:
            error = CannotReadError
        case CodeClass.UNKNOWN:
            error = UnknownError
        case _:
            assert_never(kind)
    return error(f"Slack refused {method}: {code}{_details(data)}.", code=code)


def _details(data: Mapping[str, object]) -> str:
    """Slack's further details: missing scopes, or what is wrong with the message."""
    details = [f"{key} {_text(data[key])}" for key in ("needed", "provided") if data.get(key)]
    messages = _mapping(data.get("response_metadata")).get("messages")
    if isinstance(messages, list):
        details += filter(None, map(_text, messages))
    text = "; ".join(details)
    return f" ({text[:_DETAIL_LIMIT]})" if text else ""


def _own_posts(entries: Iterable[Mapping[str, object]], bot_id: str) -> dict[str, Place]:
    """Delivery id → place, for the bot's own posts; of several copies the earliest."""
    found: dict[str, Place] = {}
    for entry in entries:
        delivery_id, ts = _delivery_of(entry, bot_id), _text(entry.get("ts"))
        if delivery_id and _TS.fullmatch(ts):
            place = Place(ts, _parent_of(entry, ts))
            earlier = found.get(delivery_id, place)
            found[delivery_id] = min(place, earlier, key=lambda one: ts_order(one.ts))
    return found


def _parent_of(entry: Mapping[str, object], ts: str) -> str | None:
    """The parent of the thread that a message is in. The first message of a thread names itself."""
    parent_ts = _text(entry.get("thread_ts"))
    return parent_ts if _TS.fullmatch(parent_ts) and parent_ts != ts else None


def _delivery_of(entry: Mapping[str, object], bot_id: str) -> str:
    """The delivery for which one of our own messages was posted; empty for all other messages.

    The metadata alone proves nothing: any app can write it.
    """
    metadata = _mapping(entry.get("metadata"))
    if entry.get("bot_id") != bot_id or metadata.get("event_type") != METADATA_EVENT:
        return ""
    return _text(_mapping(metadata.get("event_payload")).get(METADATA_KEY))


def _end_of_window(latest: str | float | None) -> str:
    if latest is None:
        return _NO_END
    return latest if isinstance(latest, str) else f"{latest + _MICROSECOND:.6f}"


def _read_down_to(
    answer: SlackResponse, entries: Iterable[Mapping[str, object]], start: str, end: str | None
) -> str | None:
    """The message below which reading continues; None at the end of the window.

    Raises TransientError when Slack has more and does not say where, or names the place where this
    page began: such a search would never end.
    """
    cursor = _next_cursor(answer)
    if not (cursor or answer.get("has_more")):
        return None
    stamps = [ts for entry in entries if _TS.fullmatch(ts := _text(entry.get("ts")))]
    # A page may be empty, if all its messages were deleted.
    lowest = min(stamps, key=ts_order) if stamps else _place_of(cursor)
    if lowest is None or (end is not None and ts_order(lowest) >= ts_order(end)):
        raise _incomplete()
    return lowest if ts_order(lowest) > ts_order(start) else None


def _next_cursor(answer: SlackResponse) -> str:
    return _text(_mapping(answer.get("response_metadata")).get("next_cursor"))


def _place_of(cursor: str) -> str | None:
    """The ts below which to continue, from a cursor.

    Slack's cursors contain the next message's time in microseconds, like the one shown in
    https://docs.slack.dev/reference/methods/conversations.history.
    """
    try:
        found = _CURSOR.fullmatch(base64.b64decode(cursor, validate=True).decode())
    except ValueError:
        return None
    if found is None:
        return None
    below = int(found[1]) + 1
    return f"{below // 1_000_000}.{below % 1_000_000:06d}"


def _incomplete() -> TransientError:
    return TransientError("Slack returned only a part of the history.", code="history_incomplete")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """A text from Slack, without characters that a database or a log cannot hold; empty for
    anything that is not a text."""
    return " ".join(_CONTROL.sub(" ", value).split()) if isinstance(value, str) else ""


def _required(source: Mapping[str, object] | SlackResponse, key: str, method: str) -> str:
    value = _text(source.get(key))
    if not value:
        raise TransientError(f"Slack's answer to {method} lacks {key}.", code="answer_unusable")
    return value
