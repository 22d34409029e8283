"""All the fakes of a stack in one process: `python -m local.fakes`.

A single one: `python -m local.fakes.<name>`.
"""

from __future__ import annotations

from importlib import import_module

from local.fakes import FAKES
from local.http_server import HttpServer, serve_forever


def _fake(name: str) -> HttpServer:
    made: HttpServer = getattr(import_module(f"local.fakes.{name}"), f"fake_{name}")()
    return made


if __name__ == "__main__":
    serve_forever(*map(_fake, FAKES))
