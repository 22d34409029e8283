"""Renders templates: what pages have in common, and how text from elsewhere stays text.

Whatever the database holds is data. It is always escaped; invisible characters are shown as
symbols, so that no text reorders or hides another; an address is a link only if it is http(s).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from server.console.project import Project
from workers.clock import utc_now

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"
# How often the live part of a page is requested again.
_EVERY: Final = "2s"
# Characters that move the cursor, reorder or hide: controls, formats, surrogates, odd breaks.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Joiners that words and emoji need.
_JOINERS: Final = frozenset("\u200c\u200d")
_DELETE: Final = 0x7F
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))

# The subjects in the order of the navigation: (path, name).
NAVIGATION: list[tuple[str, str]] = []


def page(
    request: Request, template: str, context: Mapping[str, Any], status: int = 200
) -> HTMLResponse:
    """The page of that template; for htmx only the block named like the id of its target."""
    project: Project = request.app.state.project
    given = {
        "now": utc_now(),
        **context,
        "request": request,
        "project": project,
        "navigation": NAVIGATION,
        "may_act": request.app.state.may_act,
    }
    found = environment().get_template(template)
    block = found.blocks.get(_target(request))
    if block is None:
        return HTMLResponse(found.render(given), status)
    return HTMLResponse("".join(block(found.new_context(given))), status)


def _target(request: Request) -> str:
    """The id of the element that htmx updates, which it sends as `div#live`; "" without htmx."""
    if request.headers.get("hx-request") != "true":
        return ""
    return request.headers.get("hx-target", "").partition("#")[2]


@cache
def environment() -> Environment:
    """The templates, with the functions and filters below."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=seen,
    )
    made.globals.update(static=static, live=live, act=act)
    made.filters.update(
        {
            "moment": moment,
            "due": due,
            "exact": exact,
            "iso": iso,
            "day": day,
            "json": as_json,
            "number": number,
            "decimal": Decimal,
            "digits": digits,
            "span": span,
            "counted": counted,
            "link": link,
            "as_typed": as_typed,
        }
    )
    return made


# --- functions and filters of the templates ---


def seen(value: Any) -> Any:
    """What a template prints for a value: nothing for None, symbols for invisible characters."""
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if value.isprintable():
        return value
    return "".join(map(_symbol, value))


def as_typed(value: str) -> Markup:
    """The value of a field that is sent again: escaped, and with its invisible characters."""
    return escape(value)


def _symbol(character: str) -> str:
    if character in "\n\t" or character in _JOINERS:
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == _DELETE:
        return "\u2421"
    if unicodedata.category(character) in _UNSEEN:
        return f"[U+{code:04X}]"
    return character


@pass_context
def moment(context: Context, value: str | datetime | None, never: str = "never") -> Markup | str:
    """A time as "2 minutes ago" or "in 3 hours", with the exact time in UTC; `never` for None."""
    if value is None:
        return never
    apart = (context["now"] - _utc(value)).total_seconds()
    text = f"{span(apart)} ago" if apart >= 0 else f"in {span(-apart)}"
    return _time(value, text)


@pass_context
def due(context: Context, value: str | datetime) -> Markup:
    """When something is to happen: as `moment`, or "now" once that time has passed."""
    apart = (_utc(value) - context["now"]).total_seconds()
    return _time(value, f"in {span(apart)}" if apart > 0 else "now")


def day(value: str | datetime | date) -> Markup:
    """A day without its time."""
    text = value if isinstance(value, str) else value.isoformat()
    return Markup('<time datetime="{0}">{0}</time>').format(text[:10])


def exact(value: str | datetime) -> str:
    """A time to the second, in UTC."""
    return _utc(value).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(value: str | datetime) -> str:
    """A time for programs, in UTC."""
    return _utc(value).isoformat().replace("+00:00", "Z")


def _time(value: str | datetime, text: str) -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(value), exact(value), text)


def _utc(value: str | datetime) -> datetime:
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


def as_json(value: Any) -> str:
    """JSON, readable."""
    return json.dumps(value, ensure_ascii=False)


def span(seconds: float) -> str:
    """A duration in its largest whole unit: 3 hours."""
    for unit, size in _UNITS:
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return "less than a second"


def counted(count: float, noun: str, nouns: str | None = None) -> str:
    """`1 run`, `1,200 runs`; `nouns` is a plural that does not just add an s."""
    return f"{number(count)} {noun if count == 1 else nouns or noun + 's'}"


def number(value: float | Decimal | None, places: int | None = None) -> str:
    """With commas, to so many decimal places; nothing for None."""
    if value is None:
        return ""
    if places is None:
        places = 0 if float(value).is_integer() else 2
    return f"{value:,.{places}f}"


def digits(value: str | float | Decimal | None) -> str:
    """With commas and all its digits; nothing for None."""
    return "" if value is None else f"{Decimal(str(value)):,f}"


def link(url: Any, text: str | None = None) -> Markup | str:
    """A link where the address is http or https, else its plain text."""
    shown = seen(text if text is not None else url)
    try:
        is_safe = urlsplit(str(url)).scheme in ("http", "https")
    except ValueError:
        is_safe = False
    if not is_safe:
        return str(shown)
    return Markup('<a href="{}" rel="noopener noreferrer nofollow">{}</a>').format(seen(url), shown)


@pass_context
def live(context: Context, block: str = "live", every: str = _EVERY) -> Markup:
    """The attributes of an element that htmx updates from the page's block of that name, which is
    its id. Unchanged parts stay in place, so that the reader keeps theirs."""
    request: Request = context["request"]
    where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return Markup(
        'id="{0}" data-hx-get="{1}" data-hx-trigger="every {2}" data-hx-swap="innerMorph" '
        'data-hx-target="#{0}"'
    ).format(block, where, every)


@pass_context
def act(context: Context, name: str, label: str, **arguments: Any) -> Markup:
    """A link to the page that confirms this action; nothing in a read-only console."""
    if not context["may_act"]:
        return Markup()
    query = urlencode(arguments, doseq=True)
    return Markup('<a class="button" href="/actions/confirm/{}{}{}">{}</a>').format(
        name, "?" if query else "", query, label
    )


@cache
def static(name: str) -> str:
    """The address of a shipped file; it changes with the content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{digest}"
