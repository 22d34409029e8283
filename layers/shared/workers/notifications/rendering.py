"""Turns a template and the data of an event into a message that is safe to send to Slack.

The template's author may use Slack's markup; the values filled in are data, no matter who wrote
them. So values are escaped, cannot open a mention or a link, cannot end the author's formatting,
and fit Slack's limits, while the author's markup stays live. Everything here is pure and takes
linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from workers.notifications.entities import NO_ENTITIES, Entities
from workers.notifications.event_data import EventValues, as_text, unquoted
from workers.notifications.mrkdwn import (
    ELLIPSIS,
    FENCE,
    QUOTE,
    clean,
    escape,
    is_visible,
    sections,
    shorten,
    shorten_value,
    units,
)
from workers.notifications.plain_line import (
    FORMS,
    PLAIN_WORDING,
    Form,
    Wording,
    plain_line,
    with_request_url,
    written_as,
)
from workers.notifications.times import epoch

# A section's text: https://docs.slack.dev/reference/block-kit/blocks/section-block
SECTION_LIMIT: Final = 3_000
# All blocks together; undocumented, observed to fail from about 12,000 to 13,200 characters:
# https://github.com/slackapi/bolt-js/issues/2509
TOTAL_LIMIT: Final = 12_000
# Slack splits or refuses a longer `text` at about 4,000 characters:
# https://docs.slack.dev/reference/methods/chat.postMessage
TEXT_LIMIT: Final = 3_000
# Leaves room for formatting closed and reopened between sections, and for a note below.
BODY_LIMIT: Final = TOTAL_LIMIT - 300
VALUE_LIMIT: Final = 2_000
# A link or mention is never split, so it has to fit into a section with room to spare.
TOKEN_LIMIT: Final = 2_000

SHORTENED: Final = "\n… (message shortened)"
REPEAT_NOTE: Final = "(This may be a repeat: Slack did not confirm an earlier copy.)"

# `{{key}}`, `{{ key }}`, or a path: `{{client.name}}`, `{{tags.0}}`
_KEY: Final = r"\w+(?:[.-]\w+)*"
_OPENING, _CLOSING = r"\{\{[ \t]*", r"[ \t]*\}\}"
_PART = re.compile(
    r"<(?P<token>[^<>\n]+)>"
    rf"|(?P<url>https?://(?:{_OPENING}{_KEY}{_CLOSING}|[^\s<>|{{}}\"`])+)"
    # a value that is formatted on its own: `*{{title}}*`, `*_{{title}}_*`
    r"|(?P<outer>(?<!`)[*_~`])(?P<inner>(?<!`)[*_~`])?"
    rf"{_OPENING}(?P<marked>{_KEY}){_CLOSING}(?(inner)(?P=inner)|)(?P=outer)(?!`)"
    rf"|{_OPENING}(?P<key>{_KEY}){_CLOSING}"
)
PLACEHOLDER = re.compile(rf"{_OPENING}({_KEY}){_CLOSING}")
_INDEX = re.compile(r"\d{1,6}", re.ASCII)
_STRAY_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt);)")
_CODE_FENCE = re.compile(r"`{3,}")
# `>>>` quotes the whole rest of a message, which only the author may do.
_QUOTE_OF_THE_REST = re.compile(r"^([ \t]*)(?=>{3})", re.MULTILINE)
_STEPS = re.compile(r"```|\n|`|[^`\n]+")
_SENTENCE_END = re.compile(r"[.,;:!?)\]'*_~]*$")
# What is between angle brackets and meant as markup: a mention, a command, an address.
_MARKUP = re.compile(r"[@#!]\S|[^\s|]+[:.][^\s|]*(?:\||$)")
_URL_UNSAFE = re.compile(r"[\s<>|\"\\^`{}]")
_OPEN_HOST = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
# A host to which a path may be added; `https://` or `https://www.` alone is incomplete.
_WHOLE_HOST = re.compile(r"https?://[^/?#]+[.:][^/?#]*[A-Za-z0-9]", re.IGNORECASE)
_HOST_PART = re.compile(r"[A-Za-z0-9.-]*")
_HOST_END = re.compile(r"[A-Za-z0-9-]*(?:[/?#].*)?", re.DOTALL)
_SCHEME = re.compile(r"https?://|mailto:|tel:", re.IGNORECASE)
_QUERY = re.compile(r"[?#]")

# Which targets a value may complete, by how the author's part of them begins.
_MENTION = re.compile(r"@[UW][A-Z0-9]+")
_CHANNEL = re.compile(r"#[CG][A-Z0-9]+")
_GROUP = re.compile(r"!subteam\^S[A-Z0-9]+")
_DATE = re.compile(r"!date\^\d+\^[^|]+", re.ASCII)
_ADDRESS = re.compile(r"(?:https?://|mailto:|tel:)[^\s|]+", re.IGNORECASE)
_NOTHING = re.compile(r"(?!)")
_DATE_PREFIX: Final = "!date^"
_TARGETS: Final = (
    ("@", _MENTION),
    ("#", _CHANNEL),
    ("!subteam^", _GROUP),
    (_DATE_PREFIX, _DATE),
    ("!", _NOTHING),
    ("", _ADDRESS),
)

# Marks where markup without a value was, until the space next to it is removed too. `clean`
# ensures that no text holds this character.
_GONE: Final = "\0"
_BLANK_NEXT_TO_IT = re.compile(r"[ \t]\0(?=[\s.,;:!?)\]]|\Z)|(?:(?<=\n)|\A)\0[ \t]?|\0")
_ZERO_WIDTH_SPACE: Final = "\u200b"
_BACKTICK_LOOKALIKE: Final = "\u02cb"


@dataclass(frozen=True)
class Message:
    """What is sent to Slack.

    `text` is shown in push notifications and wherever blocks are not, `blocks` in the
    conversation (if empty, the text is). `unknown_keys` are the placeholders for which the event
    has no value, each once, as far as the text was rendered; `shortened` says that something did
    not fit.
    """

    text: str
    blocks: list[dict[str, object]]
    unknown_keys: tuple[str, ...] = ()
    shortened: bool = False


def render(
    template: str | None,
    event_data: object,
    *,
    event_type: str,
    entities: Entities = NO_ENTITIES,
    wording: Wording = PLAIN_WORDING,
) -> Message:
    """Fill the template's `{{key}}` and `{{path.to.key}}` placeholders with the event's values, or
    if it has none with those of `entities` (see `Entities.as_values`).

    `event_data` may be any JSON value, best as `parse_event_data` reads it; only an object, or a
    string that holds one as JSON, has keys. A template that is missing or renders to nothing
    visible gives one line of what the event holds. Raises nothing.
    """
    data = unquoted(event_data)
    own = data if isinstance(data, dict) else {}
    entities = with_request_url(entities, own, wording)
    values = _Values(own, entities.as_values(), wording)
    # More than fits, to see whether what is cut was formatted up to a mark after the cut.
    filled = _first(_pieces(clean(template or ""), values), 2 * BODY_LIMIT)
    whole = _BLANK_NEXT_TO_IT.sub("", filled)
    body = shorten(whole, BODY_LIMIT, SHORTENED)
    if not is_visible(body.removesuffix(SHORTENED)):
        whole = plain_line(event_type, own, entities, wording)
        body = shorten(whole, BODY_LIMIT, SHORTENED)
    parts = list(sections(body, SECTION_LIMIT))
    text = shorten(body.strip(), TEXT_LIMIT, ELLIPSIS)
    return Message(
        text=text if is_visible(text.removesuffix(ELLIPSIS)) else parts[0],
        blocks=[_block(part) for part in parts],
        unknown_keys=tuple(values.unknown),
        shortened=bool(values.cut) or body != whole,
    )


def plain_message(message: Message) -> Message:
    """The same message without blocks, for Slack to take when it refused them.

    The author's links and mentions stay live: Slack refuses a layout because of its blocks, never
    because of its text.
    """
    text = shorten(message.text, TEXT_LIMIT, ELLIPSIS)
    return replace(message, text=text, blocks=[])


def mark_repeat(message: Message) -> Message:
    """The message with a note below it that the reader may have seen it before."""
    note = f"\n{REPEAT_NOTE}"
    text = shorten(message.text, TEXT_LIMIT - len(note), ELLIPSIS) + note
    blocks = [*message.blocks, _block(REPEAT_NOTE)] if message.blocks else []
    return replace(message, text=text, blocks=blocks)


def _block(text: str) -> dict[str, object]:
    # Without `verbatim` Slack finds mentions in plain text too, and `@here` in a client's text
    # notifies a whole channel:
    # https://docs.slack.dev/reference/block-kit/composition-objects/text-object
    mrkdwn = {"type": "mrkdwn", "text": text, "verbatim": True}
    # Without `expand` a longer section is folded behind "see more":
    # https://docs.slack.dev/reference/block-kit/blocks/section-block
    return {"type": "section", "text": mrkdwn, "expand": True}


# --- the values ---


@dataclass
class _Values:
    """The event's values as text, each converted once; `of_entities` are those of its entities."""

    data: EventValues
    of_entities: Mapping[str, object]
    wording: Wording
    unknown: dict[str, None] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    _texts: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> str | None:
        """The value's text, not yet escaped; None for an unknown key, which is noted."""
        if path not in self._texts:
            value = self._found(path)
            if value is _UNKNOWN:
                self.unknown[path] = None
                return None
            whole = _as_text(value)
            self._texts[path] = text = shorten_value(whole, VALUE_LIMIT)
            if text != whole:
                self.cut.add(path)
        return self._texts[path]

    def _found(self, path: str) -> object:
        """What the event has there, or else its entities, or else one of these in a form:
        `words.new_status`."""
        value = self._named(path)
        form, _, rest = path.partition(".")
        if value is not _UNKNOWN or form not in FORMS:
            return value
        value = self._named(rest)
        return (
            value if value is _UNKNOWN else written_as(Form(form), value, self.data, self.wording)
        )

    def _named(self, path: str) -> object:
        value = _find(path, self.data)
        return _find(path, self.of_entities) if value is _UNKNOWN else value


