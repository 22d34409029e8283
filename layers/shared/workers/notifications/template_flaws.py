"""The parts of a template that will not become what its author meant.

What a link or mention becomes is found out from the renderer itself, with values as they should be.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from workers.notifications.entities import ENTITY_PATHS
from workers.notifications.mrkdwn import FENCE
from workers.notifications.plain_line import FORMS
from workers.notifications.rendering import PLACEHOLDER, render

_SHOWN: Final = 60  # characters of the template in a flaw
_MOST: Final = 10  # flaws of one template

_TOKEN = re.compile(r"<([^<>\s][^<>\n]*)>")
_BARE_URL = re.compile(r"https?://[^\s<>|]+")
_CODE = re.compile(r"```.*?```|(?<!`)`[^`\n]+`(?!`)", re.DOTALL)
_BRACES = re.compile(r"\{\{[^\n]*?\}\}+|\{\{|\}\}")
_OTHER_BRACES = re.compile(
    r"\$\{[\w.]+\}|<%=?[^\n]*?%>|\[\[[\w.]+\]\]|(?<![{$])\{[A-Za-z][\w.]*\}(?!\})"
)
_HTML = re.compile(
    r"</?(?:a|b|br|code|div|em|h[1-6]|hr|i|img|li|ol|p|pre|s|span|strong|u|ul)(?:\s[^<>\n]*)?/?>",
    re.IGNORECASE,
)
# Markdown that Slack writes differently, and how.
_MARKDOWN: Final = (
    (re.compile(r"\*\*[^*\n]+\*\*"), "bold is *text*"),
    (re.compile(r"(?<!\w)__[^_\n]+__(?!\w)"), "bold is *text*, italics _text_"),
    (re.compile(r"~~[^~\n]+~~"), "struck through is ~text~"),
    (re.compile(r"!?\[[^\[\]\n]+\]\([^()\s]+\)"), "a link is <https://address|text>"),
    (re.compile(r"^#{1,6} .*", re.MULTILINE), "there are no headings: make it *bold*"),
)
_WITHOUT_SCHEME = re.compile(r"(?<![\w/.@])www\.[\w-]+\.\S+", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:https?://|mailto:|tel:)[^\s|]+", re.IGNORECASE)
_LIVE = re.compile(
    r"@[UW][A-Z0-9]+|#[CG][A-Z0-9]+|!(?:here|channel|everyone)|!subteam\^S[A-Z0-9]+"
    r"|!date\^\d+\^[^|^]+(?:\^https?://[^\s|]+)?"
)
# Values as a link, a mention or a date should get them, by how the target begins.
_SAMPLES: Final = (("@", "U0AAAAAAA"), ("#", "C0AAAAAAA"), ("!subteam^", "S0AAAAAAA"),
                   ("!date^", "1700000000"))  # fmt: skip
_MENTION_IDS: Final = {
    "@": "a person is mentioned by Slack's member id: <@U...>",
    "#": "a channel is mentioned by its id: <#C...>",
    "!": "Slack has <!here>, <!channel>, <!everyone>, <!subteam^S...> and <!date^time^form|text>",
}


def flaws_of(template: str) -> list[str]:
    """What would be shown as typed, cannot become a link, or is not closed; at most ten flaws."""
    text = _CODE.sub("", template)
    found = [
        *_placeholders(template), *_foreign_markup(text), *_tokens(text), *_bare_urls(text),
        *_left_open(template),
    ]  # fmt: skip
    return list(dict.fromkeys(found))[:_MOST]


def never_carried(template: str, carried: Mapping[str, str]) -> list[str]:
    """The placeholders that no event fills. `carried`: the keys in the template's events with the
    JSON type of each, and for an object also the keys in it, as `client.name`."""
    keys = dict.fromkeys(found[1] for found in PLACEHOLDER.finditer(template))
    return [key for key in keys if not _is_carried(key, carried)]


def _is_carried(path: str, carried: Mapping[str, str]) -> bool:
    if path in carried or path in ENTITY_PATHS:
        return True
    form, _, rest = path.partition(".")
    if form in FORMS and rest and form not in carried:
        return _is_carried(rest, carried)
    first, _, rest = path.partition(".")
    if not rest or first not in carried:
        return False
    # below the second step, and in lists, anything is possible
    return carried[first] != "object" or ".".join(path.split(".")[:2]) in carried


def _placeholders(template: str) -> Iterator[str]:
    for found in _BRACES.finditer(template):
        if not PLACEHOLDER.fullmatch(found[0]):
            only = "only {{key}} and {{path.to.key}} are placeholders"
            yield f"{_cut(found[0])} is shown as typed: {only}"
    # {date_short} and the like belong in a date
    outside = PLACEHOLDER.sub("", re.sub(r"<!date\^[^<>\n]*>", "", template))
    for found in _OTHER_BRACES.finditer(outside):
        yield f"{_cut(found[0])} is shown as typed: a placeholder is {{{{key}}}}"


def _foreign_markup(text: str) -> Iterator[str]:
    for found in _HTML.finditer(text):
        yield f"{_cut(found[0])} is shown as typed: Slack does not support HTML"
    for pattern, instead in _MARKDOWN:
        for found in pattern.finditer(text):
            yield f"{_cut(found[0])} is Markdown, which Slack shows as typed: {instead}"
    for found in _WITHOUT_SCHEME.finditer(_BARE_URL.sub("", _TOKEN.sub("", text))):
        yield f"{_cut(found[0])} is not a link without https:// before it"


def _tokens(text: str) -> Iterator[str]:
    for found in _TOKEN.finditer(text):
        if _HTML.fullmatch(found[0]) or found[0].startswith("<%"):
            continue
        if not _becomes_live(found[0]):
            yield f"{_cut(found[0])} {_why_not(found[1])}"
        elif found[1].startswith("!date^") and "|" not in found[1]:
            yield f"{_cut(found[0])} needs a text after a | for where Slack cannot show dates"


def _becomes_live(token: str) -> bool:
    """Whether the renderer turns it into a link, mention or date that Slack accepts."""
    target = token[1:-1].partition("|")[0]
    first = next((value for prefix, value in _SAMPLES if target.startswith(prefix)), None)
    for value in [first] if first else ["x", "app.example", "https://app.example/x", "/x"]:
        filled = _filled(token, value)
        shown = render(filled[0], filled[1], event_type="e").text
        if (live := _TOKEN.fullmatch(shown)) is None:
            continue
        address = live[1].partition("|")[0]
        if _ADDRESS.fullmatch(address) or _LIVE.fullmatch(address):
            return True
    return False


def _filled(template: str, first: str) -> tuple[str, dict[str, str]]:
    """The template with a separate key for each placeholder, and a value for each: `first` for the
    first one."""
    values: dict[str, str] = {}

    def name(_: re.Match[str]) -> str:
        key = f"v{len(values)}"
        values[key] = "x" if values else first
        return f"{{{{{key}}}}}"

    return PLACEHOLDER.sub(name, template), values


def _why_not(content: str) -> str:
    if content[0] in _MENTION_IDS:
        return f"cannot become a mention: {_MENTION_IDS[content[0]]}"
    return "cannot become a link: an address starts with https:// and has no spaces"


def _bare_urls(text: str) -> Iterator[str]:
    outside = _TOKEN.sub(" ", text)
    for found in _BARE_URL.finditer(outside):
        if PLACEHOLDER.search(found[0]) and not _url_becomes_live(found[0]):
            yield f"{_cut(found[0])} cannot become a link"
    for found in re.finditer(r"<(?=https?://|mailto:|[@#!][\w{])[^\n]*", outside):
        yield f"{_cut(found[0])} is not closed by a > on its line"


def _url_becomes_live(url: str) -> bool:
    for value in ("x", "app.example", "/x"):
        template, values = _filled(url, value)
        if _TOKEN.search(render(template, values, event_type="e").text):
            return True
    return False


def _left_open(template: str) -> Iterator[str]:
    if template.count(FENCE) % 2:
        yield f"a code block is not closed: {FENCE} opens and closes it"
        return
    text = PLACEHOLDER.sub("x", _TOKEN.sub("x", _CODE.sub("x", template)))
    for line in re.sub(r"(\*\*|~~).*?\1", "x", _BARE_URL.sub("x", text)).split("\n"):
        for mark in _marks_left_open(line):
            yield f"{mark} is not closed in: {_cut(line)}"


def _marks_left_open(line: str) -> list[str]:
    """Slack formats from a mark that does not follow a letter to one that no letter follows. `_` is
    ignored, because many names contain it."""
    opened: dict[str, None] = {}
    for place in re.finditer(r"[*~`]", line):
        mark, before, after = place[0], line[: place.start()][-1:], line[place.end() :][:1]
        if mark in opened and before.strip() and not after.isalnum():
            del opened[mark]
        elif not before.isalnum() and after.strip():
            opened[mark] = None
    return list(opened)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
