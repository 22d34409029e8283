"""Each of Slack's codes has one meaning, method by method."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.notifications.slack_codes import (
    AUTH,
    DELETE,
    HISTORY,
    INFO,
    METHODS,
    OPEN,
    POST,
    READS,
    REPLIES,
    RULES,
    WRITES,
    CodeClass,
    classify,
    find_rule,
    hint_at_id,
    is_visible_in_info,
    looks_like_channel_id,
    retry_after_seconds,
)

PUBLISHED = json.loads((Path(__file__).parent / "slack_published_codes.json").read_text())["codes"]

EXPECTED_OF_A_POST = {
    CodeClass.RATE: """
        ratelimited rate_limited
    """,
    CodeClass.RATE_WORKSPACE: """
        message_limit_exceeded
    """,
    CodeClass.AMBIGUOUS: """
        fatal_error internal_error request_timeout service_unavailable
        duplicate_channel_not_found duplicate_message_not_found answer_lost answer_timeout
        answer_unusable http_502 http_302
    """,
    CodeClass.TRANSIENT: """
        connect_failed
    """,
    CodeClass.TOKEN: """
        invalid_auth not_authed account_inactive token_revoked token_expired
        not_allowed_token_type missing_scope app_access_restricted accesslimited
        team_access_not_granted two_factor_setup_required enterprise_is_restricted
        org_login_required team_added_to_org deprecated_endpoint method_deprecated
        is_bot unknown_method
    """,
    CodeClass.DESTINATION: """
        channel_not_found not_in_channel is_archived restricted_action
        restricted_action_read_only_channel restricted_action_thread_only_channel
        ekm_access_denied access_denied no_permission messages_tab_disabled
        slack_connect_file_link_sharing_blocked slack_connect_canvas_sharing_blocked
        slack_connect_lists_sharing_blocked
        user_not_found user_disabled user_not_visible cannot_dm_bot team_not_found
    """,
    CodeClass.THREAD: """
        cannot_reply_to_message restricted_action_non_threadable_channel
        restricted_action_thread_locked thread_not_found
    """,
    CodeClass.MESSAGE_FORMAT: """
        msg_too_long msg_blocks_too_long invalid_blocks invalid_blocks_format
    """,
    CodeClass.MESSAGE: """
        no_text too_many_attachments attachment_payload_limit_exceeded too_many_contact_cards
        markdown_text_conflict metadata_too_large invalid_metadata_format
        invalid_metadata_schema metadata_must_be_sent_from_app invalid_arguments
        invalid_arg_name invalid_array_arg invalid_charset invalid_form_data invalid_post_type
        missing_post_type missing_file_data as_user_not_supported draft_not_found
        draft_already_deleted draft_already_sent draft_has_conflict
        send_on_behalf_not_allowed agent_prompt_display_not_allowed
    """,
    CodeClass.UNKNOWN: """
        brand_new_code Invalid_auth invalid_auth_ not_in_channel2 slack_connect_blocked x
        invalid_metadata invalid_ts_oldest
    """,
}
# Any other code with which a read is refused means that the conversation cannot be read.
EXPECTED_OF_A_READ = {
    CodeClass.RATE: "ratelimited rate_limited",
    CodeClass.RATE_WORKSPACE: "message_limit_exceeded",
    CodeClass.AMBIGUOUS: """
        fatal_error internal_error request_timeout service_unavailable answer_lost
        answer_timeout answer_unusable http_502
    """,
    CodeClass.TRANSIENT: "connect_failed history_incomplete",
    CodeClass.TOKEN: """
        invalid_auth not_authed account_inactive token_revoked token_expired org_login_required
        team_added_to_org two_factor_setup_required
    """,
    CodeClass.CANNOT_READ: """
        missing_scope not_in_channel channel_not_found channel_is_limited_access unknown_method
        is_bot method_not_supported_for_channel_type invalid_user_combination access_denied
        no_permission ekm_access_denied not_allowed_token_type accesslimited user_disabled
        user_not_found user_not_visible cannot_dm_bot invalid_ts_latest invalid_cursor
        no_bot_token enterprise_is_restricted thread_not_found
    """,
    CodeClass.UNKNOWN: "brand_new_code duplicate_message_not_found",
}


@pytest.mark.parametrize("expected", EXPECTED_OF_A_POST)
@pytest.mark.parametrize("method", sorted(WRITES))
def test_what_a_refused_post_means(method: str, expected: CodeClass) -> None:
    for code in EXPECTED_OF_A_POST[expected].split():
        assert classify(code, method) is expected, code


@pytest.mark.parametrize("expected", EXPECTED_OF_A_READ)
@pytest.mark.parametrize("method", sorted(READS))
def test_what_a_refused_read_means(method: str, expected: CodeClass) -> None:
    for code in EXPECTED_OF_A_READ[expected].split():
        assert classify(code, method) is expected, code


def test_the_published_lists_cover_all_methods_that_are_called() -> None:
    assert set(PUBLISHED) == METHODS == {AUTH, DELETE, HISTORY, INFO, OPEN, POST, REPLIES}
    assert len(set().union(*PUBLISHED.values())) == 85


@pytest.mark.parametrize("method", sorted(PUBLISHED))
def test_the_table_holds_every_published_code(method: str) -> None:
    assert [code for code in PUBLISHED[method] if find_rule(code, method) is None] == []


@pytest.mark.parametrize("method", sorted(READS))
def test_no_published_code_of_an_unreadable_conversation_is_retried(method: str) -> None:
    """A read is repeated after a wait, a failure of Slack or a refusal of the token as a whole;
    each of these is named here, so that nothing added to the table slips in."""
    repeated = {
        code
        for code in PUBLISHED[method]
        if classify(code, method) not in (CodeClass.CANNOT_READ, CodeClass.UNKNOWN)
    }
    assert repeated <= {
        "account_inactive", "fatal_error", "internal_error", "invalid_auth", "not_authed",
        "org_login_required", "ratelimited", "request_timeout", "service_unavailable",
        "team_added_to_org", "token_expired", "token_revoked", "two_factor_setup_required",
    }  # fmt: skip


def test_the_table_has_each_code_once_with_its_source() -> None:
    counts = Counter(
        (code, method) for rule in RULES for code in rule.codes for method in rule.methods
    )

    assert [pair for pair, times in counts.items() if times > 1] == []
    assert all(rule.source and rule.methods <= METHODS for rule in RULES)
    assert all(code in (find_rule(code, method) or RULES[0]).codes for code, method in counts)


@given(st.text(), st.sampled_from(sorted(METHODS)) | st.text())
def test_any_code_of_any_method_has_a_class(code: str, method: str) -> None:
    assert isinstance(classify(code, method), CodeClass)
    assert is_visible_in_info(code) in (True, False)


def test_what_conversations_info_shows() -> None:
    seen = {code for code in PUBLISHED[POST] if is_visible_in_info(code)}
    refused = {code for code in PUBLISHED[POST] if classify(code, POST) is CodeClass.DESTINATION}

    assert seen == {"channel_not_found", "is_archived", "not_in_channel", "team_not_found"}
    assert refused - seen == {
        "access_denied", "ekm_access_denied", "messages_tab_disabled", "no_permission",
        "restricted_action", "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel", "slack_connect_canvas_sharing_blocked",
        "slack_connect_file_link_sharing_blocked", "slack_connect_lists_sharing_blocked",
    }  # fmt: skip
    assert is_visible_in_info("user_disabled")
    assert not is_visible_in_info("brand_new_code")


@pytest.mark.parametrize(
    ("destination", "is_id", "called"),
    [
        ("C0123ABCD", True, ""),
        ("U0123ABCD", True, ""),
        ("W1", True, ""),
        ("D0123ABCD", True, ""),
        ("G0123ABCD", True, ""),
        ("#general", False, "a channel's name"),
        ("general", False, "a channel's name"),
        ("kunden-büro_2", False, "a channel's name"),
        ("c0123abcd", False, "a channel's name"),
        ("営業", False, "a channel's name"),
        ("@ava", False, "not a channel's id"),
        ("General", False, "not a channel's id"),
        ("C0123ABCD ", False, "not a channel's id"),
        ("C0123ABCD,C0456EFGH", False, "not a channel's id"),
        ("https://acme.slack.com/archives/C0123ABCD", False, "not a channel's id"),
        ("X0123ABCD", False, "not a channel's id"),
        ("C٣", False, "not a channel's id"),
        ("", False, "not a channel's id"),
    ],
)
def test_a_name_is_distinguished_from_an_id(destination: str, is_id: bool, called: str) -> None:
    assert looks_like_channel_id(destination) is is_id
    hint = hint_at_id("channel_not_found", destination)
    assert bool(hint) is not is_id
    assert called in hint
    assert hint_at_id("is_archived", destination) == ""


@given(st.text())
def test_anything_given_as_an_id_is_shown_in_one_line(destination: str) -> None:
    hint = hint_at_id("channel_not_found", destination)

    assert len(hint) < 300
    assert hint.isprintable()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("0", 1),
        ("0.2", 1),
        ("900", 900),
        ("901", 900),
        ("9" * 400, 900),
        (None, 30),
        ("", 30),
        ("-5", 30),
        ("soon", 30),
        ("nan", 30),
        ("inf", 30),
        ("1e3", 30),
        ("1_0", 30),
        ("٣", 30),
        ("1, 2", 30),
        ("Tue, 24 Nov 2026 08:00:00 GMT", 30),
    ],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    assert retry_after_seconds(header) == seconds


@given(st.text() | st.none(), st.floats(5, 10))
def test_retry_after_is_always_within_bounds(header: str | None, default: float) -> None:
    assert 1 <= retry_after_seconds(header, default=default) <= 900
    assert retry_after_seconds("x", default=default) == default
