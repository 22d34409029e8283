"""The doctor's examination is seen while it goes on, and one is made at a time."""

from __future__ import annotations

import queue
from collections.abc import Iterator

from server.console.examination import Examination, Findings
from tests.integration.processes import eventually
from workers.doctor.sections import Section
from workers.findings import failed, ok, warning


def findings_of(examination: Examination) -> Findings:
    found = examination.findings
    assert found is not None
    return found


def ended(examination: Examination) -> Findings:
    eventually(lambda: findings_of(examination).ended_at is not None, "it does not end")
    return findings_of(examination)


def test_sections_are_seen_as_they_come_and_a_second_one_waits_for_the_first() -> None:
    asked: queue.SimpleQueue[Section | None] = queue.SimpleQueue()
    begun: list[int] = []

    def examine(post_to: str | None) -> Iterator[Section]:
        begun.append(1)
        while (section := asked.get()) is not None:
            yield section

    examination = Examination(examine)
    assert examination.findings is None
    examination.begin()
    for number, section in enumerate(
        [Section("A", [ok("fine")]), Section("B", [failed("xoxb-12345678-abc", "mend it")])], 1
    ):
        asked.put(section)
        eventually(
            lambda number=number: len(findings_of(examination).sections) == number, "it is not seen"
        )
        examination.begin()
        assert findings_of(examination).ended_at is None
    asked.put(Section("C", [warning("odd", "look")]))
    asked.put(None)
    found = ended(examination)
    assert found.verdict == "failed"
    assert [section["section"] for section in found.sections] == ["A", "B", "C"]
    assert "xoxb-12345678" not in str(found.sections)
    assert len(begun) == 1

    asked.put(None)
    examination.begin()
    assert ended(examination).sections == ()
    assert ended(examination).verdict == "ok"
    assert len(begun) == 2


def test_an_examination_that_breaks_off_says_so() -> None:
    def examine(post_to: str | None) -> Iterator[Section]:
        yield Section("A", [ok("fine")])
        raise ZeroDivisionError("by xoxb-12345678-abc")

    examination = Examination(examine)
    examination.begin()
    found = ended(examination)
    assert found.verdict == "failed"
    text = str(found.sections[-1])
    assert "ZeroDivisionError" in text
    assert "xoxb-12345678" not in text


def test_one_in_this_thread_is_given_the_channel_and_waits_for_nobody() -> None:
    asked: list[str | None] = []

    def examine(post_to: str | None) -> Iterator[Section]:
        asked.append(post_to)
        assert examination.run() is None, "one is under way: this one"
        yield Section("A", [ok("fine")])

    examination = Examination(examine)
    found = examination.run("C0123456789")
    assert found is not None
    assert (found.verdict, found.ended_at is not None, asked) == ("ok", True, ["C0123456789"])
