"""The messages in the fake Slack as a page for people: each conversation as Slack shows it.

Messages are rendered by the console's code. The page refreshes itself with a script, and works
without it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from local.wire import Request, Response
from server.console.slack_message import message_html
from server.console.slack_text import visible

STATIC: Final = Path(__file__).parents[2] / "server" / "console" / "static"
SHIPPED: Final[Mapping[str, str]] = {
    "/style.css": "text/css; charset=utf-8",
    "/htmx.min.js": "text/javascript; charset=utf-8",
}
# How many messages of each conversation are shown.
MOST: Final = 100
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}

_PAGE: Final = Markup("""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="htmx-config" content='{{"includeIndicatorCSS": false, "history": false}}'>
  <title>Slack of the local stack</title>
  <link rel="stylesheet" href="/style.css">
  <script src="/htmx.min.js" defer></script>
</head>
<body>
<header class="top"><p class="project"><span class="what">Slack of the local stack:</span>
<strong>{workspace}</strong></p></header>
<main>
<h1>Messages</h1>
<div id="live" data-hx-get="/" data-hx-trigger="every 2s" data-hx-swap="innerMorph"
  data-hx-target="#live">
{conversations}
</div>
</main>
</body>
</html>
""")
_CONVERSATION: Final = Markup("""<section class="card" aria-labelledby="{id}">
  <h2 id="{id}">{name} <span class="soft code">{id}</span></h2>
  <p class="soft">{about}</p>
{messages}
</section>
""")
_MESSAGE: Final = Markup("""  <article id="{id}-{ts}">
    <p class="soft"><strong>Agency Workers</strong> <span class="badge">app</span>
    <time datetime="{at}">{shown}</time>{thread}</p>
    <div class="slack-message" dir="auto">{html}</div>
  </article>
""")
_NONE: Final = Markup("<p>This workspace has no channels.</p>")


def slack_page(request: Request, state: Callable[[], Mapping[str, Any]]) -> Response | None:
    """The page or one of its files, from the fake's state; None for other requests."""
    if request.method not in ("GET", "HEAD"):
        return None
    if request.path in SHIPPED:
        kind = {"Content-Type": SHIPPED[request.path], **HEADERS}
        return Response(body=(STATIC / request.path[1:]).read_bytes(), headers=kind)
    if request.path != "/":
        return None
    workspace = state()
    live = _conversations(workspace)
    whole = request.headers.get("hx-request") != "true"
    url = workspace["team"]["url"]
    html = _PAGE.format(workspace=visible(url), conversations=live) if whole else live
    return Response(
        body=html.encode(), headers={"Content-Type": "text/html; charset=utf-8", **HEADERS}
    )


def _conversations(workspace: Mapping[str, Any]) -> Markup:
    channels, users = workspace["channels"], workspace["users"]
    names = {id_: one["name"] for id_, one in {**channels, **users}.items()}
    arrived = workspace["messages"]
    people = [id_ for id_ in arrived if id_ not in channels]
    parts = [
        _conversation(id_, channels.get(id_), names, arrived.get(id_, []))
        for id_ in (*channels, *people)
    ]
    return Markup("").join(parts) or _NONE


def _conversation(
    id_: str,
    channel: Mapping[str, Any] | None,
    names: Mapping[str, str],
    messages: list[Mapping[str, Any]],
) -> Markup:
    name = f"#{channel['name']}" if channel else names.get(f"U{id_[1:]}", id_)
    seen = [one for one in messages if not one.get("hidden")]
    shown = [_message(id_, one, names) for one in seen[-MOST:]]
    return _CONVERSATION.format(
        id=visible(id_),
        name=visible(name),
        about=_about(channel, len(seen)),
        messages=Markup("").join(shown),
    )


def _about(channel: Mapping[str, Any] | None, count: int) -> str:
    kind = [
        "direct messages" if channel is None else "private" if channel["private"] else "public",
        *(["archived"] if channel and channel["archived"] else []),
        *(["the bot is not a member"] if channel and not channel["member"] else []),
        f"{count:,} message{'' if count == 1 else 's'}",
        *([f"the newest {MOST} are shown"] if count > MOST else []),
    ]
    return ", ".join(kind)


def _message(id_: str, message: Mapping[str, Any], names: Mapping[str, str]) -> Markup:
    at = datetime.fromtimestamp(float(message["ts"]), UTC)
    return _MESSAGE.format(
        id=visible(id_),
        ts=message["ts"],
        at=at.isoformat(),
        shown=f"{at:%Y-%m-%d %H:%M:%S} UTC",
        thread=", in a thread" if message.get("thread_ts") not in (None, message["ts"]) else "",
        html=message_html(message["text"], message["blocks"], names),
    )
