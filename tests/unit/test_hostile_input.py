"""Whatever comes from outside is understood or refused by name: settings, messages, policies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.answers import Answer
from workers.errors import ConfigurationError, PermanentError
from workers.metrics.platforms.protocol import Connection
from workers.metrics.sync_requests import SyncRequest
from workers.retention.policies import ENTITY_TYPES, read_policies
from workers.settings import Settings, load_settings

NAMES = [name.upper() for name in Settings.__dataclass_fields__]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=60)))
def test_settings_are_read_or_refused_by_name(values: dict[str, str]) -> None:
    shown = ""
    try:
        load_settings(values)
    except ConfigurationError as error:
        shown = str(error)
    assert not shown or any(name in shown for name in NAMES)
    assert all(value not in shown for value in values.values() if len(value) > 20)


@given(st.text() | JSON.map(str) | st.just('{"platform": 1, "account_id": "1", "token": []}'))
def test_a_message_is_a_sync_request_or_refused(body: str) -> None:
    try:
        sync_request = SyncRequest.from_body(body)
    except PermanentError as error:
        code = error.code
    else:
        code = (
            "malformed_message"
            if SyncRequest.from_body(sync_request.body()) == sync_request
            else "changed"
        )
    assert code == "malformed_message"


def test_an_invalid_message_error_says_what_a_sync_request_is() -> None:
    said = r"with platform and account_id, both texts, and token, a UUID \(KeyError\)"
    with pytest.raises(PermanentError, match=said):
        SyncRequest.from_body("{}")


@given(st.text(), st.text(), st.uuids())
def test_a_sync_request_survives_the_queue(platform: str, account_id: str, token: Any) -> None:
    sync_request = SyncRequest(platform, account_id, str(token))
    assert SyncRequest.from_body(sync_request.body()) == sync_request


ROWS = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "entity_type": st.sampled_from(ENTITY_TYPES) | st.text(max_size=20),
        "active_days": st.integers() | JSON,
        "archive_days": st.integers(-5, 5000) | JSON,
    }
)


@given(st.lists(ROWS, max_size=8))
def test_policies_are_carried_out_or_refused_each_once(rows: list[dict[str, Any]]) -> None:
    policies, refused = read_policies(Answer.each("list_retention_policies", rows))
    shown = [id_ for policy in policies for id_ in policy.ids] + [one.id for one in refused]
    assert sorted(shown) == sorted(row["id"] for row in rows)
    assert len({policy.entity_type for policy in policies}) == len(policies)
    for policy in policies:
        assert policy.entity_type in ENTITY_TYPES
        of_type = [row for row in rows if row["id"] in policy.ids]
        assert policy.active_days == max(row["active_days"] for row in of_type) >= 1
        assert policy.archive_days == max(row["archive_days"] for row in of_type) >= 1


@given(JSON, st.none() | st.text(max_size=20))
def test_any_credentials_of_a_row_can_be_read(credentials: Any, account: Any) -> None:
    row = {
        "id": "c", "platform": "meta", "account_id": account, "account_name": None,
        "credentials": credentials,
    }  # fmt: skip
    connection = Connection.from_answer(Answer("f", row))
    assert all(isinstance(secret, str) for secret in connection.secrets)
    assert connection.optional_credential("access_token") in (
        None, *(str(value).strip() for value in connection.credentials.values())
    )  # fmt: skip
