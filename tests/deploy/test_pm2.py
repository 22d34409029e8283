"""The PM2 file under PM2: started, reloaded, killed and stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.control import direct
from local.environment import bare
from local.services.node import MODULES, ensure_installed
from tests.conftest import LocalStack
from tests.deploy.files import DEPLOY, ROOT
from tests.integration.processes import LONG, eventually

APP = "agency-workers"
SECRETS = ("SUPABASE_SERVICE_ROLE_KEY", "SLACK_BOT_TOKEN")


class Pm2:
    """A PM2 daemon with its own home directory."""

    def __init__(self, home: Path, tree: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.tree = tree
        node = ensure_installed(with_dev=True).executable
        self._command = [str(node), str(MODULES / "pm2" / "bin" / "pm2")]
        quiet = {"PM2_DISABLE_VERSION_CHECK": "true", "PM2_DISCRETE_MODE": "true"}
        path = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**bare(), **quiet, "PATH": path, "PM2_HOME": str(home), **environment}

    def do(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self.tree, env=self._environment, capture_output=True, text=True, timeout=LONG,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        self.do("start", "deploy/ecosystem.config.cjs")

    def app(self) -> dict[str, Any]:
        """What PM2 reports about the app."""
        (app,) = json.loads(self.do("jlist").splitlines()[-1])
        assert isinstance(app, dict)
        return app

    def lines(self) -> list[dict[str, Any]]:
        """The lines that the servers have logged."""
        log = self.home / "logs" / f"{APP}-out.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def ready(self, count: int) -> dict[str, Any]:
        """The line that the server of that number logs once it serves."""
        found: list[dict[str, Any]] = []

        def is_ready() -> bool:
            found[:] = [line for line in self.lines() if line.get("action") == "ready"]
            return len(found) >= count

        eventually(is_ready, f"server {count} was not ready: {self.log()}")
        return found[count - 1]

    def exits(self) -> list[str]:
        """How the servers ended according to PM2: `code [0] via signal [SIGINT]`."""
        return re.findall(r"exited with (code \[\d+\] via signal \[\w+\])", self.log())

    def log(self) -> str:
        return (self.home / "pm2.log").read_text()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A clone with its environment, as in docs/deploy/pm2.md, without a .env."""
    made = tmp_path / "clone"
    (made / "deploy").mkdir(parents=True)
    shutil.copy(DEPLOY / "ecosystem.config.cjs", made / "deploy")
    (made / "server").symlink_to(ROOT / "server")
    (made / ".venv").symlink_to(ROOT / ".venv")
    return made


@pytest.fixture
def pm2(tree: Path, tmp_path: Path, stack: LocalStack) -> Iterator[Pm2]:
    environment = stack.environment()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in SECRETS:
        (secrets / name.lower()).write_text(environment.pop(name) + "\n")
    # PM2 has Unix sockets in its home, whose paths are limited to 107 bytes
    home = Path("/tmp") / f"pm2-{os.getpid()}-{tmp_path.name[-20:]}"  # noqa: S108
    made = Pm2(home, tree, {**environment, "SECRETS": str(secrets), "PORT": "0"})
    try:
        yield made
    finally:
        made.do("kill")
        shutil.rmtree(home)


def test_it_starts_saves_reloads_restarts_and_stops_a_server(pm2: Pm2, stack: LocalStack) -> None:
    pm2.start()
    address = pm2.ready(1)["address"]
    with direct.open(f"http://{address}/live", timeout=LONG) as answer:
        assert answer.status == 200
    eventually(
        lambda: any(stack.running.slack.state()["messages"].values()),
        "nothing was delivered",
    )

    pm2.do("save")
    saved = (pm2.home / "dump.pm2").read_text()
    assert "SLACK_BOT_TOKEN_FILE" in saved
    for name in SECRETS:
        assert stack.environment()[name] not in saved

    pm2.do("reload", APP)
    pm2.ready(2)
    os.kill(pm2.app()["pid"], signal.SIGKILL)
    pm2.ready(3)
    pm2.do("stop", APP)

    assert pm2.app()["pm2_env"]["status"] == "stopped"
    ended, killed = "code [0] via signal [SIGINT]", "code [0] via signal [SIGKILL]"
    assert pm2.exits() == [ended, killed, ended]
    assert "still alive" not in pm2.log(), "PM2 had to kill one"

    pm2.do("delete", APP)
    pm2.do("save", "--force")  # without it PM2 keeps the last list that was not empty
    assert json.loads((pm2.home / "dump.pm2").read_text()) == []


def test_invalid_settings_are_not_retried(pm2: Pm2, tmp_path: Path) -> None:
    (tmp_path / "secrets" / "slack_bot_token").write_text("xapp-1-not-a-bot-token\n")
    pm2.start()
    eventually(lambda: pm2.app()["pm2_env"]["status"] == "stopped", "it is retried again and again")
    assert pm2.exits() == ["code [2] via signal [SIGINT]"]
    assert pm2.app()["pm2_env"]["restart_time"] == 0
