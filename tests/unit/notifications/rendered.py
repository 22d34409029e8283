"""What a rendered message contains, for the tests to compare."""

from __future__ import annotations

import re
import unicodedata

from workers.notifications.rendering import SECTION_LIMIT, TEXT_LIMIT, TOTAL_LIMIT, Message, render

ENTITY = re.compile(r"&(amp|lt|gt);")
CHARACTERS = {"amp": "&", "lt": "<", "gt": ">"}


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def sections(message: Message) -> list[str]:
    return [block["text"]["text"] for block in message.blocks]  # type: ignore[index]


def unescape(text: str) -> str:
    return ENTITY.sub(lambda entity: CHARACTERS[entity[1]], text)


def shown(template: str | None, event: object = None, event_type: str = "status_change") -> str:
    return "".join(sections(render(template, event, event_type=event_type)))


def tokens(text: str) -> list[str]:
    return re.findall(r"<([^<>\n]*)>", text)


def check_limits(message: Message) -> None:
    texts = sections(message)
    for text in (message.text, *texts):
        text.encode()  # no lone surrogates
        assert text.strip()
        assert not [
            char for char in text if unicodedata.category(char) == "Cc" and char not in "\n\t"
        ]
        outside = re.sub(r"<[^<>\n]+>", "", text)
        assert "<" not in outside  # no link or mention is split
        assert "&" not in ENTITY.sub("", outside)  # no entity is split
    assert all(units(text) <= SECTION_LIMIT for text in texts)
    assert sum(units(text) for text in texts) <= TOTAL_LIMIT
    assert 1 <= len(message.blocks) <= 50
    assert units(message.text) <= TEXT_LIMIT
