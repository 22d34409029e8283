"""Odd things that people paste and platforms return, which every platform's sync must survive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest

from local import faults
from tests.metrics.sides import SIDES, Side
from tests.metrics.test_conformance import reader
from tests.metrics.world import TODAY, World
from workers.errors import GeneralError, TransientError
from workers.metrics.platforms import fetching, protocol
from workers.metrics.windows import Window

every_platform = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)

# U+0000, which Postgres cannot store, and halves of a surrogate pair, which JSON cannot carry.
REFUSED_LETTERS = ["\x00", "\ude00", "\ud83d"]
NO_LETTER = "\ufffd"


def most(monkeypatch: pytest.MonkeyPatch, side: Side, size: int) -> None:
    """No response of the platform's reports may have more bytes."""
    if side.is_streamed:
        monkeypatch.setattr(fetching, "MOST_STREAMED", size)
    else:
        monkeypatch.setattr(protocol, "MOST_BYTES", size)


def stored_text(world: World) -> str:
    """All text that a sync wrote."""
    tables = ("ad_metrics", "performance_metrics", "metric_sync_logs", "metric_connection_states")
    return str([world.rows(f"select * from {table}") for table in tables])  # noqa: S608 - a test's


@every_platform
def test_characters_that_cannot_be_stored_end_no_sync(world: World, side: Side) -> None:
    letters = "".join(REFUSED_LETTERS)
    ads = [
        {"id": side.ad_id(number), "name": f"Sale {letter}!"}
        for number, letter in enumerate([*REFUSED_LETTERS, letters, letters], start=1)
    ]
    side.put_account(world, name=f"Account {letters}", ads=ads)
    connection = side.connect(world)
    served = {
        world.request(**{side.mapping_key: side.ad_id(number)}): [side.served(number)]
        for number in range(1, len(ads))  # no request names the last one
    }
    assert world.sync_all()[connection].status == "success"
    assert world.figures(side.name) == world.expected(served)
    assert world.last_log(connection)["details"]["account"].startswith("Account ")

    side.server(world).faults.add(side.quoting(f"It is {letters} here"))
    assert world.sync_again()[connection].status == "failed"
    message = world.last_log(connection)["error_message"]
    assert f"It is {NO_LETTER * len(letters)} here" in message
    assert not set(letters) & set(stored_text(world))


@every_platform
def test_an_account_id_in_any_form_is_that_account(world: World, side: Side) -> None:
    side.put_account(world, ad_count=1)
    for form in (*side.account_forms, "{}", " {}\n", "\u200b{}\ufeff", "\u00a0{}\t", '"{}"'):
        connection = side.connect_as(world, form.format(side.account_id))
        assert reader(world, connection).account().id == side.account_id, form


@every_platform
def test_an_invalid_account_id_is_reported(world: World, side: Side) -> None:
    connection = side.connect_as(world, "my account")
    report = world.sync_all()[connection]
    assert (report.code, report.is_parked) == ("malformed_account_id", False)
    assert "'my account'" in world.last_log(connection)["error_message"]


@every_platform
def test_an_ad_id_in_any_form_is_that_ad(world: World, side: Side) -> None:
    side.put_account(world, ad_count=3)
    connection = side.connect(world)
    one, two, three = (side.ad_id(number) for number in (1, 2, 3))
    served = {}
    for form in (*side.ad_forms, " {}\n", "\u200b{}", "{}\u00a0", '["{}"]', "{},"):
        served[world.request(**{side.mapping_key: form.format(one)})] = [side.served(1)]
    both = world.request(**{side.mapping_key: f"{two}, {three}"})
    served[both] = [side.served(2), side.served(3)]
    assert world.sync_all()[connection].status == "success"
    assert world.figures(side.name) == world.expected(served)


@every_platform
def test_one_refusal_of_good_credentials_parks_no_connection(world: World, side: Side) -> None:
    side.put_account(world, ad_count=1)
    connection = side.connect(world)
    served = {world.request(**{side.mapping_key: side.ad_id(1)}): [side.served(1)]}
    refusal = replace(side.refused(), times=1)
    server = side.server(world)
    server.faults.add(replace(refusal, path=side.path, skip=1))
    assert world.sync_all()[connection].status == "success", "refused in the middle of the first"
    server.faults.add(refusal)
    assert world.sync_again()[connection].status == "success", "refused at the beginning of one"
    assert [one["struck"] for one in server.faults.listing()] == [1, 1]
    assert world.figures(side.name) == world.expected(served)

    server.faults.add(side.refused())
    assert world.sync_again()[connection].is_parked