def _find(path: str, data: Mapping[str, object]) -> object:
    """The value at the key, or else at the path through objects and lists."""
    if path in data:
        return data[path]
    found: object = data
    for step in path.split("."):
        found = unquoted(found)
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and _INDEX.fullmatch(step) and int(step) < len(found):
            found = found[int(step)]
        else:
            return _UNKNOWN
    return found


_UNKNOWN: Final = object()


def _as_text(value: object) -> str:
    """A value as text that can open or close neither a code fence nor a quote of the rest."""
    try:
        text = clean(as_text(value))
    except RecursionError:  # nested too deeply to be written
        return ELLIPSIS
    return _QUOTE_OF_THE_REST.sub(rf"\1{_ZERO_WIDTH_SPACE}", _CODE_FENCE.sub("`", text))


# --- putting text and values together ---


def _authored(text: str) -> str:
    """The author's text outside links and mentions, which must stay outside of them.

    A lone `<` or `&` looks the same when escaped, and then cannot join with a value into a mention
    or an entity. A `>` stays, because it starts a quotation.
    """
    return _STRAY_AMPERSAND.sub("&amp;", text).replace("<", "&lt;")


def _pieces(template: str, values: _Values) -> Iterator[str]:
    """The rendered template piece by piece, so that rendering can stop once there is enough."""
    flow = _Flow()
    end = 0
    for part in _PART.finditer(template):
        yield flow.author(_authored(template[end : part.start()]))
        end = part.end()
        if part["token"] is not None:
            yield flow.author(_token(part["token"], values))
        elif part["url"] is not None:
            yield flow.author(_bare_url(part["url"], values))
        elif part["marked"] is not None:
            yield flow.value(_marked(part, values))
        else:
            yield flow.value(_filled(part[0], values))
    yield flow.author(_authored(template[end:]))


