"""What a template prints is text, whatever the database holds."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from server.console.rendering import counted, digits, environment, link, number, seen, span

NOW = datetime(2025, 3, 11, 12, tzinfo=UTC)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def render(source: str, **values: Any) -> str:
    return environment().from_string(source).render(now=NOW, **values)


@given(ANY_TEXT)
def test_no_text_becomes_markup_or_leaves_its_attribute(text: str) -> None:
    page = render('<p title="{{ text }}">{{ text }}</p>', text=text)
    match = re.fullmatch(r'<p title="([^"<>]*)">([^<>]*)</p>', page, re.DOTALL)
    assert match is not None
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", match[2])
    if text.isprintable():
        assert html.unescape(match[2]) == text


def test_an_invisible_character_is_a_symbol() -> None:
    assert seen("a\x00b\x1b[31m\x7f") == "a␀b␛[31m␡"
    assert seen("to\u202etal\u2028\ufeff") == "to[U+202E]tal[U+2028][U+FEFF]"
    assert seen("line\n\ttab 👩\u200d💻 é") == "line\n\ttab 👩\u200d💻 é"
    assert seen(None) == ""
    assert seen(3) == 3
    assert seen(Markup("<b>\x00</b>")) == "<b>\x00</b>"


@given(ANY_TEXT, ANY_TEXT)
def test_only_web_addresses_become_links(start: str, text: str) -> None:
    for url in (start, f"javascript:{start}", f"data:text/html,{start}", f"file:///{start}"):
        if not url.lower().startswith(("http:", "https:")):
            assert not isinstance(link(url, text), Markup)
    made = render("{{ url | link(text) }}", url=f"https://a.example/{start}", text=text)
    assert re.fullmatch(
        r'<a href="https://a\.example/[^"<>]*" rel="[a-z ]+">[^<>]*</a>', made, re.DOTALL
    )


def test_times_are_in_words_with_the_exact_time() -> None:
    def shown(**apart: float) -> str:
        return render("{{ at | moment }}", at=NOW - timedelta(**apart))

    assert shown(minutes=2, seconds=59) == (
        '<time datetime="2025-03-11T11:57:01Z" title="2025-03-11 11:57:01 UTC">2 minutes ago</time>'
    )
    assert ">in 3 hours<" in shown(hours=-3)
    assert ">1 day ago<" in shown(days=1, hours=23)
    assert render("{{ at | moment }}", at=None) == "never"
    assert render('{{ at | moment("not yet") }}', at=None) == "not yet"
    # another zone is shown in UTC
    assert "11:30:00 UTC" in render("{{ at | moment }}", at="2025-03-11T13:30:00+02:00")
    assert ">now<" in render("{{ at | due }}", at=NOW - timedelta(seconds=5))
    assert ">in 5 minutes<" in render("{{ at | due }}", at=NOW + timedelta(minutes=5))


def test_numbers_are_readable() -> None:
    assert [number(value) for value in (None, 0, 1234567, 1234.5, 2.0)] == [
        "", "0", "1,234,567", "1,234.50", "2",
    ]  # fmt: skip
    assert digits("1234.500000") == "1,234.500000"
    assert [counted(1, "run"), counted(0, "run"), counted(2, "sync", "syncs")] == [
        "1 run", "0 runs", "2 syncs",
    ]  # fmt: skip
    assert [span(seconds) for seconds in (0.2, 1, 59.9, 60, 3600 * 25)] == [
        "less than a second", "1 second", "59 seconds", "1 minute", "1 day",
    ]  # fmt: skip
