"""What README, CONTRIBUTING and the pages of docs/ say of the code is so."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from server.settings import ServerSettings
from workers.settings import Settings, read_dotenv

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*") if path.is_file()}
PICTURES = {file for file in FILES if file.endswith(".png")}
PAGES = sorted(FILES - PICTURES)
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *PAGES]
GENERATED = {"node_modules", "__pycache__"}

every_document = pytest.mark.parametrize("document", DOCUMENTS)


@cache
def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def without_blocks(document: str) -> str:
    """Without the text between fences, where `#` and `(` mean other things."""
    return re.sub(r"^ *```.*?^ *```$", "", text_of(document), flags=re.DOTALL | re.MULTILINE)


def code_in(document: str) -> list[str]:
    """The texts between backticks, each on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without_blocks(document))]


def blocks_in(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text_of(document), re.DOTALL)


@cache
def files() -> list[str]:
    """Every file of the tree, by its path; nothing that was fetched or made."""
    found = []
    for folder, names, paths in os.walk(ROOT):
        names[:] = [name for name in names if name[0] != "." and name not in GENERATED]
        found += [Path(folder, path).relative_to(ROOT).as_posix() for path in paths]
    return found


@cache
def anchors_of(document: str) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", without_blocks(document), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = 0
        while (anchor := f"{words}-{count}" if count else words) in found:
            count += 1
        found.add(anchor)
    return found


def links_in(document: str) -> Iterator[tuple[str, str]]:
    """The file, as a path in the tree, and the anchor of each link that leads to neither a
    website nor an address."""
    folder = (ROOT / document).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(document)):
        path, _, anchor = target.partition("#")
        if not re.match(r"[a-z]+:", path):
            file = (folder / path).resolve().relative_to(ROOT).as_posix() if path else document
            yield file, anchor


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 250
    assert len(text_of("README.md").split()) <= 1200


def test_the_part_of_the_demo_that_the_readme_shows_is_the_demos() -> None:
    demo = text_of("local/demo.py")
    shown = text_of("README.md").partition("Part of it:\n\n```\n")[2].partition("```")[0]
    titles = re.findall(r"^[A-Z][\w' ,]+$", shown, re.MULTILINE)
    assert len(titles) == 2
    assert [title for title in titles if f'"{title}"' not in demo] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_short_and_the_readme_or_the_page_above_leads_to_it(page: str) -> None:
    assert page.endswith(".md")
    assert len(text_of(page).splitlines()) <= 200
    folder = Path(page).parent.as_posix()
    above = "README.md" if folder == "docs" else f"{folder}.md"
    assert page in {file for file, _ in links_in(above)}


def test_every_picture_is_shown_and_can_be_taken_again() -> None:
    shown = {file for document in DOCUMENTS for file, _ in links_in(document)}
    assert {file for file in shown if file.endswith(".png")} == PICTURES
    taken = re.findall(r'Shot\(\s*"([\w-]+)"', text_of("tests/browser/screenshots.py"))
    assert {f"docs/screenshots/{name}.png" for name in taken} == PICTURES


@every_document
def test_every_link_leads_somewhere(document: str) -> None:
    for file, anchor in links_in(document):
        assert (ROOT / file).exists(), file
        assert not anchor or anchor in anchors_of(file), f"{file}#{anchor}"


@pytest.mark.parametrize("kind", [Settings, ServerSettings])
def test_the_settings_table_is_that_of_the_code(kind: type[Any]) -> None:
    rows = []
    for setting in fields(kind):
        default = setting.default
        if default is MISSING or default is None or default == ():
            shown = "required" if default is MISSING else "none"
        elif isinstance(default, tuple):
            shown = f"`{', '.join(default)}`"
        else:
            is_number = isinstance(default, int | float) and not isinstance(default, bool)
            shown = f"`{default:g}`" if is_number else f"`{default}`".replace("True", "true")
        rows.append(f"| `{setting.name.upper()}` | {shown} | {setting.metadata['help']} |")
    assert "\n".join(rows) in text_of("docs/settings.md")


def test_the_example_of_a_dotenv_explains_settings_that_there_are() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:# )?([A-Z_]+)=", text, re.MULTILINE))
    assert named - {"SUPABASE_DB_URL"} <= {setting.name.upper() for setting in fields(Settings)}
    needed = {one.name.upper() for one in fields(Settings) if one.default is MISSING}
    assert set(read_dotenv(ROOT / ".env.example")) == needed
    for line in re.findall(r"^(?:# )?[A-Z_]+=.*", text, re.MULTILINE):
        assert re.search(rf"(^# .+\n)(?:# [A-Z_]+=.*\n)?{re.escape(line)}", text, re.MULTILINE), (
            line
        )


def test_the_parameters_that_set_a_setting_are_those_of_the_template() -> None:
    section = text_of("docs/settings.md").partition("## The template's parameters")[2]
    shown = set(re.findall(r"^\| `(\w+)` \| `(\w+)` \|$", section, re.MULTILINE))
    template = text_of("template.yaml")
    names = {setting.name.upper() for setting in fields(Settings)}
    names |= {"WORKERS_SECRET_NAME", "LOG_LEVEL"}
    parameters = template.partition("\nParameters:\n")[2].partition("\nRules:\n")[0]
    passed = re.findall(r"^ +(\w+): !Ref (\w+)$", template, re.MULTILINE)
    assert shown == {
        (parameter, variable)
        for variable, parameter in passed
        if variable in names and f"\n  {parameter}:\n" in f"\n{parameters}"
    }


