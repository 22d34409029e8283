"""Ad ids match however people paste them, and the doctor names those that cannot match."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.database.agency import Agency
from workers.metrics.platforms.protocol import _ANY_UNSEEN

ID = "120210000000000123"
OTHER = "120210000000000456"
# Of each kind one: blanks and controls, marks without width, without form, of direction.
UNSEEN = (
    "\t\n\x0b\x0c\r \x85\xa0\xad\u034f\u061c\u1680\u180e\u2003\u200b\u200d\u200f\u2028\u202a\u202f"
    "\u205f\u2060\u2066\u2800\u3000\u3164\ufe0f\ufeff\uffa0"
)


def ids_in(db: psycopg.Connection[Any], pasted: Any) -> set[str]:
    rows = db.execute("select ad_ids_in(%s) as id", (Jsonb(pasted),)).fetchall()
    return {row["id"] for row in rows}


@pytest.mark.parametrize(
    "pasted",
    [
        ID,
        f" {ID}\n",
        f"act_{ID}",
        f"urn:li:sponsoredCreative:{ID}",
        f"urn%3Ali%3AsponsoredCreative%3A{ID}",
        f"customers/1234567890/adGroupAds/77~{ID}",
        f"customers/1234567890/ads/{ID}",
        f'"{ID}"',
        f'["{ID}"]',
        f"[{ID}]",
        f"{ID}.0",
        f"'{ID}'",
        f"{ID},",
        f"120210{UNSEEN[-1]}000000000123",
    ],
)
def test_an_id_in_any_form_is_that_id(db: psycopg.Connection[Any], pasted: str) -> None:
    assert ids_in(db, pasted) == {ID}


@pytest.mark.parametrize(
    "pasted",
    [
        f"{ID},{OTHER}",
        f"{ID}, {OTHER}",
        f"{ID}; {OTHER}",
        f"{ID}\n{OTHER}",
        f"{ID}\u3000{OTHER}",
        f'["{ID}", "{OTHER}"]',
        f"[{ID}, {OTHER}]",
        f"urn:li:sponsoredCreative:{ID}, {OTHER}",
    ],
)
def test_several_ids_in_one_text_are_all_named(db: psycopg.Connection[Any], pasted: str) -> None:
    assert ids_in(db, pasted) == {ID, OTHER}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=st.text(UNSEEN, max_size=4), after=st.text(UNSEEN, max_size=4))
def test_invisible_characters_are_ignored(
    db: psycopg.Connection[Any], before: str, after: str
) -> None:
    pasted = f"{before}{ID}{after}"
    assert ids_in(db, pasted) == {ID}
    assert _ANY_UNSEEN.sub("", pasted) == ID, "account ids are read in the same way"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (int(ID), {ID}),
        ([ID, int(OTHER)], {ID, OTHER}),
        ([f"{ID}\n", f"[{OTHER}]"], {ID, OTHER}),
        ("", set()),
        ("\u200b", set()),
        (None, set()),
        (True, set()),
        ({"id": ID}, set()),
        ("Spring film", {"Spring", "film"}),
    ],
)
def test_a_mapping_value_of_any_kind(
    db: psycopg.Connection[Any], value: Any, expected: set[str]
) -> None:
    assert ids_in(db, value) == expected


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (ID, None),
        ([f"{ID}, {OTHER}"], None),
        (9007199254740991, None),
        (9007199254740992, "rounded"),
        (int(ID), "rounded"),
        ("Spring film", "no_id"),
        (f"{ID}, Spring film", "no_id"),
        (True, "no_id"),
        ({"id": ID}, "no_id"),
        (-5, "no_id"),
        (1.5, "no_id"),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_the_doctor_reports_what_cannot_match(
    db: psycopg.Connection[Any], value: Any, problem: str | None
) -> None:
    db.execute("delete from requests")
    request = Agency(db).request(metadata=Jsonb({"meta_ad_id": value, "tiktok_ad_id": ID}))
    (row,) = db.execute(
        "select odd_ad_mappings(array['meta_ad_id', 'tiktok_ad_id']) as odd"
    ).fetchall()
    found = [(one["request_id"], one["problem"]) for one in row["odd"]["examples"]]
    assert found == ([] if problem is None else [(request, problem)])
    assert row["odd"]["count"] == len(found)
