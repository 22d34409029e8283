"""What each of Slack's error codes means, method by method: the only table of them.

The meaning of a code depends on the method: `missing_scope` from chat.postMessage stops everything,
from conversations.history it only means that one conversation cannot be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

POST: Final = "chat.postMessage"
DELETE: Final = "chat.delete"
OPEN: Final = "conversations.open"
HISTORY: Final = "conversations.history"
REPLIES: Final = "conversations.replies"
INFO: Final = "conversations.info"
AUTH: Final = "auth.test"

WRITES: Final = frozenset({POST, DELETE})
# conversations.open is one of them: a post to a person's id needs no opened conversation, so it is
# opened only to read its history.
READS: Final = frozenset({OPEN, HISTORY, REPLIES, INFO, AUTH})
METHODS: Final = WRITES | READS


class CodeClass(Enum):
    """The consequence of a code. All except AMBIGUOUS mean that nothing was sent."""

    RATE = "rate"
    """Wait; does not count as an attempt."""
    RATE_WORKSPACE = "rate_workspace"
    """Wait before posting anything to this workspace."""
    AMBIGUOUS = "ambiguous"
    """It may have been sent: look before sending again."""
    TRANSIENT = "transient"
    """Send again later."""
    TOKEN = "token"  # noqa: S105 - a class of errors, no secret
    """Slack refuses the token or the app: stop."""
    DESTINATION = "destination"
    """This channel or person cannot be reached until someone fixes it."""
    THREAD = "thread"
    """This thread takes no replies: post again outside of it."""
    MESSAGE = "message"
    """This message will be refused each time."""
    MESSAGE_FORMAT = "message_format"
    """Its form is refused: post again as plain text."""
    CANNOT_READ = "cannot_read"
    """This conversation cannot be read; asking again would not help."""
    UNKNOWN = "unknown"
    """Not in the table: for a post, retry like any failure of one message, and report it."""


@dataclass(frozen=True)
class Rule:
    """Codes (or patterns with `*`) of one class, and the source of their meaning.

    The class applies only when one of `methods` returns the code. `visible_in_info`: whether
    conversations.info, asked about the same channel, would also show the reason.
    """

    code_class: CodeClass
    source: str
    methods: frozenset[str]
    codes: tuple[str, ...]
    visible_in_info: bool = False


_POST: Final = "https://docs.slack.dev/reference/methods/chat.postMessage#errors"
_DELETE: Final = "https://docs.slack.dev/reference/methods/chat.delete#errors"
_OPEN: Final = "https://docs.slack.dev/reference/methods/conversations.open#errors"
_HISTORY: Final = "https://docs.slack.dev/reference/methods/conversations.history#errors"
_REPLIES: Final = "https://docs.slack.dev/reference/methods/conversations.replies#errors"
_LIMITS: Final = "https://docs.slack.dev/apis/web-api/rate-limits"
_REPORTED: Final = "not in Slack's list for the method; reported by other apps"
_OURS: Final = "ours, for an answer without a code from Slack"

RULES: Final = (
    Rule(CodeClass.RATE, _LIMITS, METHODS, ("ratelimited", "rate_limited")),
    Rule(CodeClass.RATE_WORKSPACE, _POST, METHODS, ("message_limit_exceeded",)),
    # "It's possible some aspect of the operation succeeded before the error was raised."
    Rule(
        CodeClass.AMBIGUOUS,
        _POST,
        METHODS,
        ("fatal_error", "internal_error", "request_timeout", "service_unavailable"),
    ),
    # Slack has found, or searched for, an earlier copy of this message.
    Rule(CodeClass.AMBIGUOUS, _POST, WRITES, ("duplicate_*",)),
    Rule(
        CodeClass.AMBIGUOUS,
        _OURS,
        METHODS,
        ("answer_lost", "answer_timeout", "answer_unusable", "http_*"),
    ),
    Rule(CodeClass.TRANSIENT, _OURS, METHODS, ("connect_failed", "history_incomplete")),
    # About the token as a whole, whichever method returns it.
    Rule(
        CodeClass.TOKEN,
        _POST,
        METHODS,
        (
            "account_inactive",
            "invalid_auth",
            "not_authed",
            "org_login_required",
            "team_added_to_org",
            "token_expired",
            "token_revoked",
            "two_factor_setup_required",
        ),
    ),
    # About the method: where it is the one that posts, nothing can be sent at all.
    Rule(
        CodeClass.TOKEN,
        _POST,
        WRITES,
        (
            "accesslimited",
            "app_access_restricted",
            "deprecated_endpoint",
            "enterprise_is_restricted",
            "is_bot",
            "method_deprecated",
            "missing_scope",
            "not_allowed_token_type",
            "unknown_method",
        ),
    ),
    Rule(CodeClass.TOKEN, _REPORTED, WRITES, ("team_access_not_granted",)),
    Rule(
        CodeClass.DESTINATION,
        _POST,
        WRITES,
        (
            "channel_not_found",
            "is_archived",
            "not_in_channel",
            # a channel's name in place of its id
            "team_not_found",
        ),
        visible_in_info=True,
    ),
    Rule(
        CodeClass.DESTINATION,
        _OPEN,
        WRITES,
        ("cannot_dm_bot", "user_disabled", "user_not_found", "user_not_visible"),
        visible_in_info=True,
    ),
    Rule(
        CodeClass.DESTINATION,
        _POST,
        WRITES,
        (
            "access_denied",
            "channel_is_limited_access",
            "ekm_access_denied",
            "messages_tab_disabled",
            "method_not_supported_for_channel_type",
            "no_permission",
            "restricted_action",
            "restricted_action_read_only_channel",
            "restricted_action_thread_only_channel",
            "slack_connect_*_blocked",
        ),
    ),
    Rule(
        CodeClass.THREAD,
        _POST,
        WRITES,
        (
            "cannot_reply_to_message",
            "restricted_action_non_threadable_channel",
            "restricted_action_thread_locked",
        ),
    ),
    Rule(CodeClass.THREAD, _REPORTED, WRITES, ("thread_not_found",)),
    Rule(
        CodeClass.MESSAGE_FORMAT,
        _POST,
        WRITES,
        (
            "invalid_blocks",
            "invalid_blocks_format",
            "msg_blocks_too_long",
            "msg_too_long",
        ),
    ),
    Rule(
        CodeClass.MESSAGE,
        _POST,
        WRITES,
        (
            "as_user_not_supported",
            "attachment_payload_limit_exceeded",
            "draft_*",
            "invalid_arg_name",
            "invalid_arguments",
            "invalid_array_arg",
            "invalid_charset",
            "invalid_form_data",
            "invalid_metadata_*",
            "invalid_post_type",
            "markdown_text_conflict",
            "metadata_must_be_sent_from_app",
            "metadata_too_large",
            "missing_file_data",
            "missing_post_type",
            "no_text",
            "send_on_behalf_not_allowed",
            "too_many_attachments",
            "too_many_contact_cards",
        ),
    ),
    Rule(CodeClass.MESSAGE, _REPORTED, WRITES, ("agent_prompt_display_not_allowed",)),
    Rule(CodeClass.MESSAGE, _DELETE, WRITES, ("cant_delete_message", "message_not_found")),
    # The person, the conversation or the method is closed to the bot.
    Rule(
        CodeClass.CANNOT_READ,
        _HISTORY,
        READS,
        (
            "access_denied",
            "accesslimited",
            "channel_is_limited_access",
            "channel_not_found",
            "deprecated_endpoint",
            "ekm_access_denied",
            "enterprise_is_restricted",
            "is_archived",
            "is_bot",
            "method_deprecated",
            "missing_scope",
            "no_permission",
            "not_allowed_token_type",
            "not_in_channel",
            "unknown_method",
        ),
    ),
    Rule(
        CodeClass.CANNOT_READ,
        _OPEN,
        READS,
        (
            "cannot_dm_bot",
            "invalid_user_combination",
            "method_not_supported_for_channel_type",
            "not_enough_users",
            "too_many_users",
            "user_disabled",
            "user_not_found",
            "user_not_visible",
            "users_list_not_supplied",
        ),
    ),
    Rule(
        CodeClass.CANNOT_READ,
        _REPORTED,
        READS,
        ("app_access_restricted", "team_access_not_granted", "team_not_found"),
    ),
    # About the form of the request, which is the same each time.
    Rule(
        CodeClass.CANNOT_READ,
        _HISTORY,
        READS,
        (
            "invalid_arg_name",
            "invalid_arguments",
            "invalid_array_arg",
            "invalid_charset",
            "invalid_cursor",
            "invalid_form_data",
            "invalid_limit",
            "invalid_metadata_filter_keys",
            "invalid_post_type",
            "invalid_ts_latest",
            "invalid_ts_oldest",
            "missing_post_type",
        ),
    ),
    Rule(
        CodeClass.CANNOT_READ,
        _REPLIES,
        READS,
        ("list_record_comment_fetch_failed", "thread_not_found"),
    ),
    Rule(CodeClass.CANNOT_READ, _OURS, READS, ("no_bot_token",)),
)

_EXACT: Final = {
    (method, code): rule
    for rule in RULES
    for method in rule.methods
    for code in rule.codes
    if "*" not in code
}
_PATTERNS: Final = [(code, rule) for rule in RULES for code in rule.codes if "*" in code]
_VISIBLE_IN_INFO: Final = frozenset(
    code for rule in RULES if rule.visible_in_info for code in rule.codes
)

_CHANNEL_ID = re.compile(r"[CDGUW][A-Z0-9]+", re.ASCII)
# Names are in lower case, in any script: https://slack.com/help/articles/201402297
_CHANNEL_NAME = re.compile(r"#?[\w-]{1,80}")
_UPPER_CASE = re.compile(r"[A-Z]")
_NAME_SHOWN: Final = 80

_SECONDS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*", re.ASCII)


def find_rule(code: str, method: str) -> Rule | None:
    """The table's rule for a code that `method` returned, or None if it has none."""
    if (method, code) in _EXACT:
        return _EXACT[method, code]
    return next(
        (
            rule
            for pattern, rule in _PATTERNS
            if method in rule.methods and fnmatchcase(code, pattern)
        ),
        None,
    )


