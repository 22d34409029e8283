"""What each handler takes as its event, and that nothing is done for any other."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.composition.container import forget_clients
from workers.composition.events import (
    has_messages,
    read_request,
    read_retention_event,
)
from workers.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))


def sample(name: str) -> Any:
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


SCHEDULE, MESSAGES, REQUEST = (
    sample(name) for name in ("notifications", "connection_sync", "health")
)
# The rule that EventBridge's older scheduler sends.
RULE = {**SCHEDULE, "source": "aws.events", "detail": {}}
TAKEN: list[tuple[str, Any]] = [
    *((function, {}) for function in FUNCTIONS),
    *((function, sample(function)) for function in FUNCTIONS),
    *((name, one) for name in ("notifications", "metrics_sync") for one in (SCHEDULE, RULE)),
    ("retention", sample("retention-scheduled")),
    ("retention", {"dry_run": True}),
    ("retention", {"dry_run": False}),
    ("doctor", {"post": "C0CREATIVE0"}),
]
# How people misspell a dry run, what they send to the wrong function, and what is not an event.
REFUSED: list[Any] = [
    {"dryRun": True}, {"dryrun": True}, {"dry-run": True}, {"DRY_RUN": True}, {"dry_run ": True},
    {"dry_run": "true"}, {"dry_run": 1}, {"dry_run": None}, {"dry_run": True, "extra": 1},
    {"post": 1}, {"post": None}, {"detail": {"dry_run": True}}, {"source": "me"},
    {**SCHEDULE, "dry_run": True}, {**SCHEDULE, "source": "aws.s3"}, {**SCHEDULE, "source": None},
    {"Records": [], "dry_run": True}, {"Records": [{"eventSource": "aws:s3", "body": "{}"}]},
    {"Records": {}}, {"Records": [1]}, [], [{}], "", "dry_run", 0, None, True,
]  # fmt: skip


class Context:
    """Lambda's, as far as it is used."""

    function_name = memory_limit_in_mb = invoked_function_arn = aws_request_id = "test"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def outcome(function: str, event: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a handler without any setting says to an event: it asks for them, unless the event is
    refused before."""
    for name in ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "SLACK_BOT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    forget_clients()
    path = ROOT / "functions" / function / "app.py"
    spec = importlib.util.spec_from_file_location(f"checked_{function}", path)
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    try:
        return str(app.lambda_handler(event, Context()))
    except Exception as error:  # noqa: BLE001 - what Lambda would log
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    ("function", "event"), TAKEN, ids=lambda one: one if isinstance(one, str) else str(one)[:30]
)
def test_what_is_documented_is_accepted(
    function: str, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = outcome(function, event, monkeypatch)
    if function == "connection_sync" and event == {}:
        assert said == "{'batchItemFailures': []}"
    elif function == "health":
        assert "the database cannot be queried: configuration" in said
    else:
        assert "SUPABASE_URL is missing" in said


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("event", REFUSED, ids=lambda event: json.dumps(event)[:30])
def test_anything_else_is_refused_before_anything_is_done(
    function: str, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = outcome(function, event, monkeypatch)
    assert said.startswith("ConfigurationError: ")
    assert "event" in said
    assert "SUPABASE_URL" not in said


@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - {"connection_sync"}))
def test_messages_of_the_queue_are_for_the_sync_alone(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "unknown key 'Records'" in outcome(function, MESSAGES, monkeypatch)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"dryRun": True}, "unknown key 'dryRun'; it may be {}, {\"dry_run\": true or false} or"),
        ({"dry_run": "yes"}, "dry_run in the event must be true or false, not 'yes'"),
        ([1], "the event is not a JSON object; it may be {}"),
    ],
)
def test_the_refusal_names_what_is_wrong_and_what_is_right(event: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_retention_event(event)
    assert words in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["dry_run", "Records", "source", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_event_is_accepted_as_documented_or_refused(event: Any) -> None:
    try:
        options = read_retention_event(event)
    except ConfigurationError:
        options = None
    if options is not None and "dry_run" in event:
        assert event == {"dry_run": options.dry_run}
    for read in (has_messages, read_request):
        try:
            read(event)
        except ConfigurationError:
            continue
        assert (
            event == {}
            or "Records" in event
            or event.get("source") in ("aws.scheduler", "aws.events")
        )
