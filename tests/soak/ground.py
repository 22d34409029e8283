"""What all rounds use: a data API, fakes, and addresses where nothing answers."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from local.fakes.google_ads import fake_google_ads
from local.fakes.linkedin import fake_linkedin
from local.fakes.meta import fake_meta
from local.fakes.sqs import FakeSqs
from local.fakes.tiktok import fake_tiktok
from local.http_server import HttpServer
from tests.conftest import Api
from tests.integration.moto_s3 import MotoS3
from tests.metrics.world import SECRETS
from tests.notifications.world import TOKEN
from tests.soak.tally import Tally

# For one in this many processes nothing listens at the address that it calls; for as many the host
# name is unknown. No name under .invalid exists: https://www.rfc-editor.org/rfc/rfc6761
LOST_ONE_IN = 15
UNKNOWN_URL = "http://nowhere.invalid"
# Seconds after its first step at which a process is killed, whatever it is doing.
SHORTEST_SECONDS, LONGEST_SECONDS = 0.0, 5.0


@dataclass(frozen=True)
class Ground:
    """Shared by all rounds; each round empties what it uses."""

    api: Api
    platforms: dict[str, HttpServer]
    sqs: HttpServer
    s3: HttpServer
    closed_url: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no worker may log."""
        return (TOKEN, self.api.keys.secret, *SECRETS)

    def reached(self, url: str, rng: random.Random, tally: Tally) -> str:
        """The URL, or sometimes one that refuses connections or whose host name is unknown."""
        match rng.randrange(LOST_ONE_IN):
            case 0:
                tally.add("faults struck", "refused")
                return self.closed_url
            case 1:
                tally.add("faults struck", "DNS failure")
                return UNKNOWN_URL
        return url

    def patience(self, rng: random.Random) -> float:
        """How many seconds after its first step a process is killed."""
        return rng.uniform(SHORTEST_SECONDS, LONGEST_SECONDS)


@contextmanager
def ground_over(api: Api) -> Iterator[Ground]:
    """The ground over a data API that has the migrations' tables."""
    with ExitStack() as held:
        platforms = {
            "meta": held.enter_context(fake_meta()),
            "google": held.enter_context(fake_google_ads()),
            "tiktok": held.enter_context(fake_tiktok()),
            "linkedin": held.enter_context(fake_linkedin()),
        }
        sqs = held.enter_context(HttpServer(FakeSqs()))
        s3 = held.enter_context(HttpServer(MotoS3()))
        # bound, so that no other process takes the port, but not listening
        closed = held.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        yield Ground(api, platforms, sqs, s3, f"http://127.0.0.1:{closed.getsockname()[1]}")
