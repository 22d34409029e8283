"""Each of Slack's codes has one meaning."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.notifications.slack_codes import (
    RULES,
    CodeClass,
    classify,
    find_rule,
    retry_after_seconds,
)

EXPECTED = {
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
        connect_failed history_incomplete invalid_cursor
    """,
    CodeClass.TOKEN: """
        invalid_auth not_authed account_inactive token_revoked token_expired
        not_allowed_token_type missing_scope app_access_restricted accesslimited
        team_access_not_granted team_not_found two_factor_setup_required
        enterprise_is_restricted org_login_required team_added_to_org deprecated_endpoint
        method_deprecated
    """,
    CodeClass.DESTINATION: """
        channel_not_found not_in_channel is_archived restricted_action
        restricted_action_read_only_channel restricted_action_thread_only_channel
        restricted_action_non_threadable_channel restricted_action_thread_locked
        ekm_access_denied access_denied no_permission messages_tab_disabled
        cannot_reply_to_message slack_connect_file_upload_sharing_blocked
        slack_connect_canvas_sharing_blocked user_not_found user_disabled user_not_visible
        cannot_dm_bot
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
        send_on_behalf_not_allowed agent_prompt_display_not_allowed
    """,
    CodeClass.UNKNOWN: """
        brand_new_code Invalid_auth invalid_auth_ not_in_channel2 slack_connect_blocked x
        invalid_metadata
    """,
}


@pytest.mark.parametrize("expected", EXPECTED)
def test_every_code_has_its_class(expected: CodeClass) -> None:
    for code in EXPECTED[expected].split():
        assert classify(code) is expected, code


def test_the_table_names_no_code_twice_and_a_source_for_each() -> None:
    counts = Counter(code for rule in RULES for code in rule.codes)

    assert [code for code, times in counts.items() if times > 1] == []
    assert all(rule.source for rule in RULES)
    exact = [code for code in counts if "*" not in code]
    patterns = [code for code in counts if "*" in code]
    assert all(code in (find_rule(code) or RULES[0]).codes for code in exact + patterns)


@given(st.text())
def test_any_code_has_a_class(code: str) -> None:
    assert isinstance(classify(code), CodeClass)


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