def classify(code: str, method: str) -> CodeClass:
    """What the code means when `method` returns it; UNKNOWN if the table does not have it. Raises
    nothing."""
    rule = find_rule(code, method)
    return rule.code_class if rule else CodeClass.UNKNOWN


def is_visible_in_info(code: str) -> bool:
    """Whether conversations.info would show why a destination is refused with this code.

    If not, that call shows nothing wrong and the next post is refused all the same: only a post can
    show whether the reason is gone.
    """
    return code in _VISIBLE_IN_INFO


def looks_like_channel_id(text: str) -> bool:
    """Whether a destination has the form of an id (`C0123ABCD`, or a person's `U0123ABCD`), and is
    not, for example, a channel's name."""
    return _CHANNEL_ID.fullmatch(text) is not None


def hint_at_id(code: str, channel: str) -> str:
    """A sentence, with a space before it, for a channel that Slack did not find because its name or
    the like was given; else nothing."""
    if code not in ("channel_not_found", "team_not_found") or looks_like_channel_id(channel):
        return ""
    is_name = _CHANNEL_NAME.fullmatch(channel) and not _UPPER_CASE.search(channel)
    kind = "a channel's name" if is_name else "not a channel's id"
    shown = " ".join("".join(filter(str.isprintable, channel[:_NAME_SHOWN])).split())
    return (
        f' "{shown}" is {kind}; use the id (like C0123ABCD), which Slack shows at the end of the '
        "channel's details."
    )


def retry_after_seconds(
    header: str | None, *, default: float = 30, lowest: float = 1, highest: float = 900
) -> float:
    """How long to wait after a 429, from its `Retry-After`.

    Slack sends whole seconds, but sometimes no header
    (https://github.com/slackapi/node-slack-sdk/issues/1421). If it is missing or not a number (a
    date, for example), the default applies; a number is kept within the two bounds.
    """
    found = _SECONDS.fullmatch(header or "")
    return min(max(float(found[1]), lowest), highest) if found else default


def ts_order(ts: str) -> tuple[int, str]:
    """A key by which to sort Slack's timestamps: decimal numbers of Unix seconds, compared without
    rounding."""
    return len(ts.partition(".")[0]), ts
