"""The doctor's checks are visible while they run, one examination at a time."""

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


def test_sections_appear_one_by_one_and_no_second_examination_begins() -> None:
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
        [Section("A", [ok("fine")]), Section("B", [failed("xoxb-12345678-abc", "fix it")])], 1
    ):
        asked.put(section)
        eventually(
            lambda number=number: len(findings_of(examination).sections) == number,
            "it does not appear",
        )
        examination.begin()
        assert findings_of(examination).ended_at is None
    asked.put(Section("C", [warning("odd", "look")]))
    asked.put(None)
    found = ended(examination)
    assert found.verdict == "failed"
    assert [section.title for section in found.sections] == ["A", "B", "C"]
    assert "xoxb-12345678" not in str(found.sections)
    assert len(begun) == 1

    asked.put(None)
    examination.begin()
    assert ended(examination).sections == ()
    assert ended(examination).verdict == "ok"
    assert len(begun) == 2


def test_an_interrupted_examination_is_reported() -> None:
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


def test_an_examination_in_this_thread_gets_the_channel_and_is_refused_while_one_runs() -> None:
    asked: list[str | None] = []

    def examine(post_to: str | None) -> Iterator[Section]:
        asked.append(post_to)
        assert examination.run() is None, "this one is running"
        yield Section("A", [ok("fine")])

    examination = Examination(examine)
    found = examination.run("C0123456789")
    assert found is not None
    assert (found.verdict, found.ended_at is not None, asked) == ("ok", True, ["C0123456789"])


def test_an_examination_that_is_stopped_checks_no_further_section() -> None:
    checked: list[int] = []

    def examine(post_to: str | None) -> Iterator[Section]:
        for number in range(3):
            checked.append(number)
            yield Section(f"{number}", [ok("fine")])

    examination = Examination(examine)
    found = examination.run(is_stopped=lambda: len(checked) == 2)
    assert found is not None
    assert checked == [0, 1]
    assert [section.title for section in found.sections] == ["0", "1", "Doctor"]
    assert (found.verdict, examination.is_running) == ("warning", False)
