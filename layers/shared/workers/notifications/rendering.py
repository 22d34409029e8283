"""Turns a template and the data of an event into a message that is safe to send to Slack.

The template's author may use Slack's markup; the values filled in are data, whoever wrote
them. So values are escaped, can open no mention and no link, and fit Slack's limits, while
what the author wrote stays live. Everything here is pure and takes linear time.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

# A section's text: https://docs.slack.dev/reference/block-kit/blocks/section-block
SECTION_LIMIT: Final = 3_000
# All blocks together; undocumented, seen to fail from about 12,000 to 13,200 characters:
# https://github.com/slackapi/bolt-js/issues/2509
TOTAL_LIMIT: Final = 12_000
# Slack splits or refuses a longer `text` at about 4,000 characters:
# https://docs.slack.dev/reference/methods/chat.postMessage
TEXT_LIMIT: Final = 3_000
# Leaves room for a note below the message.
BODY_LIMIT: Final = TOTAL_LIMIT - 100
VALUE_LIMIT: Final = 2_000
# A link or mention is never split, so it has to fit into a section with room to spare.
TOKEN_LIMIT: Final = 2_000
FIELD_LIMIT: Final = 300

ELLIPSIS: Final = "…"
SHORTENED: Final = "\n… (message shortened)"
REPEAT_NOTE: Final = "(This may be a repeat: Slack did not confirm an earlier copy.)"

_PART = re.compile(
    r"<(?P<token>[^<>\n]+)>"
    r"|(?P<url>https?://(?:\{\{\w+\}\}|[^\s<>|{}\"`])+)"
    r"|\{\{(?P<key>\w+)\}\}",
    re.ASCII,
)
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_STRAY_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt);)")
_CODE_FENCE = re.compile(r"`{3,}")
_SENTENCE_END = re.compile(r"[.,;:!?)\]'*_~]*$")
# What stands between angle brackets and is meant as markup: a mention, a command, an address.
_MARKUP = re.compile(r"[@#!]\S|[^\s|]+[:.][^\s|]*(?:\||$)")
_URL_UNSAFE = re.compile(r"[\s<>|\"\\^`{}]")
_OPEN_HOST = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
# A host to which a path may be added; after `https://` or `https://www.` there is more to come.
_WHOLE_HOST = re.compile(r"https?://[^/?#]+[.:][^/?#]*[A-Za-z0-9]", re.IGNORECASE)
_HOST_PART = re.compile(r"[A-Za-z0-9-]*")
_HOST_END = re.compile(r"[A-Za-z0-9-]*(?:[/?#].*)?", re.DOTALL)
_SCHEME = re.compile(r"https?://|mailto:", re.IGNORECASE)

# Which targets may be completed by a value, by how the author's part of them begins.
_MENTION = re.compile(r"@[UW][A-Z0-9]+")
_CHANNEL = re.compile(r"#[CG][A-Z0-9]+")
_DATE = re.compile(r"!date\^\d+\^[^|]+")
_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s|]+", re.IGNORECASE)
_NOTHING = re.compile(r"(?!)")
_TARGETS: Final = (
    ("@", _MENTION),
    ("#", _CHANNEL),
    ("!date^", _DATE),
    ("!", _NOTHING),
    ("", _ADDRESS),
)

_SUBJECT_KEYS: Final = (
    "request_title",
    "title",
    "name",
    "asset_name",
    "file_name",
    "task_title",
    "client_name",
)
_NOTE_KEYS: Final = ("message", "comment", "comment_text", "content", "text", "description")


@dataclass(frozen=True)
class Message:
    """What is sent to Slack.

    `text` is shown in push notifications and wherever blocks are not, `blocks` in the
    conversation (none: the text is). `unknown_keys` are the placeholders that the event
    has no value for, each once, as far as the text was rendered; `shortened` says that
    something did not fit.
    """

    text: str
    blocks: list[dict[str, object]]
    unknown_keys: tuple[str, ...] = ()
    shortened: bool = False


def render(template: str | None, event_data: object, *, event_type: str) -> Message:
    """Fill the template's `{{key}}` placeholders with the event's values.

    Any JSON value will do as `event_data`; only an object has keys. A template that is
    missing or renders to nothing visible gives one line made of the event type and known
    fields. Raises nothing.
    """
    values = _Values(event_data)
    whole = _first(_pieces(_clean(template or ""), values))
    body = _shorten(whole, BODY_LIMIT, SHORTENED)
    if not _visible(body.removesuffix(SHORTENED)):
        whole = body = _plain_line(event_type, values.data)
    sections = [part for part in _sections(body) if _visible(part)]
    text = _shorten(body.strip(), TEXT_LIMIT, ELLIPSIS)
    return Message(
        text=text if _visible(text.removesuffix(ELLIPSIS)) else sections[0],
        blocks=[_block(part) for part in sections],
        unknown_keys=tuple(values.unknown),
        shortened=bool(values.cut) or body != whole,
    )


def plain_message(message: Message) -> Message:
    """The same message without blocks, for Slack to take when it refused them.

    The author's links and mentions stay what they are: Slack refuses a layout for its
    blocks, never for what a text says.
    """
    text = _shorten(message.text, TEXT_LIMIT, ELLIPSIS)
    return replace(message, text=text, blocks=[])


def mark_repeat(message: Message) -> Message:
    """The message with a note below it that the reader may have seen it already."""
    note = f"\n{REPEAT_NOTE}"
    text = _shorten(message.text, TEXT_LIMIT - len(note), ELLIPSIS) + note
    blocks = [*message.blocks, _block(REPEAT_NOTE)] if message.blocks else []
    return replace(message, text=text, blocks=blocks)


@dataclass
class _Values:
    """The event's values as text, each converted once."""

    event_data: object
    unknown: dict[str, None] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    _texts: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, object]:
        return self.event_data if isinstance(self.event_data, dict) else {}

    def get(self, key: str) -> str | None:
        """The value's text, not yet escaped; None (and a note of it) for an unknown key."""
        if key not in self.data:
            self.unknown[key] = None
            return None
        if key not in self._texts:
            whole = _CODE_FENCE.sub("`", _clean(_as_text(self.data[key])))
            self._texts[key] = text = _shorten_value(whole, VALUE_LIMIT)
            if text != whole:
                self.cut.add(key)
        return self._texts[key]


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (RecursionError, ValueError):  # nested or long beyond what Python will write
        return ELLIPSIS


