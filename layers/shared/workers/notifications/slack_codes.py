"""What each of Slack's error codes means for a delivery: the one table of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final


class CodeClass(Enum):
    """The consequence of a code. Each but AMBIGUOUS means that nothing was sent."""

    RATE = "rate"
    """Wait; costs no attempt."""
    RATE_WORKSPACE = "rate_workspace"
    """Wait with everything that goes to this workspace."""
    AMBIGUOUS = "ambiguous"
    """It may have been sent: look before sending again."""
    TRANSIENT = "transient"
    """Send again later."""
    TOKEN = "token"  # noqa: S105 - a class of errors, no secret
    """Slack refuses the token or the app: stop."""
    DESTINATION = "destination"
    """This channel or person cannot be reached until somebody mends it."""
    MESSAGE = "message"
    """This message will be refused each time."""
    MESSAGE_FORMAT = "message_format"
    """Its form is refused: once more as plain text."""
    UNKNOWN = "unknown"
    """Not in the table: retry like any failure of one message, and tell."""


@dataclass(frozen=True)
class Rule:
    """Codes (or patterns with `*`) of one class, and where their meaning comes from."""

    code_class: CodeClass
    source: str
    codes: tuple[str, ...]


_POST: Final = "https://docs.slack.dev/reference/methods/chat.postMessage#errors"
_OPEN: Final = "https://docs.slack.dev/reference/methods/conversations.open#errors"
_HISTORY: Final = "https://docs.slack.dev/reference/methods/conversations.history#errors"
_LIMITS: Final = "https://docs.slack.dev/apis/web-api/rate-limits"
_REPORTED: Final = "not in Slack's list for chat.postMessage; reported by other apps"
_OURS: Final = "ours, for an answer that holds no code of Slack's"

RULES: Final = (
    Rule(CodeClass.RATE, _LIMITS, ("ratelimited", "rate_limited")),
    Rule(CodeClass.RATE_WORKSPACE, _POST, ("message_limit_exceeded",)),
    # "It's possible some aspect of the operation succeeded before the error was raised."
    Rule(
        CodeClass.AMBIGUOUS,
        _POST,
        (
            "fatal_error",
            "internal_error",
            "request_timeout",
            "service_unavailable",
            # Slack knows, or looked for, an earlier copy of this message.
            "duplicate_*",
        ),
    ),
    Rule(
        CodeClass.AMBIGUOUS,
        _OURS,
        ("answer_lost", "answer_timeout", "answer_unusable", "http_*"),
    ),
    Rule(CodeClass.TRANSIENT, _OURS, ("connect_failed", "history_incomplete")),
    # A read that broke off; no message is at fault.
    Rule(
        CodeClass.TRANSIENT,
        _HISTORY,
        ("invalid_cursor", "invalid_limit", "invalid_ts_latest", "invalid_ts_oldest"),
    ),
    Rule(
        CodeClass.TOKEN,
        _POST,
        (
            "accesslimited",
            "account_inactive",
            "deprecated_endpoint",
            "enterprise_is_restricted",
            "invalid_auth",
            "method_deprecated",
            "missing_scope",
            "not_allowed_token_type",
            "not_authed",
            "org_login_required",
            "team_access_not_granted",
            "team_added_to_org",
            "team_not_found",
            "token_expired",
            "token_revoked",
            "two_factor_setup_required",
        ),
    ),
    Rule(CodeClass.TOKEN, _REPORTED, ("app_access_restricted",)),
    Rule(CodeClass.TOKEN, _OURS, ("no_bot_token",)),
    Rule(
        CodeClass.DESTINATION,
        _POST,
        (
            "access_denied",
            "cannot_reply_to_message",
            "channel_not_found",
            "ekm_access_denied",
            "is_archived",
            "messages_tab_disabled",
            "no_permission",
            "not_in_channel",
            "restricted_action",
            "restricted_action_non_threadable_channel",
            "restricted_action_read_only_channel",
            "restricted_action_thread_locked",
            "restricted_action_thread_only_channel",
            "slack_connect_*_blocked",
        ),
    ),
    Rule(
        CodeClass.DESTINATION,
        _OPEN,
        (
            "cannot_dm_bot",
            "method_not_supported_for_channel_type",
            "user_disabled",
            "user_not_found",
            "user_not_visible",
        ),
    ),
    Rule(
        CodeClass.MESSAGE_FORMAT,
        _POST,
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
            "too_many_attachments",
            "too_many_contact_cards",
        ),
    ),
    Rule(
        CodeClass.MESSAGE,
        _REPORTED,
        ("agent_prompt_display_not_allowed", "send_on_behalf_not_allowed"),
    ),
)

_EXACT: Final = {code: rule for rule in RULES for code in rule.codes if "*" not in code}
_PATTERNS: Final = [(code, rule) for rule in RULES for code in rule.codes if "*" in code]

_SECONDS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*", re.ASCII)


def find_rule(code: str) -> Rule | None:
    """The table's rule for a code, or None for one that it does not know."""
    if code in _EXACT:
        return _EXACT[code]
    return next((rule for pattern, rule in _PATTERNS if fnmatchcase(code, pattern)), None)


def classify(code: str) -> CodeClass:
    """What the code means; UNKNOWN for what the table does not hold. Raises nothing."""
    rule = find_rule(code)
    return rule.code_class if rule else CodeClass.UNKNOWN


def retry_after_seconds(
    header: str | None, *, default: float = 30, lowest: float = 1, highest: float = 900
) -> float:
    """How long to wait after a 429, from its `Retry-After`.

    Slack sends whole seconds, yet has been seen to send none
    (https://github.com/slackapi/node-slack-sdk/issues/1421). A header that is missing or no
    number (a date, say) gives the default; a number is kept within the two bounds.
    """
    found = _SECONDS.fullmatch(header or "")
    return min(max(float(found[1]), lowest), highest) if found else default
