"""The operator's command against a real stack."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import LocalStack
from workers.operate.__main__ import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        return main(arguments, out), out.getvalue()

    return call


@pytest.fixture
def dead(stack: LocalStack) -> str:
    row = stack.connection.execute(
        "update notification_queue set attempts = 5, last_error = 'no such channel' "
        "where id = (select min(id::text)::uuid from notification_queue) returning id"
    ).fetchone()
    assert row is not None
    return str(row[0])


def test_dead_letters_are_listed_for_people_and_for_scripts(run: Run, dead: str) -> None:
    status, text = run("dead", "list")
    assert status == 0
    assert dead in text
    assert "no such channel" in text
    status, text = run("dead", "list", "--json")
    assert [row["id"] for row in json.loads(text)] == [dead]


def test_an_empty_list_is_said_to_be_empty(run: Run) -> None:
    assert run("dead", "list") == (0, "No dead letters.\n")


def test_a_notification_is_shown_with_its_complete_log(run: Run, dead: str) -> None:
    status, text = run("dead", "show", dead)
    assert status == 0
    assert json.loads(text)["last_error"] == "no such channel"


def test_an_unknown_one_is_reported(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = run("dead", "show", "00000000-0000-4000-8000-000000000000")
    assert status == 1
    assert "There is no notification" in capsys.readouterr().err


def test_redrive(run: Run, dead: str, stack: LocalStack) -> None:
    assert run("dead", "redrive", dead) == (0, "1 will be delivered by the next run.\n")
    row = stack.connection.execute(
        "select attempts from notification_queue where id = %s", (dead,)
    ).fetchone()
    assert row == (0,)
    assert run("dead", "redrive", dead)[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "dead redrive",
        "dead redrive --all --yes --error is_archived",
        "dead redrive --all --yes {id}",
        "dead redrive {id} --config {id}",
        "parked release",
        "parked release C1 --all",
    ],
)
def test_what_to_act_on_must_be_given_once(
    run: Run, dead: str, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments.format(id=dead).split()) == (2, "")
    assert "Pass " in capsys.readouterr().err


def test_a_list_says_that_there_is_more(
    run: Run, dead: str, stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.connection.execute(
        "insert into notification_queue (config_id, entity_id, entity_type, attempts, "
        "max_attempts) "
        "select config_id, entity_id, entity_type, attempts, max_attempts from notification_queue "
        "where id = %s",
        (dead,),
    )
    assert len(json.loads(run("dead", "list", "--limit", "1", "--json")[1])) == 1
    assert "There are more than these 1: use --limit" in capsys.readouterr().err
    run("dead", "list", "--limit", "2")
    assert "There are more" not in capsys.readouterr().err


def test_redriving_all_asks_first(run: Run, dead: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dead", "redrive", "--all")[0] == 1
    assert "--yes" in capsys.readouterr().err
    assert run("dead", "redrive", "--all", "--yes", "--json") == (0, '{"redriven": 1}\n')


def one(stack: LocalStack, query: str, *values: str) -> str:
    row = stack.connection.execute(query.encode(), values).fetchone()
    assert row is not None
    return str(row[0])


def delivery(stack: LocalStack, destination: str, state: str) -> str:
    """The id of a notification that has this one delivery; any of those without one."""
    return one(
        stack,
        "insert into notification_deliveries "
        "(notification_id, config_id, destination, state, due_at, queued_at, ages_from) "
        "select id, config_id, %s, %s, now(), now(), now() from notification_queue "
        "where not is_processed and id not in (select notification_id from notification_deliveries)"
        " order by id limit 1 returning notification_id",
        destination,
        state,
    )


def test_an_ended_one_says_whether_it_may_have_been_posted(
    run: Run, dead: str, stack: LocalStack
) -> None:
    stack.connection.execute(
        "insert into notification_deliveries (notification_id, config_id, destination, state, "
        "due_at, queued_at, ages_from, in_doubt) select id, config_id, 'C0CREATIVE0', 'dead', "
        "now(), now(), now(), true from notification_queue where id = %s",
        (dead,),
    )
    (row,) = json.loads(run("dead", "list", "--json")[1])
    assert (row["in_doubt"], row["destinations"]) == (True, ["C0CREATIVE0"])
    assert "in_doubt" in run("dead", "list")[1]


def test_single_notifications_are_skipped_but_not_what_is_being_posted(
    run: Run, stack: LocalStack
) -> None:
    waits, posted = delivery(stack, "C1", "pending"), delivery(stack, "C2", "sending")
    status, text = run("skip", waits, posted, waits)
    assert status == 1
    assert text == f"{waits}: skipped.\n{posted}: not skipped: it is being posted right now.\n"
    row = stack.connection.execute(
        "select is_processed, outcome from notification_queue where id = %s", (waits,)
    ).fetchone()
    assert row == (True, "skipped")
    unknown = "00000000-0000-4000-8000-000000000000"
    status, text = run("skip", waits, unknown, "--json")
    assert (status, json.loads(text)) == (1, {waits: "ended", unknown: "unknown"})
    last = one(
        stack, "select id from notification_queue where not is_processed and id <> %s", posted
    )
    assert run("skip", last) == (0, f"{last}: skipped.\n")


def test_what_is_stopped_or_parked_is_listed(run: Run, stack: LocalStack) -> None:
    assert run("parked", "list") == (0, "Nothing is parked.\n")
    stack.connection.execute(
        "insert into slack_workspace (stopped_at, stop_code, stop_reason) "
        "values (now() - interval '3 hours', 'missing_scope', 'Slack refused the token')"
    )
    stack.connection.execute(
        "insert into slack_destinations "
        "(destination, parked_at, park_code, park_reason, probe_at, paused_since) "
        "values ('C0CREATIVE0', now() - interval '2 hours', 'is_archived', 'it is archived', "
        "'2030-01-02 03:04:05+00', now())"
    )
    delivery(stack, "C0CREATIVE0", "pending")
    delivery(stack, "C0CREATIVE0", "unknown")
    config = one(
        stack,
        "insert into notification_unrouted (notification_id, config_id, due_at, queued_at, "
        "ages_from, reason, lookup_at) select id, config_id, now() - interval '1 hour', now(), "
        "now(), 'no channel takes creative requests', now() + interval '1 minute' "
        "from notification_queue order by id limit 1 returning config_id",
    )
    everything, parked, unrouted = json.loads(run("parked", "list", "--json")[1])
    assert (everything["destination"], everything["config_id"]) == (None, None)
    assert everything["reason"] == "Slack refused the token"
    assert (parked["destination"], parked["waiting"], parked["code"]) == (
        "C0CREATIVE0", 2, "is_archived"
    )  # fmt: skip
    assert parked["next_probe"].startswith("2030-01-02T03:04:05")
    assert (unrouted["config_id"], unrouted["waiting"]) == (config, 1)
    assert unrouted["reason"] == "no channel takes creative requests"
    status, text = run("parked", "list")
    assert status == 0
    # too wide for a table: a block each
    everything, parked, unrouted = (block.splitlines() for block in text.strip().split("\n\n"))
    assert everything[0].split() == ["destination", "(all)"] or everything[0].startswith("(all)")
    assert "C0CREATIVE0" in parked[0]
    assert any("no channel takes creative requests" in line for line in unrouted)
    for name in ("since", "next_probe", "code", "reason"):
        assert any(line.split()[0] == name for line in parked), name


def test_a_parked_destination_is_released(
    run: Run, stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    for destination in ("C1", "C2", "U3"):
        delivery(stack, destination, "pending")
        stack.connection.execute(
            "insert into slack_destinations "
            "(destination, parked_at, park_code, probe_at, paused_since) "
            "values (%s, now(), 'is_archived', now(), now())",
            (destination,),
        )
    assert run("parked", "release", "C1") == (0, "1 released.\n")
    assert [row["destination"] for row in json.loads(run("parked", "list", "--json")[1])] == [
        "C2", "U3"
    ]  # fmt: skip
    capsys.readouterr()
    assert run("parked", "release", "C1") == (1, "")
    assert "C1 is not parked. `parked list` shows what is" in capsys.readouterr().err
    assert run("parked", "release", "C1", "--json") == (1, '{"released": 0}\n')
    assert run("parked", "release", "--all") == (0, "2 released.\n")
    assert run("parked", "release", "--all", "--json") == (0, '{"released": 0}\n')
    assert run("parked", "list") == (0, "Nothing is parked.\n")


def test_missing_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["dead", "list"], io.StringIO()) == 1
    assert "SUPABASE_URL is missing" in capsys.readouterr().err


def connection_id(stack: LocalStack, platform: str) -> str:
    row = stack.connection.execute(
        "select id from platform_connections where platform = %s", (platform,)
    ).fetchone()
    assert row is not None
    return str(row[0])


def test_connections_are_listed_with_what_they_wait_for(run: Run, stack: LocalStack) -> None:
    status, text = run("connections", "list")
    assert status == 0
    assert "Nordlys Outdoor" in text
    meta = connection_id(stack, "meta")
    stack.connection.execute(
        "insert into metric_accounts (platform, account_id, not_before, failures) "
        "select platform, account_id, now() + interval '1 hour', 3 from metric_connections() "
        "where id = %s",
        (meta,),
    )
    _, text = run("connections", "list", "--json")
    states = {row["id"]: row["state"] for row in json.loads(text)}
    assert states[meta] == "waiting"
    assert run("connections", "release", meta) == (0, "1 released.\n")
    assert run("connections", "release", meta)[0] == 1
    assert run("connections", "release")[0] == 2
    assert run("connections", "release", "--all", "--json") == (0, '{"released": 0}\n')


def test_a_backfill_reads_the_past(
    run: Run, stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    meta = connection_id(stack, "meta")
    today = datetime.now(UTC).date()
    since, until = f"{today - timedelta(days=120)}", f"{today - timedelta(days=40)}"
    status, text = run("backfill", meta, "--since", since, "--until", until)
    assert (status, text.split(":")[0]) == (0, "success")
    assert "100 % of 81 days" in capsys.readouterr().err
    row = stack.connection.execute(
        "select min(date)::text, max(date)::text from performance_metrics"
    ).fetchone()
    assert row is not None
    assert since <= row[0] < row[1] <= until


@pytest.mark.parametrize(
    ("arguments", "status", "output"),
    [
        (("--since", "2025-02-01", "--until", "2025-01-01"), 2, "before the first"),
        (("--since", "2025-01-01", "--until", "9000-01-01"), 2, "has not come yet"),
        (("--since", "1990-01-01", "--until", "2025-02-01"), 2, "keeps more than 4,000"),
        (("--since", "2025-01-01", "--until", "2025-02-01"), 1, "no platform connection"),
    ],
)
def test_a_backfill_that_cannot_be_is_refused(
    run: Run,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    output: str,
) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    assert run("backfill", unknown, *arguments)[0] == status
    assert output in capsys.readouterr().err


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What comes on standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


META = '{"access_token": "EAALOCALmetaSampleToken000000000000000001"}'


def test_an_account_is_connected_and_its_credentials_replaced(
    run: Run, stack: LocalStack, typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stack.connection.execute("delete from platform_connections")
    typed(META)
    status, text = run(
        "connections", "add", "facebook", "act_1203300000000001", "--name", "Nordlys", "--json"
    )
    assert status == 0
    output = capsys.readouterr().err
    assert "ok: account Nordlys Outdoor: EUR" in output
    assert "EAALOCAL" not in output + text
    added = json.loads(text)["id"]
    typed('{"access_token": "EAALOCALother"}')
    status, text = run(
        "connections", "add", "meta", "act_1203300000000001", "--unchecked", "--every", "60"
    )
    assert (status, text.split()[0]) == (0, added)
    rows = stack.connection.execute(
        "select platform, account_name, sync_frequency, credentials, is_active "
        "from platform_connections"
    ).fetchall()
    assert rows == [("meta", "Nordlys", 60, {"access_token": "EAALOCALother"}, True)]

    assert run("connections", "remove", added)[0] == 1, "no one said yes"
    assert run("connections", "remove", added, "--yes") == (0, "Syncing has stopped.\n")
    assert run("connections", "remove", added, "--yes", "--json") == (1, '{"removed": 0}\n')


@pytest.mark.parametrize(
    ("arguments", "text", "status", "output"),
    [
        (("snapchat", "1"), META, 2, "use one of: meta"),
        (("meta", "act_1203300000000001"), "EAALOCALnotJson", 2, "not a JSON object"),
        (("meta", "act_1203300000000001"), "{}", 1, "lack access_token"),
        (("meta", "my account"), META, 1, "account_id"),
        (("meta", "act_1203300000000001"), '{"access_token": "EAALOCALwrong"}', 1, "190"),
    ],
)
def test_an_account_that_cannot_work_is_not_connected(
    run: Run, stack: LocalStack, typed: Callable[[str], None], capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], text: str, status: int, output: str,
) -> None:  # fmt: skip
    before = stack.connection.execute("select count(*) from platform_connections").fetchone()
    typed(text)
    assert run("connections", "add", *arguments)[0] == status
    said = capsys.readouterr().err
    assert output in said
    assert "EAALOCAL" not in said
    after = stack.connection.execute("select count(*) from platform_connections").fetchone()
    assert after == before


def test_retention_without_an_archive_asks_first(
    run: Run, stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    def old() -> int:
        row = stack.connection.execute(
            "select count(*) from activity_log where created_at < now() - interval '90 days'"
        ).fetchone()
        assert row is not None
        return int(row[0])

    before = old()
    assert before
    assert run("retention", "--dry-run")[0] == 0
    assert run("retention") == (1, "")
    assert "ARCHIVE_BUCKET_NAME is not set" in capsys.readouterr().err
    assert old() == before
    assert run("retention", "--yes")[0] == 0
    assert old() == 0
