"""Slack: the token, its scopes, and every channel and person that notifications go to."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from workers.clock import Clock
from workers.doctor.sections import of_error
from workers.errors import CannotReadError, RateLimitedError, WorkerError
from workers.findings import Finding, failed, ok, warning
from workers.notifications.rendering import render
from workers.notifications.slack import Slack
from workers.notifications.slack_codes import hint_at_id, is_visible_in_info

NEEDED_SCOPES: Final = ("chat:write",)
# Without these, a message that may have been posted cannot be looked for. Only for this is a direct
# message opened (im:write).
HISTORY_SCOPES: Final = ("channels:history", "groups:history", "im:history", "im:write")
_READ_SCOPES: Final = (
    "Nothing, if posting works; the scopes of slack-manifest.yaml are enough to check it"
)
# conversations.info allows about fifty calls a minute (tier 3).
MOST_PLACES: Final = 40
# How many messages a page of history has for an app that is distributed outside Slack's Marketplace
# and may request one a minute: https://docs.slack.dev/apis/web-api/rate-limits
_DISTRIBUTED_PAGE: Final = 15
# In how many channels to look for a page that distinguishes the kinds of apps.
_MOST_PAGES: Final = 3


def check_slack(
    slack: Slack, channels: Sequence[str], people: Sequence[str], has_time: Callable[[], bool]
) -> Iterator[Finding]:
    """In this order: reachable, whose token, scopes, then each channel and person by id, as long as
    there is time."""
    try:
        identity = slack.identity()
    except WorkerError as error:
        yield of_error("Slack", error)
        return
    yield ok(f"the bot token is valid for {identity.url or identity.team_id}")
    yield from _scopes(identity.scopes)
    places = [(_channel, one) for one in channels] + [(_person, one) for one in people]
    checked = 0
    joined: list[str] = []
    for check, place in places[:MOST_PLACES]:
        if not has_time():
            break
        findings = list(check(slack, place))
        if check is _channel and findings[0].level == "ok":
            joined.append(place)
        yield from findings
        checked += 1
    if checked < len(places):
        why = "to stay within Slack's limits" if checked == MOST_PLACES else "for lack of time"
        yield warning(
            f"{len(places) - checked} more channels and people were not checked, {why}",
            "Nothing to fix; one that refuses a message is parked, with the reason",
        )
    if has_time() and checked:
        yield from _kind_of_app(slack, joined[:_MOST_PAGES])


def post_test(slack: Slack, clock: Clock, channel: str, now: float) -> Iterator[Finding]:
    """Posts to `channel`, finds the message there and deletes it. `now` is Unix time."""
    delivery = str(uuid.uuid4())
    message = render("A test message of the workers' doctor, to be deleted.", {}, event_type="test")
    try:
        posted = slack.post(channel, message, delivery)
    except WorkerError as error:
        yield of_error(f"the test message to {channel}", error)
        return
    yield ok(f"a test message was posted to {channel}")
    clock.sleep(1.0)  # history may lag behind
    yield _search(slack, posted.channel, delivery, now)
    try:
        slack.delete(posted.channel, posted.ts)
        yield ok("it was deleted")
    except WorkerError as error:
        yield of_error("it could not be deleted", error)


def _search(slack: Slack, channel: str, delivery: str, now: float) -> Finding:
    try:
        page = slack.history_page(channel, now - 60, None)
    except WorkerError as error:
        return of_error("it could not be looked for in the channel's history", error)
    if delivery in page.found:
        return ok("it was found in the channel's history")
    return warning(
        "it was not found in the channel's history",
        "Give the app the history scopes and invite it to the channel",
    )


def _scopes(granted: Sequence[str]) -> Iterator[Finding]:
    if not granted:
        yield warning("Slack did not say which scopes the token has", "Nothing, if posting works")
        return
    missing = [scope for scope in NEEDED_SCOPES if scope not in granted]
    if missing:
        yield failed(
            f"the token lacks {', '.join(missing)}",
            "Add the scopes at api.slack.com/apps (OAuth & Permissions), reinstall the app, and "
            "store the new token",
        )
    unseen = [scope for scope in HISTORY_SCOPES if scope not in granted]
    if unseen:
        yield warning(
            f"the token lacks {', '.join(unseen)}: a message that may have been posted cannot "
            "be looked for there, and is posted again with a mark",
            "Add the scopes as above",
        )
    if not missing and not unseen:
        yield ok("the token has the necessary scopes")


def _kind_of_app(slack: Slack, joined: Sequence[str]) -> Iterator[Finding]:
    """Whether Slack serves history to this app as to a workspace's own apps.

    Slack does not say; a page of a channel with more than fifteen messages shows it.
    """
    is_served = False
    for channel in joined:
        try:
            page = slack.history_page(channel, 0.0, None)
        except CannotReadError:
            continue  # a missing scope is a finding of its own
        except WorkerError as error:
            yield warning(
                f"which kind of app this is could not be determined: {error}",
                "Run the doctor later",
            )
            return
        is_served = True
        if page.messages > _DISTRIBUTED_PAGE:
            yield ok("Slack serves history to this app as to a workspace's own app")
            return
        if page.read_down_to is not None:
            yield warning(
                f"Slack serves {page.messages} messages of history at a time, as it does once a "
                "minute to apps that are distributed outside its Marketplace: finding out whether "
                "a message was posted can take a quarter of an hour",
                "Create an app in your own workspace from slack-manifest.yaml, and store its token",
            )
            return
    if is_served:
        yield ok(
            "the kind of app cannot be determined until a channel has more than "
            f"{_DISTRIBUTED_PAGE} messages"
        )


def _channel(slack: Slack, channel: str) -> Iterator[Finding]:
    try:
        info = slack.channel_info(channel)
    except CannotReadError as error:
        if is_visible_in_info(error.code):
            yield failed(
                f"channel {channel}: {error}{hint_at_id(error.code, channel)}",
                "Is the id correct (C...)? A private channel must invite the bot: "
                "/invite @agency-dashboard",
            )
        else:
            yield warning(f"channel {channel} cannot be checked: {error}", _READ_SCOPES)
        return
    except RateLimitedError as error:
        yield warning(f"channel {channel} was not checked: {error}", "Run the doctor later")
        return
    except WorkerError as error:
        yield of_error(f"channel {channel}", error)
        return
    name = f"#{info.name} ({channel})"
    if info.is_archived:
        yield failed(f"{name} is archived", "Unarchive it, or set another channel")
    elif not info.is_member:
        yield failed(f"the bot is not in {name}", "Invite it there: /invite @agency-dashboard")
    elif info.is_shared_outside:
        yield warning(
            f"{name} is shared with another company, which can read what is posted",
            "Set another channel, unless that is intended",
        )
    else:
        yield ok(f"the bot is in {name}")


def _person(slack: Slack, person: str) -> Iterator[Finding]:
    try:
        slack.open_dm(person)
    except CannotReadError as error:
        if is_visible_in_info(error.code):
            yield failed(
                f"direct messages to {person}: {error}", "Correct profiles.slack_id (U...)"
            )
        else:
            yield warning(f"{person} cannot be checked: {error}", _READ_SCOPES)
    except RateLimitedError as error:
        yield warning(f"{person} was not checked: {error}", "Run the doctor later")
    except WorkerError as error:
        yield of_error(f"direct messages to {person}", error)
    else:
        yield ok(f"direct messages to {person} can be sent")
