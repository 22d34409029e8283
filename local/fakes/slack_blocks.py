"""Slack's limits on what a message may hold, as its documentation states them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_BLOCKS = 50
MAX_SECTION_TEXT = 3_000
MAX_FIELDS = 10
MAX_FIELD_TEXT = 2_000
MAX_HEADER_TEXT = 150
MAX_CONTEXT_ELEMENTS = 10
MAX_ACTIONS = 25
MAX_IMAGE_TEXT = 2_000
MAX_IMAGE_URL = 3_000
MAX_MARKDOWN = 12_000  # of all markdown blocks of a message together
MAX_BLOCK_ID = 255
UNCHECKED_TYPES = frozenset(
    {
        "divider",
        "rich_text",
        "input",
        "file",
        "video",
        "table",
        "data_table",
        "card",
        "carousel",
        "container",
        "data_visualization",
        "task_card",
        "plan",
    }
)

Say = Callable[[str, str], None]


def problems(blocks: Any) -> list[str]:
    """What is wrong with a list of blocks, in Slack's manner; empty when nothing is."""
    found: list[str] = []

    def say(what: str, where: str) -> None:
        found.append(f"[ERROR] {what} [json-pointer:{where}]")

    if not isinstance(blocks, list):
        say("must be an array", "/blocks")
        return found
    if len(blocks) > MAX_BLOCKS:
        say(f"no more than {MAX_BLOCKS} items allowed", "/blocks")
    for index, block in enumerate(blocks):
        _check_block(block, f"/blocks/{index}", say)
    if sum(len(_markdown(block)) for block in blocks) > MAX_MARKDOWN:
        say(f"markdown must be less than {MAX_MARKDOWN + 1} characters in total", "/blocks")
    return found


def text_sum(blocks: Any) -> int:
    """The characters of all texts within the blocks together."""
    if isinstance(blocks, list):
        return sum(text_sum(one) for one in blocks)
    if isinstance(blocks, dict):
        own = blocks.get("text")
        rest = sum(text_sum(value) for value in blocks.values())
        return rest + (len(own) if isinstance(own, str) else 0)
    return 0


def _check_block(block: Any, where: str, say: Say) -> None:
    if not isinstance(block, dict):
        say("must be an object", where)
        return
    check = _CHECKS.get(str(block.get("type")))
    if check:
        check(block, where, say)
    elif block.get("type") not in UNCHECKED_TYPES:
        say(f"unsupported type: {block.get('type')}", f"{where}/type")
    if len(str(block.get("block_id", ""))) > MAX_BLOCK_ID:
        say(f"must be less than {MAX_BLOCK_ID + 1} characters", f"{where}/block_id")


def _check_section(block: dict[str, Any], where: str, say: Say) -> None:
    fields = block.get("fields")
    if "text" not in block and not fields:
        say("missing required field: text or fields", where)
    if "text" in block:
        _check_text(block["text"], MAX_SECTION_TEXT, f"{where}/text", say)
    if fields is None:
        return
    if not isinstance(fields, list) or not 1 <= len(fields) <= MAX_FIELDS:
        say(f"must have 1 to {MAX_FIELDS} items", f"{where}/fields")
        return
    for index, one in enumerate(fields):
        _check_text(one, MAX_FIELD_TEXT, f"{where}/fields/{index}", say)


def _check_header(block: dict[str, Any], where: str, say: Say) -> None:
    text = block.get("text")
    _check_text(text, MAX_HEADER_TEXT, f"{where}/text", say)
    if isinstance(text, dict) and text.get("type") != "plain_text":
        say("must be a plain_text object", f"{where}/text/type")


def _check_context(block: dict[str, Any], where: str, say: Say) -> None:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= MAX_CONTEXT_ELEMENTS:
        say(f"must have 1 to {MAX_CONTEXT_ELEMENTS} items", f"{where}/elements")
        return
    for index, one in enumerate(elements):
        if not isinstance(one, dict) or one.get("type") != "image":
            _check_text(one, MAX_SECTION_TEXT, f"{where}/elements/{index}", say)


def _check_text(value: Any, limit: int, where: str, say: Say) -> None:
    if not isinstance(value, dict) or value.get("type") not in ("mrkdwn", "plain_text"):
        say("must be a text object of type mrkdwn or plain_text", where)
        return
    _check_string(value.get("text"), limit, f"{where}/text", say)
    foreign = {"mrkdwn": "emoji", "plain_text": "verbatim"}[value["type"]]
    if foreign in value:
        say(f"invalid additional property: {foreign}", where)


def _check_actions(block: dict[str, Any], where: str, say: Say) -> None:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= MAX_ACTIONS:
        say(f"must have 1 to {MAX_ACTIONS} items", f"{where}/elements")


def _check_image(block: dict[str, Any], where: str, say: Say) -> None:
    _check_string(block.get("alt_text"), MAX_IMAGE_TEXT, f"{where}/alt_text", say)
    if "slack_file" not in block:
        _check_string(block.get("image_url"), MAX_IMAGE_URL, f"{where}/image_url", say)


def _check_markdown(block: dict[str, Any], where: str, say: Say) -> None:
    _check_string(block.get("text"), MAX_MARKDOWN, f"{where}/text", say)


def _markdown(block: Any) -> str:
    is_markdown = isinstance(block, dict) and block.get("type") == "markdown"
    return str(block.get("text", "")) if is_markdown else ""


def _check_string(text: Any, limit: int, where: str, say: Say) -> None:
    if not isinstance(text, str) or not text.strip():
        say("must be more than 0 characters", where)
    elif len(text) > limit:
        say(f"must be less than {limit + 1} characters", where)


_CHECKS: dict[str, Callable[[dict[str, Any], str, Say], None]] = {
    "section": _check_section,
    "header": _check_header,
    "context": _check_context,
    "actions": _check_actions,
    "image": _check_image,
    "markdown": _check_markdown,
}