def _clean(text: str) -> str:
    """Without control characters (line feed and tab stay) and lone surrogates."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", text))


def _escape(text: str) -> str:
    # https://docs.slack.dev/messaging/formatting-message-text#escaping
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _authored(text: str) -> str:
    """The author's text outside links and mentions, which shall stay outside of them.

    A lone `<` or `&` shows the same when escaped, and cannot join with a value to become
    a mention or an entity. A `>` stays, for it starts a quotation.
    """
    return _STRAY_AMPERSAND.sub("&amp;", text).replace("<", "&lt;")


def _pieces(template: str, values: _Values) -> Iterator[str]:
    """The rendered template piece by piece, so that rendering can stop when it is enough."""
    end = 0
    for part in _PART.finditer(template):
        yield _authored(template[end : part.start()])
        end = part.end()
        if part["token"] is not None:
            yield _token(part["token"], values)
        elif part["url"] is not None:
            yield _bare_url(part["url"], values)
        else:
            yield _filled(part[0], values)
    yield _authored(template[end:])


def _first(pieces: Iterable[str]) -> str:
    """As many pieces as make the text longer than a message can be, or all."""
    kept: list[str] = []
    size = 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size > BODY_LIMIT:
            break
    return "".join(kept)


def _parts(template: str, values: _Values) -> Iterator[tuple[str, str | None, str]]:
    """(author's text, value that follows it or None, key): no value at the end and where
    the key is unknown."""
    end = 0
    for found in _PLACEHOLDER.finditer(template):
        value = values.get(found[1])
        yield template[end : found.start()], value, found[1]
        end = found.start() if value is None else found.end()
    yield template[end:], None, ""


def _filled(template: str, values: _Values) -> str:
    return _first(
        _authored(text) + _escape(value or "") for text, value, _ in _parts(template, values)
    )


def _token(content: str, values: _Values) -> str:
    """What the author wrote between angle brackets: live if it is safe, else as characters."""
    if _PLACEHOLDER.search(content) is None:
        live = f"<{content}>"
        if _MARKUP.match(content) and _units(live) <= TOKEN_LIMIT:
            return live
    else:
        target, _, label = content.partition("|")
        address = _target(target, values)
        shown = _filled(label, values).replace("\n", " ")
        live = f"<{address}|{shown}>" if shown.strip() else f"<{address}>"
        if address is not None and _units(live) <= TOKEN_LIMIT:
            return live
    return f"&lt;{_filled(content, values)}&gt;"


def _bare_url(url: str, values: _Values) -> str:
    """An address in the author's text, made a link.

    Slack makes none of it by itself where `verbatim` is set:
    https://docs.slack.dev/reference/block-kit/composition-objects/text-object
    """
    body = _SENTENCE_END.sub("", url)
    address = _target(body, values)
    if address is None or _units(address) > TOKEN_LIMIT - 2:
        return _filled(url, values)
    return f"<{address}>{_authored(url[len(body) :])}"


def _target(template: str, values: _Values) -> str | None:
    """The address or mention that the template becomes, or None if a value would make it
    something else than the author meant: another kind, another host, a broken link."""
    pattern = next(pattern for prefix, pattern in _TARGETS if template.startswith(prefix))
    done = ""
    for text, value, key in _parts(template, values):
        done += _STRAY_AMPERSAND.sub("&amp;", text)
        if len(done) > TOKEN_LIMIT or (key and value is None):
            return None
        if value is None:
            continue
        if key in values.cut or not _may_follow(done, value, pattern):
            return None
        done += _escape(_URL_UNSAFE.sub(_percent, value))
    return done if pattern.fullmatch(done) else None


def _may_follow(before: str, value: str, pattern: re.Pattern[str]) -> bool:
    if pattern is not _ADDRESS or not before:
        return True
    if _OPEN_HOST.fullmatch(before):
        part = _HOST_END if _WHOLE_HOST.fullmatch(before) else _HOST_PART
        return part.fullmatch(value) is not None
    return _SCHEME.match(before) is not None


def _percent(unsafe: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in unsafe[0].encode())


def _plain_line(event_type: str, data: dict[str, object]) -> str:
    """`Status change: Spring launch (in_progress → needs_review)`, as far as it is known."""
    words = _one_line(re.sub(r"[_.-]+", " ", event_type)) or "Notification"
    subject = _first_field(data, _SUBJECT_KEYS)
    old, new = (_first_field(data, (key,)) for key in ("old_status", "new_status"))
    change = f"{old} → {new}" if old and new else new or _first_field(data, ("status",))
    details = [subject, f"({change})" if change else ""]
    known = " ".join(filter(None, details))
    note = _first_field(data, _NOTE_KEYS)
    line = _escape(": ".join(filter(None, (words[0].upper() + words[1:], known))))
    return f"{line}{' — ' if known else ': '}{_escape(note)}" if note else line


def _first_field(data: dict[str, object], keys: Iterable[str]) -> str:
    for key in keys:
        value = data.get(key)
        known = isinstance(value, str | int | float) and not isinstance(value, bool)
        if known and (text := _one_line(_as_text(value))):
            return text
    return ""


def _one_line(text: str) -> str:
    """The text on one line and short; empty if nothing of it is visible."""
    line = _shorten_value(" ".join(_CODE_FENCE.sub("`", _clean(text)).split()), FIELD_LIMIT)
    return line if _visible(line) else ""


def _visible(text: str) -> bool:
    return any(
        unicodedata.category(char) not in _INVISIBLE_CATEGORIES and char not in _BLANKS
        for char in text.strip()
    )


_INVISIBLE_CATEGORIES: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Me"})
# Letters and symbols by category, blank on the screen: Hangul fillers, empty Braille cell.
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def _block(text: str) -> dict[str, object]:
    # Without `verbatim` Slack looks for mentions in plain text too, and `@here` in a
    # client's words rings for a whole channel:
    # https://docs.slack.dev/reference/block-kit/composition-objects/text-object
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _sections(text: str) -> Iterator[str]:
    while text:
        end = _section_end(text)
        yield text[:end]
        text = text[end:]


def _section_end(text: str) -> int:
    """Where the first section ends: after a line, else after a word, else where it must."""
    limit = _prefix(text, SECTION_LIMIT)
    if limit == len(text):
        return limit
    for separator in ("\n", " "):
        # Looking at the second half only keeps the sections few.
        end = text.rfind(separator, limit // 2, limit) + 1
        if end and _unbroken(text, end) == end:
            return end
    return _unbroken(text, limit)


def _units(text: str) -> int:
    """Length in UTF-16 code units, the largest count that Slack might go by."""
    return len(text.encode("utf-16-le")) // 2


def _prefix(text: str, limit: int) -> int:
    """How many characters from the start take up no more than `limit` UTF-16 units."""
    head = text[:limit].encode("utf-16-le")
    return len(head[: 2 * limit].decode("utf-16-le", "ignore"))


def _shorten(text: str, limit: int, marker: str) -> str:
    """Rendered text of at most `limit` units, ending in the marker if it was longer."""
    if _units(text) <= limit:
        return text
    return text[: _unbroken(text, _prefix(text, limit - _units(marker)))] + marker


def _shorten_value(text: str, limit: int) -> str:
    """The same for text that is not escaped yet."""
    if _units(text) <= limit:
        return text
    return text[: _cluster_start(text, _prefix(text, limit - 1))] + ELLIPSIS


def _unbroken(text: str, end: int) -> int:
    """The last place up to `end` where rendered text can be cut.

    In rendered text every `<` opens a link or mention and every `&` outside of them an entity.
    """
    end = _cluster_start(text, end)
    opened, closed = text.rfind("<", 0, end), text.rfind(">", 0, end)
    if opened > closed:
        end = opened
    entity = text.rfind("&", closed + 1, end)
    return end if entity < 0 or ";" in text[entity:end] else entity


def _cluster_start(text: str, end: int) -> int:
    """The last place up to `end`, within reason, that does not cut what is one character to
    a reader: a letter with its accents, a family or flag emoji. `end` is inside the text."""
    for place in range(end, max(0, end - 32), -1):
        if not _joined(text, place):
            return place
    return end


def _joined(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    if "\u200d" in (before, after) or unicodedata.category(after) in ("Mn", "Me", "Mc"):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True  # skin tones; the letters of regional flags
    if not _flag_letter(after):
        return False
    run = 0
    while place > run and _flag_letter(text[place - 1 - run]):
        run += 1
    return run % 2 == 1


def _flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
