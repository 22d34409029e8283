"""moto's S3 behind a real HTTP server, so that it has faults, outlives a killed process, and is
found by any process through AWS_ENDPOINT_URL_S3."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import boto3
from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from botocore.config import Config
from moto.core.botocore_stubber import BotocoreStubber
from moto.s3.models import s3_backends

from local.faults import Fault
from local.http_server import HttpServer
from local.wire import Request, Response

REGION = "eu-west-1"
ACCOUNT = "123456789012"
# What boto3 needs to have; moto looks at none of it.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
# Of the answer's own headers these are the server's to write.
_HOP_HEADERS = frozenset({"content-length", "connection", "transfer-encoding", "date"})

Spoil = Callable[[Request, bytes], bytes]


class MotoS3:
    """The application behind an HttpServer. `spoil` may change the bodies that it answers."""

    service = "s3"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moto = BotocoreStubber()
        self.spoil: Spoil = lambda request, body: body
        self.reset()

    def handle(self, request: Request) -> Response:
        """Answer one call as moto does."""
        headers = HTTPHeaders()
        host = f"{self.service}.{REGION}.amazonaws.com"
        for name, value in request.headers.items():
            headers[name] = host if name == "host" else value
        url = f"https://{host}{request.target}"
        call = AWSPreparedRequest(request.method, url, headers, request.body, stream_output=False)
        with self._lock:
            answer = self._moto.process_request(call)
        assert answer is not None
        status, answered, body = answer
        raw = self.spoil(request, body.encode() if isinstance(body, str) else bytes(body))
        kept = {name: str(answered[name]) for name in answered if name.lower() not in _HOP_HEADERS}
        return Response(int(status), raw, kept)

    def settings(self) -> dict[str, Any]:
        """There are none."""
        return {}

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Raises ValueError: there is nothing to set."""
        if settings:
            raise ValueError(f"unknown settings: {', '.join(settings)}")

    def state(self) -> Any:
        """The keys of each bucket."""
        buckets = s3_backends[ACCOUNT]["aws"].buckets
        return {name: sorted(bucket.keys) for name, bucket in buckets.items()}

    def replace_state(self, state: Any) -> None:
        """Raises ValueError: objects are written as to S3."""
        raise ValueError("objects are written as to S3")

    def backdate(self, bucket: str, age: timedelta) -> None:
        """Makes everything in the bucket older by that much."""
        for key in s3_backends[ACCOUNT]["aws"].buckets[bucket].keys.values():
            key.last_modified -= age

    def reset(self) -> None:
        """No bucket at all."""
        with self._lock:
            s3_backends[ACCOUNT]["aws"].reset()
        self.spoil = lambda request, body: body

    def close(self) -> None:
        """Nothing is held."""


def client(server: HttpServer) -> Any:
    """A client of the test's own, which knows no retries."""
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}),
    )


def path_of(bucket: str, key: str) -> str:
    """The path of a request for that object."""
    return f"/{bucket}/{quote(key)}"


def s3_error(code: str, status: int, **rest: Any) -> Fault:
    """An answer of S3's with that code."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>of the test</Message></Error>"
    kind = {"Content-Type": "application/xml"}
    return Fault("answer", status=status, body=body, headers=kind, **{"times": None, **rest})
