"""One whole local stack: Postgres with the migrations, the data API, and the fakes.

The fakes stand in for Slack and the ad platforms.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from local.control import Control
from local.fakes import FAKES
from local.services import data_api, postgres
from local.services.keys import Keys
from local.services.node import ensure_installed
from local.services.readiness import announced_ports
from local.services.tether import Child, Tether

ROOT = Path(__file__).resolve().parent.parent
SEED = ROOT / "supabase" / "seed.sql"
BOT_TOKEN = "xoxb-local-1-sample"  # noqa: S105 - the fake's, as in workspace.json
START_SECONDS = 30.0

# Called with what is ready and the seconds that it took.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Running:
    """Addresses and keys of a running stack, as JSON values, so that another process can use it."""

    api_url: str
    slack_url: str
    meta_url: str
    google_url: str
    tiktok_url: str
    linkedin_url: str
    database_url: str
    maintenance_url: str
    database: str
    keys: Keys
    tether_pid: int

    def environment(self) -> dict[str, str]:
        """The environment variables that make the workers use this stack."""
        return {
            "SUPABASE_URL": self.api_url,
            "SUPABASE_SERVICE_ROLE_KEY": self.keys.secret,
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_API_URL": f"{self.slack_url}/api/",
            "META_GRAPH_URL": self.meta_url,
            "GOOGLE_ADS_URL": self.google_url,
            "GOOGLE_TOKEN_URL": f"{self.google_url}/token",
            "TIKTOK_API_URL": f"{self.tiktok_url}/open_api",
            "LINKEDIN_API_URL": f"{self.linkedin_url}/rest",
            "LINKEDIN_TOKEN_URL": f"{self.linkedin_url}/token",
        }

    @property
    def slack(self) -> Control:
        """The fake Slack, to control and inspect."""
        return Control(self.slack_url)

    @property
    def meta(self) -> Control:
        """The fake of Meta's Graph API."""
        return Control(self.meta_url)

    @property
    def google(self) -> Control:
        """The fake of Google Ads and Google's token endpoint."""
        return Control(self.google_url)

    @property
    def tiktok(self) -> Control:
        """The fake of TikTok's Business API."""
        return Control(self.tiktok_url)

    @property
    def linkedin(self) -> Control:
        """The fake of LinkedIn's Marketing API and its token endpoint."""
        return Control(self.linkedin_url)

    @property
    def ad_platforms(self) -> dict[str, Control]:
        """The fakes of the ad platforms, by the platforms' main names."""
        return {
            "meta": self.meta,
            "google_ads": self.google,
            "tiktok": self.tiktok,
            "linkedin": self.linkedin,
        }

    def reset(self) -> None:
        """Restore the sample data: recreate the database and reset the fakes."""
        postgres.drop_database(self.maintenance_url, self.database)
        postgres.create_database(self.maintenance_url, self.database, "sample")
        data_api.reload_schema(self.api_url)
        self.reset_fakes()

    def reset_fakes(self) -> None:
        """Reset only the fakes."""
        for fake in (self.slack, *self.ad_platforms.values()):
            fake.reset()

    def as_json(self) -> dict[str, Any]:
        """For `from_json`; it holds the keys."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Running:
        """The inverse of `as_json`. Raises TypeError for anything else."""
        return cls(**{**value, "keys": Keys(**value["keys"])})


class Stack:
    """Starts a stack and stops it: a context manager that gives a `Running`."""

    def __init__(self, *, seed: bool = True, progress: Progress | None = None) -> None:
        """`seed`: with the sample agency instead of empty tables."""
        self._seed = seed
        self._progress = progress or (lambda what, seconds: None)
        self._tether: Tether | None = None
        self._server: postgres.Postgres | None = None

    def __enter__(self) -> Running:
        node = ensure_installed()
        self._tether = Tether(postgres.server_directory())
        try:
            started = time.monotonic()
            server = self._server = postgres.start(self._tether)
            self._report(f"{data_api.description()}; Postgres 17", started)

            started = time.monotonic()
            sample = server.create_database("sample")
            postgres.bootstrap(sample)
            postgres.migrate(sample)
            if self._seed:
                postgres.apply_files(sample, [SEED])
            database_url = server.create_database("agency", template="sample")
            self._report("Migrations" + (" and the sample agency" if self._seed else ""), started)

            started = time.monotonic()
            keys = Keys.generate()
            fakes = _start_fakes(self._tether)  # they start while the data API does
            api_url, _ = data_api.start(self._tether, node, database_url, keys)
            slack_url, meta_url, google_url, tiktok_url, linkedin_url = _urls_of(fakes)
            self._report("Data API and the fakes", started)
        except BaseException:
            self._tether.close()
            raise
        return Running(
            api_url=api_url,
            slack_url=slack_url,
            meta_url=meta_url,
            google_url=google_url,
            tiktok_url=tiktok_url,
            linkedin_url=linkedin_url,
            database_url=database_url,
            maintenance_url=server.url(),
            database="agency",
            keys=keys,
            tether_pid=self._tether.pid,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._tether is not None:
            self._tether.close()

    @contextmanager
    def database_stopped(self) -> Iterator[None]:
        """Within the block the Postgres server is down, as `Postgres.stopped` says."""
        assert self._server is not None, "the stack is not running"
        with self._server.stopped():
            yield

    def _report(self, what: str, started: float) -> None:
        self._progress(what, time.monotonic() - started)


def _start_fakes(tether: Tether) -> Child:
    return tether.start(
        "fakes",
        [sys.executable, *(["-B"] if sys.dont_write_bytecode else []), "-m", "local.fakes"],
        env={"PATH": os.environ.get("PATH", os.defpath)},
        cwd=ROOT,
    )


def _urls_of(fakes: Child) -> list[str]:
    """Their base URLs, in the order of FAKES, once they take requests. Raises
    TetherError if they do not start."""
    ports = fakes.wait_until(lambda: announced_ports(fakes, len(FAKES)), START_SECONDS)
    return [f"http://127.0.0.1:{port}" for port in ports]
