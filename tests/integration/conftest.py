from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.fakes.slack import fake_slack
from local.http_server import HttpServer
from tests.conftest import LocalStack
from tests.integration.archive_bucket import BUCKET, Bucket
from tests.integration.examination import Examine
from tests.integration.moto_s3 import CREDENTIALS, REGION, MotoS3, client
from tests.integration.processes import temporary_directory
from tests.integration.slack_caller import Caller
from tests.integration.slack_peer import OK, Canned, Peer
from workers.composition.container import forget_clients
from workers.operate.__main__ import main


@pytest.fixture
def scratch() -> Iterator[Path]:
    """For the temporary files of processes that a test starts."""
    with temporary_directory() as directory:
        yield directory


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, which every client for S3 finds."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with HttpServer(MotoS3()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        s3 = client(server)
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        server.journal.clear()
        yield Bucket(server, s3)


@pytest.fixture
def slack() -> Iterator[Caller]:
    """The fake for Slack with the sample workspace."""
    with fake_slack() as server:
        yield Caller(server.url)


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A server in Slack's place that confirms each post."""
    app = Canned()
    with HttpServer(app) as server:
        peer = Peer(server, app)
        peer.answers("chat.postMessage", OK)
        yield peer


@pytest.fixture
def examine(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Examine]:
    """Runs the doctor with some settings changed: exit status, and findings by section."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **changed: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
        for name, value in {**stack.environment(), **changed}.items():
            monkeypatch.setenv(name, value)
        out = io.StringIO()
        status = main(["doctor", "--json", *arguments], out)
        shown = json.loads(out.getvalue())
        for secret in (stack.running.keys.secret, "xoxb-local", "EAALOCAL", "1//local", "GOCSPX"):
            assert secret not in out.getvalue()
        return status, {one["section"]: one["findings"] for one in shown["sections"]}

    yield run
    forget_clients()
