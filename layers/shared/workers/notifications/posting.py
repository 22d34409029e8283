"""One post's way through Slack: to post it, or to look whether it was posted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from workers.errors import (
    CannotLookError,
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

# By how much the clocks of the database and of Slack may differ.
CLOCK_MARGIN = 120.0


@dataclass(frozen=True)
class Attempt:
    """What a try came to: `posted`, or the `error`, or neither where no time was left for it.

    `started` is when the post went out, by the caller's clock. `confirmed` says that an error
    of the destination was seen twice, so that it is no passing trouble. For `ask_again_in` seconds
    Slack is not to be asked whether a message still stands.
    """

    started: float
    unknown_keys: tuple[str, ...] = ()
    posted: Posted | None = None
    error: WorkerError | None = None
    confirmed: bool = False
    ask_again_in: float = 0.0


@dataclass(frozen=True)
class Look:
    """What a look into the history came to: the `found` posts by id, and whether all was read in
    which the others may stand; else `read_down_to` and, where it broke off, the `error`."""

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

    Never raises a WorkerError; what it does not know goes through.
    """
    try:
        message = _rendered(post, wording)
    except PermanentError as error:
        return Attempt(now(), error=error)
    channel = conversation_id or post.destination
    parent_ts, ask_again_in = post.parent_ts, 0.0
    if check_parent and parent_ts is not None:
        parent_ts, ask_again_in = _still_standing(slack, channel, parent_ts)
    attempt = Attempt(now(), message.unknown_keys, ask_again_in=ask_again_in)
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
    """As it is, where its form is refused once more as plain text, and where its thread takes no
    replies once more outside of it."""
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


def _still_standing(slack: Slack, channel: str, parent_ts: str) -> tuple[str | None, float]:
    """The message, or None where it was deleted, and for how long not to ask again. Where Slack
    does not tell, the post will."""
    try:
        return parent_ts if slack.takes_replies(channel, parent_ts) else None, 0.0
    except RateLimitedError as error:
        return parent_ts, error.retry_after
    except WorkerError:
        return parent_ts, 0.0


def _rendered(post: Post, wording: Wording) -> Message:
    """Raises PermanentError for what cannot be read or shown: that ends this one alone."""
    delivery = post.first
    if delivery.unreadable is not None:
        raise delivery.unreadable
    try:
        message = render(
            delivery.template,
            delivery.event_data,
            event_type=delivery.event_type,
            known=delivery.known,
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


def look_for(
    slack: Slack,
    destination: str,
    conversation_id: str | None,
    posts: Collection[Post],
    may_go_on: Callable[[], bool],
) -> Look:
    """Read the threads in which they may stand, and the history down from where the last look broke
    off, as long as `may_go_on`. What was to go into a thread may stand outside of it, where the
    message that began it was deleted.

    The window is bounded on both sides: what was tried first and what was tried last, with a
    margin for the clocks. Never raises a WorkerError.
    """
    oldest = min(post.first.first_attempt or 0.0 for post in posts) - CLOCK_MARGIN
    newest = max(post.first.last_attempt or 0.0 for post in posts)
    end = newest + CLOCK_MARGIN + slack.timeout
    place: str | float = next(iter(posts)).looked_down_to or end
    found: dict[str, Place] = {}
    look = Look(conversation_id, found)
    try:
        channel = conversation_id or open_conversation(slack, destination)
        look = replace(look, conversation_id=channel)
        for parent_ts in dict.fromkeys(post.parent_ts for post in posts if post.parent_ts):
            if not may_go_on():
                return look
            _read_thread(slack, channel, parent_ts, oldest, end, found)
        if all(post.id in found for post in posts):
            return replace(look, complete=True)
        while True:
            page = slack.history_page(channel, oldest, place)
            _add_earliest(found, page.found)
            if page.read_down_to is None:
                return replace(look, complete=True)
            place = page.read_down_to
            look = replace(look, read_down_to=place)
            if not may_go_on():
                return look
    except WorkerError as error:
        return replace(look, error=error)


def _read_thread(
    slack: Slack,
    channel: str,
    parent_ts: str,
    oldest: float,
    latest: float,
    found: dict[str, Place],
) -> None:
    """Add all of ours in the thread of a message to what was found."""
    cursor = None
    while True:
        page = slack.thread_page(channel, parent_ts, oldest, latest, cursor)
        _add_earliest(found, page.found)
        cursor = page.cursor
        if cursor is None:
            return


def _add_earliest(found: dict[str, Place], more: Mapping[str, Place]) -> None:
    """Of several copies the earliest stays."""
    for post_id, place in more.items():
        known = found.get(post_id, place)
        found[post_id] = min(known, place, key=lambda one: ts_order(one.ts))


def is_well(slack: Slack, destination: str) -> bool:
    """Whether Slack would now take a message for a destination that was refused, as far as
    can be told without posting one. Raises WorkerError when it cannot be asked."""
    try:
        return slack.channel_info(open_conversation(slack, destination)).takes_posts
    except CannotLookError as error:
        if is_visible_in_info(error.code):
            return False
        raise


def _is_closed(slack: Slack, channel: str, refusal: DestinationError) -> bool:
    """Whether Slack says, asked a second way, that the bot cannot post to the channel."""
    if not is_visible_in_info(refusal.code) or channel.startswith(("U", "W")):
        return False
    try:
        return not is_well(slack, channel)
    except WorkerError:
        return False  # it could not be asked: the next try will tell
