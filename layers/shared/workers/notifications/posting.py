"""One delivery's way through Slack: to post it, or to look whether it was posted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from workers.errors import CannotLookError, DestinationError, PermanentError, WorkerError
from workers.notifications.lanes import Work
from workers.notifications.rendering import Message, mark_repeat, plain_message, render
from workers.notifications.slack import Posted, Slack
from workers.notifications.slack_codes import POST, CodeClass, classify, is_visible_in_info

# How far before the first try the search in the history begins: the clocks of the database
# and of Slack may differ by this much.
CLOCK_MARGIN = 120.0


@dataclass(frozen=True)
class Attempt:
    """What a try came to: `posted`, or the `error`.

    `started` is when the post went out, by the caller's clock. `confirmed` says that an error
    of the destination was seen twice, so that it is no passing trouble.
    """

    conversation_id: str | None
    started: float
    unknown_keys: tuple[str, ...] = ()
    posted: Posted | None = None
    error: WorkerError | None = None
    confirmed: bool = False


def attempt_post(
    slack: Slack, work: Work, conversation_id: str | None, now: Callable[[], float]
) -> Attempt:
    """Render and post one delivery, opening the direct message if it is not known yet; if that
    cannot be, to the person's id, which takes posts as well.

    Never raises a WorkerError; what it does not know goes through.
    """
    notification, delivery = work.notification, work.delivery
    message = render(
        notification.template, notification.event_data, event_type=notification.event_type
    )
    if work.possible_duplicate:
        message = mark_repeat(message)
    attempt = Attempt(conversation_id, now(), message.unknown_keys)
    try:
        conversation_id = conversation_id or _opened(slack, delivery.destination)
        attempt = replace(attempt, conversation_id=conversation_id, started=now())
        posted = _post(slack, conversation_id or delivery.destination, message, delivery.id)
        return replace(attempt, conversation_id=posted.channel, posted=posted)
    except DestinationError as error:
        confirmed = delivery.error_code == error.code or _is_closed(slack, attempt.conversation_id)
        return replace(attempt, error=error, confirmed=confirmed)
    except WorkerError as error:
        return replace(attempt, error=error)


def open_conversation(slack: Slack, destination: str) -> str:
    """The conversation of a destination: itself, or for a person the opened direct message."""
    return slack.open_dm(destination) if destination.startswith(("U", "W")) else destination


def _opened(slack: Slack, destination: str) -> str | None:
    try:
        return open_conversation(slack, destination)
    except CannotLookError:
        return None


def find_posted(slack: Slack, conversation_id: str, works: Collection[Work]) -> dict[str, str]:
    """Which of `works` stand in the conversation: delivery id to message ts.

    One read of the history for all of them, complete or else it raises a WorkerError.
    """
    first = min(work.delivery.first_attempt or 0.0 for work in works)
    page = slack.history_page(conversation_id, first - CLOCK_MARGIN, None)
    found = dict(page.found)
    while page.read_down_to is not None:
        page = slack.history_page(conversation_id, first - CLOCK_MARGIN, page.read_down_to)
        found |= page.found  # older pages, so that of several copies the earliest stays
    return {
        work.delivery.id: found[work.delivery.id] for work in works if work.delivery.id in found
    }


def _post(slack: Slack, channel: str, message: Message, delivery_id: str) -> Posted:
    try:
        return slack.post(channel, message, delivery_id)
    except PermanentError as error:
        if classify(error.code, POST) is not CodeClass.MESSAGE_FORMAT:
            raise
        return slack.post(channel, plain_message(message), delivery_id)


def is_well(slack: Slack, destination: str) -> bool:
    """Whether Slack would now take a message for a destination that was refused, as far as
    can be told without posting one. Raises WorkerError when it cannot be asked."""
    try:
        conversation = open_conversation(slack, destination)
        if conversation != destination:
            return True  # a direct message that can be opened again
        return slack.channel_info(conversation).takes_posts
    except CannotLookError as error:
        if is_visible_in_info(error.code):
            return False
        raise


def _is_closed(slack: Slack, channel: str | None) -> bool:
    """Whether Slack says, asked a second way, that the bot cannot post to the channel."""
    if channel is None:
        return False
    try:
        return not is_well(slack, channel)
    except WorkerError:
        return False  # it could not be asked: the next try will tell
