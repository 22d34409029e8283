"""`make screenshots`: the console over the sample agency, as docs/console.md shows it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from local import demo
from local.environment import isolate
from local.stack import ROOT, Running, Stack
from server.console.project import Project
from server.console.serving import ConsoleServer
from tests.browser.chromium import Visit, chromium, found, visit

FOLDER = ROOT / "docs" / "screenshots"
DESK = {"width": 1240, "height": 900}
PHONE = {"width": 400, "height": 760}


@dataclass(frozen=True)
class Shot:
    """A picture: its name, the page, and how the page is shown."""

    name: str
    path: str
    scheme: Literal["light", "dark"] = "light"
    size: Mapping[str, int] = field(default_factory=lambda: DESK)


SHOTS = (
    Shot("overview-light", "/"),
    Shot("overview-dark", "/", "dark"),
    Shot("overview-phone", "/", size=PHONE),
    Shot("notifications", "/notifications"),
    Shot("notification", "/notifications/d0000000-0000-4000-8000-000000000003"),
    Shot("accounts", "/metrics"),
    Shot("request", "/metrics/requests/e0000000-0000-4000-8000-000000000005", "dark"),
    Shot("request-phone", "/metrics/requests/e0000000-0000-4000-8000-000000000005", size=PHONE),
    Shot("spend", "/metrics/spend"),
    Shot("try", "/notifications/try?notification=d0000000-0000-4000-8000-000000000003"),
    Shot(
        "confirm",
        "/actions/confirm/backfill?connection_id=b0000000-0000-4000-8000-000000000001"
        "&since=2026-01-01&until=2026-01-31",
    ),
)
SLACK = Shot("slack", "/")


def main() -> int:
    """Returns the exit status: 0, or 1 without Chromium or where a worker failed."""
    if found() is None:
        sys.stderr.write("There is no chromium on PATH.\n")
        return 1
    isolate()
    with Stack() as running:
        os.environ.update(running.environment())
        if not demo.play(running, Console(quiet=True)):
            sys.stderr.write("A worker did not do as it should: see `make demo`.\n")
            return 1
        take(running)
    return 0


def take(running: Running) -> None:
    """All pictures, and one of the local stack's Slack."""
    FOLDER.mkdir(exist_ok=True)
    lines: list[str] = []
    server = ConsoleServer(Project(), "127.0.0.1", 0, lines.append)
    server.start()
    with chromium() as browser:
        for shot in SHOTS:
            options: dict[str, Any] = {"color_scheme": shot.scheme}
            with visit(browser, server.url, **options) as seen:
                server.announce()
                seen.sign_in(lines[-1].rpartition(": ")[2])
                picture(seen, shot)
        with visit(browser, running.slack_url) as seen:
            picture(seen, SLACK)
    server.close()


def picture(seen: Visit, shot: Shot) -> None:
    """Saves it in the folder under its name."""
    seen.page.set_viewport_size(shot.size)  # type: ignore[arg-type]
    seen.go(shot.path)
    file: Path = FOLDER / f"{shot.name}.png"
    # no more than there is of the page
    height = seen.page.evaluate("Math.ceil(document.body.getBoundingClientRect().height)")
    clip = {"x": 0, "y": 0, **shot.size, "height": min(height, shot.size["height"])}
    seen.page.screenshot(path=file, clip=clip)  # type: ignore[arg-type]
    sys.stdout.write(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    sys.exit(main())