def texts_of_the_workers() -> str:
    """Every text in their code; an f-string with a gap where a value goes."""
    found = []
    for path in (ROOT / "layers" / "shared" / "workers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [getattr(part, "value", "") for part in node.values]
                found.append("\0".join(part for part in parts if isinstance(part, str)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_what_troubleshooting_quotes_is_what_the_workers_say() -> None:
    quoted = re.findall(r'"([^"\n]+)"', without_blocks("docs/troubleshooting.md"))
    assert len(quoted) > 10
    said = texts_of_the_workers()
    pieces = {piece.strip() for one in quoted for piece in one.split("...")}
    assert {piece for piece in pieces if piece not in said} == set()


def test_every_alarm_is_explained() -> None:
    section = text_of("docs/operate.md").partition("## Alarms")[2].partition("\n## ")[0]
    alarms = re.findall(
        r"^  (\w+)Alarm:\n    Type: AWS::CloudWatch::Alarm", text_of("template.yaml"), re.MULTILINE
    )
    assert alarms
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(alarms)


def test_every_test_that_they_name_exists() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"\b(test_\w+)(?![\w.]*\.py|/)", text_of(document))
    }
    assert len(named) > 10
    for name in named:
        assert f"def {name}(" in tests, name


def test_every_promise_names_a_test() -> None:
    whole = without_blocks("docs/guarantees.md").partition("## Known limits")[0]
    promises = re.findall(r"^- .*(?:\n  .*)*", whole, re.MULTILINE)
    assert len(promises) > 25
    for promise in promises:
        assert re.search(r"`test_\w+(?:\.py)?`", promise), promise


@every_document
def test_every_make_target_that_it_names_exists(document: str) -> None:
    lines = [line.strip() for block in blocks_in(document, "sh") for line in block.splitlines()]
    for command in [*lines, *code_in(document)]:
        for target in targets_in(command):
            assert re.search(rf"^{target}:", text_of("Makefile"), re.MULTILINE), target


def targets_in(command: str) -> Iterator[str]:
    """What a command has `make` make."""
    make, *words = command.partition("#")[0].split() or [""]
    if make == "make":
        for word in words:
            if not re.fullmatch(r"[a-z][a-z-]*", word):
                return
            yield word


def test_targets_are_distinguished_from_the_rest_of_a_command() -> None:
    assert list(targets_in("make check test   # both")) == ["check", "test"]
    assert list(targets_in('make invoke FUNCTION=doctor EVENT="a b"')) == ["invoke"]
    assert not list(targets_in("make"))
    assert not list(targets_in("makes sense"))


@every_document
def test_every_file_that_it_names_exists(document: str) -> None:
    for code in code_in(document):
        name = code.removeprefix("/")  # Railway has a path begin with the top of the tree
        if "://" in name or not re.fullmatch(
            r"[\w./*<>-]*\w\.(py|sql|yaml|toml|json|md|mjs|txt)", name
        ):
            continue
        pattern = re.sub(r"<\w+>", "*", name)
        if pattern == name and "*" not in name:
            found = any(f"/{file}".endswith(f"/{name}") for file in files())
        else:
            found = any(fnmatchcase(f"/{file}", f"*/{pattern}") for file in files())
        assert found, name


def test_what_the_overview_draws_of_the_database_exists() -> None:
    drawings = re.split(r"^```\w*$", text_of("docs/architecture.md"), flags=re.MULTILINE)[1::2]
    named = {name for drawing in drawings for name in re.findall(r"[a-z]+(?:_[a-z]+)+", drawing)}
    assert len(named) > 20
    schema = text_of("supabase/schema.sql")
    unknown = {name for name in named if not re.search(rf"\b{name}\b", schema)}
    assert {name for name in unknown if not (ROOT / "functions" / name).exists()} == set()


def test_the_picture_of_a_deliverys_states_is_that_of_the_schema() -> None:
    (picture,) = blocks_in("docs/architecture.md", "mermaid")
    moves = re.findall(r"^    (\S+) --> (\S+)$|^    (\S+) --> (\S+): .+$", picture, re.MULTILINE)
    arrows = {(a or c, b or d) for a, b, c, d in moves}
    assert len(arrows) == len(picture.strip().splitlines()) - 1, "each line is an arrow"
    sql = text_of("supabase/migrations/20261124000300_notification_deliveries.sql")
    (check,) = re.findall(r"state_check\s+check \(state in \(([^)]+)\)\)", sql)
    states = set(re.findall(r"'(\w+)'", check))
    assert {state for arrow in arrows for state in arrow} - {"[*]"} == states
    assert {into for _, into in arrows} - {"[*]"} == states, "each can be reached"
    (listed,) = re.findall(r"looked for first; ([\w, ]+): final", sql.replace("'\n  '", ""))
    final = set(listed.split(", "))
    assert {state for state, into in arrows if into == "[*]"} == final
    assert {into for state, into in arrows if state in final} == {"[*]"}


def test_the_number_of_safety_mechanisms_is_that_of_the_list() -> None:
    from tests.ablation.ablations import ABLATIONS

    (number,) = re.findall(r"(\d+) in all", text_of("CONTRIBUTING.md"))
    assert int(number) == len(ABLATIONS)


def test_the_manifest_asks_for_the_scopes_that_the_sample_workspace_grants() -> None:
    manifest = text_of("slack-manifest.yaml")
    workspace = text_of("local/fakes/workspace.json")
    for scope in ("chat:write", "im:write", "channels:read", "channels:history", "groups:history"):
        assert f"- {scope}\n" in manifest
        assert f'"{scope}"' in workspace
