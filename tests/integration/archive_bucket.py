"""A bucket on moto's S3 for the cold archive, and activity lines to store in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from local.faults import Fault
from local.http_server import HttpServer
from tests.integration.moto_s3 import MotoS3
from workers.retention.archive import ColdArchive

BUCKET = "agency-archive"
DAY = date(2025, 3, 11)
NEXT_DAY = DAY + timedelta(days=1)


@dataclass
class Bucket:
    """The bucket, bypassing the archive: its contents, and failures on the way to it."""

    server: HttpServer
    s3: Any

    @property
    def app(self) -> MotoS3:
        assert isinstance(self.server.app, MotoS3)
        return self.server.app

    def archive(self) -> ColdArchive:
        """As a new process has it."""
        return ColdArchive(BUCKET)

    def keys(self) -> list[str]:
        return list(self.app.state()[BUCKET])

    def objects(self) -> list[str]:
        return [key for key in self.keys() if key.endswith(".jsonl.gz")]

    def manifests(self) -> list[str]:
        return [key for key in self.keys() if key.endswith(".manifest.json")]

    def body(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=BUCKET, Key=key)

    def fails(self, fault: Fault) -> None:
        self.server.faults.add(fault)

    def calls(self, method: str) -> int:
        return sum(one["method"] == method for one in self.server.journal.listing())

    def all_lines(self) -> list[str]:
        chunks = self.archive().read(date.min, date.max)
        return [line for chunk in chunks for line in chunk.lines]


def lines(count: int, day: date = DAY, start: int = 0) -> list[str]:
    return [
        json.dumps(
            {
                "id": str(UUID(int=number)),
                "created_at": f"{day}T{number // 60:02}:{number % 60:02}:00+00:00",
                "details": {"number": number},
            }
        )
        for number in range(start, start + count)
    ]