class _Flow:
    """Follows the text as it is assembled, to keep each value within its context: on a quoted line
    every line of a value is quoted, and a value next to a backtick never becomes part of a
    fence."""

    def __init__(self) -> None:
        # The beginning of the current line; None where the author's `>` cannot be: in a value, and
        # in code outside of a quote.
        self._line: str | None = ""
        # The quote, if any, in which the code fence that is open here began.
        self._fence: str | None = None
        self._last = ""
        self._last_is_value = False

    def author(self, text: str) -> str:
        """The author's text, adapted to what came before."""
        return self._add(text, is_value=False)

    def value(self, text: str) -> str:
        """The same for an escaped value."""
        quote = self._quote()
        starts_line = self._line == "" or "\n" in text
        text = self._add(text.replace("\n", f"\n{quote}"), is_value=True)
        if text and starts_line and not quote:
            self._line = None  # a `>` there belongs to the value, and quotes nothing else
        return text

    def _add(self, text: str, *, is_value: bool) -> str:
        if not text:
            return ""
        if self._last == text[0] == "`" and (is_value or self._last_is_value):
            text = _ZERO_WIDTH_SPACE + text
        for step in _STEPS.findall(text):
            self._follow(step)
        self._last, self._last_is_value = text[-1], is_value
        return text

    def _follow(self, step: str) -> None:
        if step == "\n":
            self._line = None if self._fence == "" else ""
        elif self._line is not None:
            self._line = (self._line + step)[:_LINE_START]
        if step == FENCE:
            self._fence = self._quote() if self._fence is None else None

    def _quote(self) -> str:
        """What each line of a value must begin with to be quoted here; mostly nothing."""
        found = QUOTE.match(self._line or "")
        return found[0] if found else ""


_LINE_START: Final = 24


