"""What the doctor says about who can read and write the dashboard's tables."""

from __future__ import annotations

import pytest

from tests.conftest import LocalStack
from tests.integration.examination import Examine, changed, failed, one_failure
from workers.doctor.database_checks import (
    check_access,
)
from workers.doctor.report import Access, OpenView, TableAccess


def test_what_the_public_key_can_reach(examine: Examine, stack: LocalStack) -> None:
    tables = "platform_connections, profiles, notification_queue, notification_config"
    with changed(
        stack,
        f"grant all on {tables} to anon, authenticated;"
        "alter table platform_connections disable row level security;"
        "alter table notification_queue disable row level security",
        f"revoke all on {tables} from anon, authenticated;"
        "alter table platform_connections enable row level security;"
        "alter table notification_queue enable row level security",
    ):
        _, sections = examine()
        shown = failed(sections["Access"])
        assert len(shown) == 3, "row-level security without a policy lets nothing through"
        credentials, queue, connections = (
            next(one for one in shown if one[0].startswith(name))
            for name in ("platform_connections.credentials", "notification_queue",
                         "platform_connections can be written")
        )  # fmt: skip
        assert "with the public key alone" in credentials[0]

        for _, fix in (credentials, queue, connections):
            stack.connection.execute(fix.split(":\n", 1)[1].encode())
        _, sections = examine()
        assert not failed(sections["Access"]), "the printed SQL closes it"
        row = stack.connection.execute(
            "select has_column_privilege('anon', 'platform_connections', 'account_name', 'select'),"
            " has_column_privilege('anon', 'platform_connections', 'credentials', 'select')"
        ).fetchone()
        assert row == (True, False)


def test_a_single_column_that_the_public_key_can_write(examine: Examine, stack: LocalStack) -> None:
    with changed(
        stack,
        "grant update (account_id) on platform_connections to anon;"
        "grant insert (entity_type) on notification_queue to anon;"
        "create policy shut on notification_queue as restrictive to anon using (true);"
        "create policy open on platform_connections to anon using (true)",
        "revoke all on platform_connections, notification_queue from anon;"
        "drop policy shut on notification_queue;"
        "drop policy open on platform_connections",
    ):
        _, sections = examine()
        shown = one_failure(sections["Access"])
        assert "platform_connections can be written with the public key alone: UPDATE" in shown
        stack.connection.execute(shown.split(":\n", 1)[1].encode())
        _, sections = examine()
        assert not failed(sections["Access"])


def test_the_access_of_an_existing_dashboard() -> None:
    closed = TableAccess((), ())
    open_ = TableAccess(("id", "slack_access_token"), ("INSERT",))
    names = (
        "platform_connections", "profiles", "notification_queue", "notification_config",
        "slack_connected_channels", "retention_policies",
    )  # fmt: skip
    access = {name: {"anon": closed, "authenticated": open_} for name in names}
    views: dict[str, tuple[OpenView, ...]] = {"platform_connections": (), "profiles": ()}
    levels = [finding.level for finding in check_access(Access(access, views))]
    assert levels == ["failed", "warning"]


@pytest.mark.parametrize(
    ("change", "undo", "view"),
    [
        (
            (
                "create view overview as select id, credentials from platform_connections;"
                "grant select on overview to anon"
            ),
            "drop view overview",
            "overview",
        ),
        (
            (
                "create view inner_one as select credentials as c from platform_connections;"
                "create view outer_one as select c ->> 'access_token' as t from inner_one;"
                "grant select on outer_one to authenticated"
            ),
            "drop view outer_one, inner_one",
            "outer_one",
        ),
        (
            (
                "create materialized view people as select slack_access_token from profiles;"
                "grant select on people to anon"
            ),
            "drop materialized view people",
            "people",
        ),
    ],
)
def test_a_view_that_shows_credentials(
    examine: Examine, stack: LocalStack, change: str, undo: str, view: str
) -> None:
    with changed(stack, change, undo):
        _, sections = examine()
    shown = one_failure(sections["Access"])
    assert f"the view {view} reads" in shown
    assert "security_invoker" in shown


@pytest.mark.parametrize(
    "change",
    [
        (
            "create view overview with (security_invoker = true) as "
            "select credentials from platform_connections; grant select on overview to anon"
        ),
        (
            "create view overview as select id, platform from platform_connections;"
            "grant select on overview to anon"
        ),
        "create view overview as select credentials from platform_connections",
    ],
    ids=["with the reader's rights", "of other columns", "that no one may read"],
)
def test_a_view_that_shows_no_credentials(examine: Examine, stack: LocalStack, change: str) -> None:
    with changed(stack, change, "drop view overview"):
        _, sections = examine()
    assert not failed(sections["Access"])


@pytest.mark.parametrize(
    ("policies", "is_open"),
    [
        (["for select using (true)"], True),
        (["for select using (false)"], False),
        (["using (false)", "for select to anon using (platform <> '')"], True),
        (["using (true)", "as restrictive using (false)"], False),
        (["for insert with check (true)"], False),
    ],
)
def test_a_policy_that_lets_nothing_through_is_not_a_hole(
    examine: Examine, stack: LocalStack, policies: list[str], is_open: bool
) -> None:
    made = "".join(
        f"create policy p{number} on platform_connections {rest};"
        for number, rest in enumerate(policies)
    )
    undo = "".join(
        f"drop policy p{number} on platform_connections;" for number in range(len(policies))
    )
    with changed(
        stack,
        f"grant select on platform_connections to anon; {made}",
        f"revoke select on platform_connections from anon; {undo}",  # noqa: S608
    ):
        _, sections = examine()
    shown = [text for text, _ in failed(sections["Access"])]
    assert any("credentials can be read" in text for text in shown) is is_open
