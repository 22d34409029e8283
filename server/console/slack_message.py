"""A message as Slack shows it: blocks and mrkdwn as HTML.

It draws the blocks that workers and people send; another kind of block is only named. Nothing is
fetched: an image is shown as its description and a link.
https://docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from markupsafe import Markup

from server.console.slack_text import WEB_ADDRESS, Names, mrkdwn, plain, visible

_SECTION = Markup('<div class="slack-section">{}{}{}</div>')
_FIELDS = Markup('<div class="slack-fields">{}</div>')
_FIELD = Markup('<div class="slack-field">{}</div>')
_HEADER = Markup('<p class="slack-header">{}</p>')
_CONTEXT = Markup('<p class="slack-context">{}</p>')
_ACTIONS = Markup('<p class="slack-actions">{}</p>')
_BUTTON = Markup('<span class="slack-button">{}</span>')
_IMAGE = Markup('<span class="slack-image">Image: {}</span>')
_UNFORMATTED = Markup('<div class="slack-unformatted">{}</div>')
_NOT_DRAWN = Markup('<p class="slack-not-drawn">A block of the type “{}” is not drawn here.</p>')
_LINK = Markup('<a href="{}" rel="noopener noreferrer nofollow" target="_blank">{}</a>')
_NOTHING = Markup("")
_SPACE = Markup(" ")

Block = Mapping[str, Any]


def message_html(text: object, blocks: object, names: Names) -> Markup:
    """The message's blocks or, where it has none, its text, as Slack does.

    Takes any JSON. `names` are those of people, channels and groups, by id.
    """
    if not isinstance(blocks, list) or not blocks:
        return _SECTION.format(mrkdwn(_text(text), names), "", "")
    return _NOTHING.join(_block(block, names) for block in blocks)


def _block(block: object, names: Names) -> Markup:
    known = block if isinstance(block, dict) else {}
    kind = _text(known.get("type"))
    draw = _BLOCKS.get(kind)
    return draw(known, names) if draw else _NOT_DRAWN.format(visible(kind[:80]))


def _section(block: Block, names: Names) -> Markup:
    fields = block.get("fields")
    shown = [_FIELD.format(_text_object(one, names)) for one in _list(fields)]
    return _SECTION.format(
        _text_object(block.get("text"), names),
        _FIELDS.format(_NOTHING.join(shown)) if shown else "",
        _element(block["accessory"], names) if block.get("accessory") else "",
    )


def _header(block: Block, names: Names) -> Markup:
    return _HEADER.format(_text_object(block.get("text"), names))


def _divider(block: Block, names: Names) -> Markup:
    return Markup("<hr>")


def _context(block: Block, names: Names) -> Markup:
    elements = [_element(one, names) for one in _list(block.get("elements"))]
    return _CONTEXT.format(_SPACE.join(elements))


def _actions(block: Block, names: Names) -> Markup:
    elements = [_element(one, names) for one in _list(block.get("elements"))]
    return _ACTIONS.format(_SPACE.join(elements))


def _image_block(block: Block, names: Names) -> Markup:
    title = _text_object(block.get("title"), names)
    return Markup("<p>{}{}</p>").format(title + _SPACE if title else "", _element(block, names))


def _markdown(block: Block, names: Names) -> Markup:
    return _UNFORMATTED.format(visible(_text(block.get("text"))))


_BLOCKS: Final[dict[str, Callable[[Block, Names], Markup]]] = {
    "section": _section,
    "header": _header,
    "divider": _divider,
    "context": _context,
    "actions": _actions,
    "image": _image_block,
    "markdown": _markdown,
}


def _element(element: object, names: Names) -> Markup:
    """An element of a block: a text, an image, a button or the like."""
    known = element if isinstance(element, dict) else {}
    kind = known.get("type")
    if kind in ("mrkdwn", "plain_text"):
        return Markup("<span>{}</span>").format(_text_object(known, names))
    if kind == "image":
        shown = _IMAGE.format(visible(_text(known.get("alt_text"))))
        return _linked(known.get("image_url"), shown)
    label = known.get("text") or known.get("placeholder")
    shown = _text_object(label, names) or Markup.escape(visible(_text(kind)))
    return _linked(known.get("url"), _BUTTON.format(shown))


def _linked(address: object, shown: Markup) -> Markup:
    url = _text(address)
    return _LINK.format(url, shown) if WEB_ADDRESS.fullmatch(url) else shown


def _text_object(value: object, names: Names) -> Markup:
    """https://docs.slack.dev/reference/block-kit/composition-objects/text-object"""
    if not isinstance(value, dict):
        return _NOTHING
    text = _text(value.get("text"))
    if value.get("type") == "mrkdwn":
        return mrkdwn(text, names, verbatim=bool(value.get("verbatim")))
    return plain(text)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