def _first(pieces: Iterable[str], limit: int) -> str:
    """As many pieces as make the text longer than `limit`, or all."""
    kept: list[str] = []
    size = 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size > limit:
            break
    return "".join(kept)


def _parts(template: str, values: _Values) -> Iterator[tuple[str, str | None, str]]:
    """(author's text, value that follows it or None, key): no value at the end and if the key is
    unknown."""
    end = 0
    for found in PLACEHOLDER.finditer(template):
        value = values.get(found[1])
        yield template[end : found.start()], value, found[1]
        end = found.start() if value is None else found.end()
    yield template[end:], None, ""


def _filled(template: str, values: _Values) -> str:
    filled = (_authored(text) + escape(value or "") for text, value, _ in _parts(template, values))
    return _first(filled, BODY_LIMIT)


def _marked(part: re.Match[str], values: _Values) -> str:
    """A value in bold or the like, which Slack formats line by line and only next to visible
    characters; nothing, not even the marks, if the value is blank."""
    value = values.get(part["marked"])
    if value is None:
        return part[0]
    if not is_visible(value):
        return _GONE
    marks = part["outer"] + (part["inner"] or "")
    if "`" in marks:
        value = value.replace("`", _BACKTICK_LOOKALIKE)
    return "\n".join(_wrapped(escape(line), marks) for line in value.split("\n"))


def _wrapped(line: str, marks: str) -> str:
    body = line.strip()
    if not is_visible(body):
        return line
    start = line.index(body)
    return f"{line[:start]}{marks}{body}{marks[::-1]}{line[start + len(body) :]}"


# --- links, mentions and dates ---


def _token(content: str, values: _Values) -> str:
    """What the author wrote between angle brackets: live if it is safe, else as characters.

    If a value is missing, only the label is shown, or nothing.
    """
    if PLACEHOLDER.search(content) is None:
        live = f"<{content}>"
        is_live = _MARKUP.match(content) and units(live) <= TOKEN_LIMIT
        return live if is_live else f"&lt;{_authored(content)}&gt;"
    target, _, label = content.partition("|")
    shown = _filled(label, values).replace("\n", " ")
    if _lacks_value(target, values):
        return shown if is_visible(shown) else _GONE
    address = _target(target, values)
    live = f"<{address}|{shown}>" if shown.strip() else f"<{address}>"
    if address is not None and units(live) <= TOKEN_LIMIT:
        return live
    if target.startswith(_DATE_PREFIX) and is_visible(shown):
        return shown  # the text for when Slack cannot show the time
    return f"&lt;{_filled(content, values)}&gt;"


def _lacks_value(target: str, values: _Values) -> bool:
    """Whether a value that would complete the target is missing. In the query of an address an
    empty value may be intended."""
    may_be_empty = False
    for text, value, key in _parts(target, values):
        may_be_empty |= _kind(target) is _ADDRESS and _QUERY.search(text) is not None
        if key and (value is None or not (may_be_empty or is_visible(value))):
            return True
    return False


def _bare_url(url: str, values: _Values) -> str:
    """An address in the author's text, as a link.

    Slack does not make one by itself where `verbatim` is set:
    https://docs.slack.dev/reference/block-kit/composition-objects/text-object
    """
    body = _SENTENCE_END.sub("", url)
    address = _target(body, values)
    if address is None or units(address) > TOKEN_LIMIT - 2:
        return _filled(url, values)
    return f"<{address}>{_authored(url[len(body) :])}"


def _target(template: str, values: _Values) -> str | None:
    """The address or mention that the template becomes, or None if a value would make it something
    other than the author meant: another kind, another host, a broken link."""
    pattern = _kind(template)
    done = ""
    for text, value, key in _parts(template, values):
        done += _STRAY_AMPERSAND.sub("&amp;", text)
        if len(done) > TOKEN_LIMIT or (key and value is None):
            return None
        if value is None:
            continue
        completion = epoch(value) if done == _DATE_PREFIX else value
        if completion is None or key in values.cut or not _may_follow(done, completion, pattern):
            return None
        done += escape(_URL_UNSAFE.sub(_percent, completion))
    return done if pattern.fullmatch(done) else None


def _kind(target: str) -> re.Pattern[str]:
    return next(pattern for prefix, pattern in _TARGETS if target.startswith(prefix))


def _may_follow(before: str, value: str, pattern: re.Pattern[str]) -> bool:
    if pattern is not _ADDRESS or not before:
        return True
    if _OPEN_HOST.fullmatch(before):
        part = _HOST_END if _WHOLE_HOST.fullmatch(before) else _HOST_PART
        return part.fullmatch(value) is not None
    return _SCHEME.match(before) is not None


def _percent(unsafe: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in unsafe[0].encode())
