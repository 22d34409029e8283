"""The calls to Slack for one post: to post it, or to find out whether it was posted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from workers.errors import (
    CannotReadError,
    DestinationError,
    PermanentError,
    RateLimitedError,
    WorkerError,
)
from workers.notifications.event_data import changes_status
from workers.notifications.in_flight import Post
from workers.notifications.plain_line import PLAIN_WORDING, Wording
from workers.notifications.rendering import Message, mark_repeat, plain_message, render
from workers.notifications.slack import Place, Posted, Slack
from workers.notifications.slack_codes import (
    POST,
    CodeClass,
    classify,
    is_visible_in_info,
    ts_order,
)
from workers.telemetry import logger

# How much the clocks of the database and of Slack may differ.
CLOCK_MARGIN = 120.0


@dataclass(frozen=True)
class Attempt:
    """The result of an attempt: `posted`, or the `error`, or neither where no time was left for it.

    `started` is when the post went out, by the caller's clock. `confirmed` says that an error
    of the destination was seen twice, so that it is not temporary. For `check_again_in` seconds
    Slack is not to be asked whether a message still exists.
    """

    started: float
    unknown_keys: tuple[str, ...] = ()
    posted: Posted | None = None
    error: WorkerError | None = None
    confirmed: bool = False
    check_again_in: float = 0.0


@dataclass(frozen=True)
class Search:
    """The result of a search of the history: the `found` posts by id, and whether it is `complete`,
    so that the others were not posted; else `read_down_to` and, if it was interrupted, the
    `error`."""

    conversation_id: str | None
    found: Mapping[str, Place] = field(default_factory=dict)
    complete: bool = False
    read_down_to: str | None = None
    error: WorkerError | None = None


def attempt_post(
    slack: Slack,
    post: Post,
    conversation_id: str | None,
    now: Callable[[], float],
    start_before: float,
    wording: Wording = PLAIN_WORDING,
    *,
    check_parent: bool = False,
) -> Attempt:
    """Render and post, starting nothing at `start_before` or later by the clock `now`.
    `check_parent`: the message that began its thread may have been deleted since.

    Never raises a WorkerError; other exceptions pass through.
    """
    try:
        message = _rendered(post, wording)
    except PermanentError as error:
        return Attempt(now(), error=error)
    channel = conversation_id or post.destination
    parent_ts, check_again_in = post.parent_ts, 0.0
    if check_parent and parent_ts is not None:
        parent_ts, check_again_in = _existing_parent(slack, channel, parent_ts)
    attempt = Attempt(now(), message.unknown_keys, check_again_in=check_again_in)
    try:
        return _try_forms(slack, post, channel, parent_ts, message, attempt, now, start_before)
    except DestinationError as error:
        confirmed = post.first.error_code == error.code or _is_closed(slack, channel, error)
        return replace(attempt, error=error, confirmed=confirmed)
    except WorkerError as error:
        return replace(attempt, error=error)


def _try_forms(
    slack: Slack,
    post: Post,
    channel: str,
    parent_ts: str | None,
    message: Message,
    attempt: Attempt,
    now: Callable[[], float],
    start_before: float,
) -> Attempt:
    """Post as it is; if its form is refused, again as plain text; if its thread takes no replies,
    again outside of it."""
    forms = [message, plain_message(message)]
    broadcast = changes_status(post.first.event_type, post.first.event_data)
    while True:
        started = now()
        if started >= start_before:
            return attempt
        try:
            posted = slack.post(
                channel, forms[0], post.id, parent_ts=parent_ts, broadcast=broadcast
            )
            return replace(attempt, started=started, posted=posted)
        except PermanentError as error:
            kind = classify(error.code, POST)
            if kind is CodeClass.MESSAGE_FORMAT and len(forms) > 1:
                forms.pop(0)
            elif kind is CodeClass.THREAD and parent_ts is not None:
                parent_ts = None
            else:
                raise


def _existing_parent(slack: Slack, channel: str, parent_ts: str) -> tuple[str | None, float]:
    """The parent message, or None if it was deleted, and for how long not to ask again. Where Slack
    does not say, the post will show it."""
    try:
        return parent_ts if slack.takes_replies(channel, parent_ts) else None, 0.0
    except RateLimitedError as error:
        return parent_ts, error.retry_after
    except WorkerError:
        return parent_ts, 0.0


def _rendered(post: Post, wording: Wording) -> Message:
    """Raises PermanentError for what cannot be read or rendered: only this one ends."""
    delivery = post.first
    if delivery.unreadable is not None:
        raise delivery.unreadable
    try:
        message = render(
            delivery.template,
            delivery.event_data,
            event_type=delivery.event_type,
            entities=delivery.entities,
            wording=wording,
        )
    except Exception as error:
        logger.exception(
            "A notification could not be rendered",
            extra={"action": "unrenderable", "notification": delivery.notification_id},
        )
        raise PermanentError(
            f"its template and data could not be rendered: {type(error).__name__}",
            code="unrenderable",
        ) from error
    return mark_repeat(message) if post.possible_duplicate else message


def open_conversation(slack: Slack, destination: str) -> str:
    """The conversation of a destination: itself, or for a person the opened direct message."""
    return slack.open_dm(destination) if destination.startswith(("U", "W")) else destination


def search_for(
    slack: Slack,
    destination: str,
    conversation_id: str | None,
    posts: Collection[Post],
    may_continue: Callable[[], bool],
) -> Search:
    """Read the threads in which they may be, and the history down from where the last search was
    interrupted, as long as `may_continue`. What was meant for a thread may be outside of it, if the
    message that began the thread was deleted.

    The window is bounded on both sides: by the first and the last attempt, with a margin for the
    clocks. Never raises a WorkerError.
    """
    oldest = min(post.first.first_attempt or 0.0 for post in posts) - CLOCK_MARGIN
    newest = max(post.first.last_attempt or 0.0 for post in posts)
    end = newest + CLOCK_MARGIN + slack.timeout
    place: str | float = next(iter(posts)).looked_down_to or end
    found: dict[str, Place] = {}
    search = Search(conversation_id, found)
    try:
        channel = conversation_id or open_conversation(slack, destination)
        search = replace(search, conversation_id=channel)
        for parent_ts in dict.fromkeys(post.parent_ts for post in posts if post.parent_ts):
            if not may_continue():
                return search
            _read_thread(slack, channel, parent_ts, oldest, end, found)
        if all(post.id in found for post in posts):
            return replace(search, complete=True)
        while True:
            page = slack.history_page(channel, oldest, place)
            _add_earliest(found, page.found)
            if page.read_down_to is None:
                return replace(search, complete=True)
            place = page.read_down_to
            search = replace(search, read_down_to=place)
            if not may_continue():
                return search
    except WorkerError as error:
        return replace(search, error=error)


def _read_thread(
    slack: Slack,
    channel: str,
    parent_ts: str,
    oldest: float,
    latest: float,
    found: dict[str, Place],
) -> None:
    """Add all of our messages in a thread to what was found."""
    cursor = None
    while True:
        page = slack.thread_page(channel, parent_ts, oldest, latest, cursor)
        _add_earliest(found, page.found)
        cursor = page.cursor
        if cursor is None:
            return


def _add_earliest(found: dict[str, Place], more: Mapping[str, Place]) -> None:
    """Of several copies the earliest counts."""
    for post_id, place in more.items():
        known = found.get(post_id, place)
        found[post_id] = min(known, place, key=lambda one: ts_order(one.ts))


def takes_posts(slack: Slack, destination: str) -> bool:
    """Whether Slack would now accept a message for a destination that it refused, as far as can be
    seen without posting one. Raises WorkerError when Slack cannot be asked."""
    try:
        return slack.channel_info(open_conversation(slack, destination)).takes_posts
    except CannotReadError as error:
        if is_visible_in_info(error.code):
            return False
        raise


def _is_closed(slack: Slack, channel: str, refusal: DestinationError) -> bool:
    """Whether Slack says, in answer to a second method, that the bot cannot post there."""
    if not is_visible_in_info(refusal.code) or channel.startswith(("U", "W")):
        return False
    try:
        return not takes_posts(slack, channel)
    except WorkerError:
        return False  # Slack could not be asked: the next attempt will show it