@every_platform
def test_a_credential_that_no_header_can_carry_is_neither_sent_nor_shown(
    world: World, side: Side, capfd: pytest.CaptureFixture[str]
) -> None:
    side.put_account(world, ad_count=1)
    connection = side.connect(world)
    (row,) = world.rows("select credentials from platform_connections where id = %s", connection)
    token = "refresh_token" if "refresh_token" in row["credentials"] else "access_token"
    world.connection.execute(
        "update platform_connections set credentials = jsonb_set(credentials, array[%s], "
        "to_jsonb(%s::text)) where id = %s",
        (token, "FIRSTHALFofTheToken0000\nSECONDHALFofTheToken000", connection),
    )
    report = world.sync_all()[connection]
    assert (report.code, report.is_parked) == ("credentials_malformed", True)
    assert token in world.last_log(connection)["error_message"]
    printed = capfd.readouterr()
    asked = str(side.server(world).journal.listing())
    for text in (stored_text(world), printed.out, printed.err, asked, str(report)):
        assert "HALFofTheToken" not in text


@every_platform
def test_whitespace_around_a_credential_is_ignored(world: World, side: Side) -> None:
    side.put_account(world, ad_count=1)
    connection = side.connect(world)
    (row,) = world.rows("select credentials from platform_connections where id = %s", connection)
    for name, value in row["credentials"].items():
        world.connection.execute(
            "update platform_connections set credentials = jsonb_set(credentials, array[%s], "
            "to_jsonb(%s::text)) where id = %s",
            (name, f"\ufeff {value}\u200b\r\n", connection),
        )
    assert world.sync_all()[connection].status == "success"


@every_platform
def test_negative_money_is_stored_as_reported(world: World, side: Side) -> None:
    day = TODAY - timedelta(days=3)
    correction = {"impressions": 40, "clicks": 2, "spend": "-12.34", "reach": 30}
    side.put_account(world, ad_count=1, restated={f"{side.ad_id(1)}/{day}": correction})
    connection = side.connect(world)
    request = world.request(**{side.mapping_key: side.ad_id(1)})
    assert world.sync_all()[connection].status == "success"
    figures = world.figures(side.name)
    assert figures == world.expected({request: [side.served(1)]})
    assert figures[request, day, "spend"] < 0


@every_platform
def test_an_endless_response_is_requested_in_smaller_pieces(
    world: World, side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    most(monkeypatch, side, 16_000)
    side.put_account(world, ad_count=20)
    connection = side.connect(world)
    world.remember(connection, window_days=30)
    served = {world.request(**{side.mapping_key: side.ad_id(1)}): [side.served(1)]}
    assert world.sync_all()[connection].status == "success"
    assert len(world.last_log(connection)["details"]["windows"]) > 3
    assert world.figures(side.name) == world.expected(served)
    most(monkeypatch, side, 900)  # less than a day
    assert world.sync_again()[connection].status != "success"


@every_platform
def test_an_endless_error_says_no_more_than_its_status(
    world: World, side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    side.put_account(world, ad_count=1)
    found = reader(world, side.connect(world))
    found.account()
    monkeypatch.setattr(protocol, "MOST_BYTES", 16_000)
    page = faults.failing(502, path=side.path, times=None, body="x" * 20_000)
    side.server(world).faults.add(page)
    with pytest.raises(TransientError) as caught:
        list(found.pages(Window(TODAY, TODAY), 1000))
    assert caught.value.code == "http_502"


@every_platform
def test_trickling_headers_end_at_the_deadline(world: World, side: Side) -> None:
    side.put_account(world, ad_count=1)
    found = reader(world, side.connect(world))
    found.account()
    side.server(world).faults.add(faults.trickle(10.0, when="before", path=side.path))
    found._deadline = world.clock.now()  # what is left is a second, in real time
    found._heed_deadline = lambda seconds=0.0: None  # type: ignore[method-assign]
    caught: list[Any] = []

    def read() -> None:
        try:
            list(found.pages(Window(TODAY, TODAY), 1000))
        except Exception as error:  # noqa: BLE001 - looked at below
            caught.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(30.0)
    assert [getattr(error, "code", error) for error in caught] == ["ReadTimeout"]


@every_platform
@pytest.mark.parametrize("fault", [faults.close, faults.reset, faults.truncate])
def test_a_connection_that_ends_before_its_response_may_have_been_asked_for_too_much(
    world: World, side: Side, fault: Callable[..., faults.Fault]
) -> None:
    side.put_account(world, ad_count=1)
    found = reader(world, side.connect(world))
    found.account()
    before = found.requests
    side.server(world).faults.add(fault(path=side.path, times=None))
    with pytest.raises(GeneralError):
        list(found.pages(Window(TODAY, TODAY), 1000))
    assert found.requests - before == fetching.TRIES


@every_platform
def test_a_connection_that_was_never_established_was_not_asked_for_too_much(
    world: World, side: Side
) -> None:
    side.put_account(world, ad_count=1)
    url = side.server(world).url
    nowhere = {
        name: value.replace(url, "http://127.0.0.1:9")
        for name, value in asdict(world.settings).items()
        if isinstance(value, str)
    }
    world.settings = replace(world.settings, **nowhere)
    with pytest.raises(TransientError) as caught:
        reader(world, side.connect(world)).account()
    assert not isinstance(caught.value, GeneralError)
