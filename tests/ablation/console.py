"""The safety mechanisms of the console: who gets an answer, that no text becomes markup, and that
what is confirmed is done, once."""

from __future__ import annotations

from tests.ablation.cuts import MIGRATIONS, Ablation, Cut

CONSOLE = "server/console"
GUARD = f"{CONSOLE}/guard.py"
GUARD_TESTS = "tests/server/console/test_guard.py"
FORMS = f"{CONSOLE}/forms.py"
ACTS = f"{MIGRATIONS}/20261124001280_console_acts.sql"
ACTION_TESTS = "tests/server/console/test_actions.py"
RENDERING = f"{CONSOLE}/rendering.py"
SLACK_TEXT = f"{CONSOLE}/slack_text.py"
MESSAGE_TESTS = "tests/unit/server/test_slack_message.py"
TEXT_TEST = (
    "tests/unit/server/test_console_rendering.py::"
    "test_no_text_becomes_markup_or_leaves_its_attribute"
)

ABLATIONS = (
    Ablation(
        "console-session",
        "without a session there is no page",
        f"{GUARD_TESTS}::test_without_a_session_there_is_no_page",
        (
            Cut(
                GUARD,
                "        if has_session:\n",
                "        if True:\n",
            ),
        ),
    ),
    Ablation(
        "console-token-once",
        "a token works once",
        "tests/unit/server/test_console_sessions.py::test_a_token_works_once_and_until_the_next",
        (
            Cut(
                f"{CONSOLE}/sessions.py",
                "        self._token = None\n        session =",
                "        session =",
            ),
        ),
    ),
    Ablation(
        "console-host",
        "a foreign name that leads here gets nothing",
        f"{GUARD_TESTS}::test_only_names_of_this_machine_are_answered",
        (Cut(GUARD, " or _host_name(hosts[0]) not in self._names"),),
    ),
    Ablation(
        "console-origin",
        "a page of another origin gets nothing",
        f"{GUARD_TESTS}::test_a_foreign_origin_gets_nothing",
        (Cut(GUARD, 'if not _is_own(headers, hosts[0], scope["method"]):', "if False:"),),
    ),
    Ablation(
        "console-onward",
        "a token's address leads nowhere else",
        f"{GUARD_TESTS}::test_a_token_leads_to_this_host_whatever_its_path",
        (Cut(GUARD, '"/" + path.lstrip("/\\\\")', "path"),),
    ),
    Ablation(
        "console-policy",
        "a page loads nothing from outside",
        f"{GUARD_TESTS}::test_every_answer_has_security_headers",
        (Cut(GUARD, "default-src 'self'", "default-src *"),),
    ),
    Ablation(
        "console-escaping",
        "what a template prints is escaped",
        TEXT_TEST,
        (Cut(RENDERING, "autoescape=True,", "autoescape=False,"),),
    ),
    Ablation(
        "console-unseen",
        "invisible characters are shown as symbols",
        TEXT_TEST,
        (Cut(RENDERING, "finalize=seen,"),),
    ),
    Ablation(
        "console-redaction",
        "what looks like a key is on no page",
        "tests/server/console/test_overview.py::test_what_is_stalled_is_shown_with_its_reason",
        (
            Cut(
                f"{CONSOLE}/project.py",
                "return mask_all(self._database().call(function, **arguments))",
                "return self._database().call(function, **arguments)",
            ),
        ),
    ),
    Ablation(
        "console-message-escaping",
        "what a message says is text, whatever it holds",
        f"{MESSAGE_TESTS}::test_no_text_becomes_markup_of_its_own",
        (
            Cut(
                SLACK_TEXT,
                "return Markup.escape(visible(_decoded(text)))",
                "return Markup(visible(_decoded(text)))",
            ),
        ),
    ),
    Ablation(
        "console-message-links",
        "a message links to nothing but http and https",
        f"{MESSAGE_TESTS}::test_mrkdwn[<javascript:x|y>-&lt;javascript:x|y&gt;]",
        (Cut(SLACK_TEXT, 'r"https?://[^\\s<>', 'r"[a-z]+:[^\\s<>'),),
    ),
    Ablation(
        "console-form-token",
        "a form of another session, or of none, does nothing",
        f"{ACTION_TESTS}::test_every_form_needs_the_token_of_its_session",
        (
            Cut(
                FORMS,
                "if not secrets.compare_digest(given.encode(), request.state.form_token.encode()):",
                "if False:",
            ),
        ),
    ),
    Ablation(
        "console-read-only",
        "a console that is read-only does nothing",
        f"{ACTION_TESTS}::test_a_read_only_console_offers_and_does_nothing",
        (Cut(FORMS, "    if not request.app.state.may_act:", "    if False:"),),
    ),
    Ablation(
        "console-stale",
        "what has changed since it was confirmed is left alone",
        f"{ACTION_TESTS}::test_a_stale_page_does_nothing_and_asks_again",
        (
            Cut(
                ACTS,
                "if scope ->> 'fingerprint' is distinct from fingerprint then",
                "if false then",
            ),
        ),
    ),
    Ablation(
        "console-confirmed-once",
        "a confirmation that is sent again does nothing",
        f"{ACTION_TESTS}::test_a_confirmation_that_is_sent_twice_acts_once",
        (
            Cut(
                ACTS,
                "known where known.id = console_act.id)",
                "known where false)",
            ),
        ),
    ),
    Ablation(
        "console-template-changed",
        "a template that the dashboard changes meanwhile is not overwritten",
        f"{ACTION_TESTS}::test_a_template_that_changes_at_that_moment_is_not_overwritten",
        (Cut(ACTS, "\n       for update;", ";"),),
    ),
    Ablation(
        "console-same-at-once",
        "the same action runs once at a time on the same subject",
        f"{ACTION_TESTS}::test_the_same_action_runs_once_at_a_time",
        (
            Cut(
                f"{MIGRATIONS}/20261124001190_console_actions.sql",
                "create unique index console_actions_under_way_idx",
                "create index console_actions_under_way_idx",
            ),
        ),
    ),
)
