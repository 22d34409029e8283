"""One Chromium, driven by Playwright. It reaches only this machine, and everything that it
complains about is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from local.services.node import MODULES

PHONE = {"width": 400, "height": 800}
DESK = {"width": 1280, "height": 900}
# The names that systems have for it.
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    # no name resolves
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
)
SERIOUS = ("serious", "critical")


def found() -> str | None:
    """The path of the machine's Chromium, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser until the end of the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page in its own browser, at a server. `trouble` is what must not happen: requests to
    elsewhere, errors of scripts, violations of the policy."""

    page: Page
    url: str
    trouble: list[str] = field(default_factory=list)

    def go(self, path: str) -> Response:
        """Opens a path of the server."""
        answer = self.page.goto(self.url + path)
        assert answer is not None
        return answer

    def leave(self) -> None:
        """Leaves the server's pages, which would go on updating, and fails for what went wrong."""
        self.page.goto("about:blank")
        trouble, self.trouble[:] = list(self.trouble), []
        assert trouble == []

    def sign_in(self, address: str) -> None:
        """By an address that works once, to the first page."""
        self.page.goto(address)
        assert self.page.url == f"{self.url}/"

    def violations(self, *rules: str) -> list[str]:
        """What axe finds serious or critical on the page, by all rules or by these."""
        self.page.evaluate(_axe())
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = list(rules)
        result = self.page.evaluate("options => axe.run(document, options)", options)
        return [
            f"{self.page.url}: {one['id']}: {one['help']}: {node['html'][:200]}"
            for one in result["violations"]
            if one["impact"] in SERIOUS
            for node in one["nodes"]
        ]

    def too_wide(self) -> list[str]:
        """The elements that make the page scroll sideways."""
        found: list[str] = self.page.evaluate(
            """() => {
              const page = document.scrollingElement;
              if (page.scrollWidth <= page.clientWidth) return [];
              return [...document.querySelectorAll("body *")]
                .filter(one => one.getBoundingClientRect().right > page.clientWidth + 1)
                .map(one => one.outerHTML.slice(0, 120));
            }"""
        )
        return found[:5]

    def background(self) -> list[int]:
        """Red, green and blue of the page's background."""
        shown: str = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in shown.removeprefix("rgb(").rstrip(")").split(",")]


@contextmanager
def visit(browser: Browser, url: str, **options: Any) -> Iterator[Visit]:
    """A new browser without data of others; `options` are Playwright's. Trouble in it fails at the
    end of the block."""
    context = browser.new_context(viewport=DESK, **options)  # type: ignore[arg-type]
    try:
        made = Visit(context.new_page(), url)

        def sent(request: Request) -> None:
            if not request.url.startswith((f"{url}/", "data:")):
                made.trouble.append(f"asked {request.url}")

        def said(message: ConsoleMessage) -> None:
            if message.type == "error":
                made.trouble.append(f"said {message.text}")

        context.on("request", sent)
        made.page.on("console", said)
        made.page.on("pageerror", lambda error: made.trouble.append(f"failed with {error}"))
        made.page.on("dialog", lambda dialog: made.trouble.append(f"asked {dialog.message}"))
        yield made
        assert made.trouble == []
    finally:
        context.close()


@cache
def _axe() -> str:
    return (MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
