"""A stand-in for PostgREST, for the tests of what starts it: `test_data_api_postgrest.py`.

It accepts PostgREST's settings, writes them and its process id to files next to it, and answers
GET / and calls of functions without arguments. Like PostgREST, it answers 503 until it has read the
functions, and reads new ones some time after a notice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
from psycopg import sql

URI = os.environ.get("PGRST_DB_URI", "")
known: list[set[str]] = []  # the newest last


def learn() -> None:
    """Read the names of the functions, and re-read them after each notice, whatever happens."""
    while True:
        try:
            with psycopg.connect(URI, autocommit=True) as connection:
                connection.execute("listen pgrst")
                known.append(names(connection))
                while True:
                    list(connection.notifies(stop_after=1))
                    time.sleep(0.1)
                    known.append(names(connection))
        except psycopg.Error:
            time.sleep(0.05)


def names(connection: psycopg.Connection[tuple[str]]) -> set[str]:
    query = "select proname from pg_proc where pronamespace = 'public'::regnamespace"
    return {name for (name,) in connection.execute(query)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not known:
            self.answer(503, {"code": "PGRST002"})
        elif self.path == "/":
            self.answer(200, {"swagger": "2.0"})
        else:
            self.answer(404, {"code": "PGRST125"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        name = self.path.removeprefix("/rpc/")
        role = self.role()
        if role is None:
            self.answer(401, {"code": "PGRST301"})
        elif not known or name not in known[-1]:
            self.answer(404, {"code": "PGRST202"})
        else:
            with psycopg.connect(URI) as connection:
                connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
                call = sql.SQL("select to_json(public.{}())").format(sql.Identifier(name))
                self.answer(200, connection.execute(call).fetchone()[0])  # type: ignore[index]

    def role(self) -> str | None:
        """The token's role, if it is signed."""
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        signed, _, signature = token.rpartition(".")
        secret = os.environ["PGRST_JWT_SECRET"].encode()
        wanted = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        if signature != base64.urlsafe_b64encode(wanted).rstrip(b"=").decode():
            return None
        payload = signed.partition(".")[2]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["role"])

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write("PostgREST 99.1\n")
        return
    here = Path(__file__).resolve().parent
    if (here / "refuses").exists():
        sys.exit("something is wrong with the settings")
    settings = {name: value for name, value in os.environ.items() if name.startswith("PGRST_")}
    (here / "settings.json").write_text(json.dumps(settings))
    (here / "pid").write_text(str(os.getpid()))
    threading.Thread(target=learn, daemon=True).start()
    address = (os.environ["PGRST_SERVER_HOST"], int(os.environ["PGRST_SERVER_PORT"]))
    ThreadingHTTPServer(address, Handler).serve_forever()


if __name__ == "__main__":
    main()
