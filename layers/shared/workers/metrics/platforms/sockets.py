"""Connections on which a response's status line and headers have one deadline together.

A socket's timeout applies to each read. What requests and urllib3 read themselves (the status line
and the headers) could take any time if it arrives byte by byte; the body is read piece by piece by
`fetching.Reader`, which checks the clock in between.
"""

from __future__ import annotations

import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from types import MappingProxyType
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_limits = threading.local()
# Of connections in use or kept open, for `interrupt_reads`.
_open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
_open_lock = threading.Lock()
_NO_LIMIT: Final = float("inf")


@contextmanager
def answered_until(seconds: float) -> Iterator[None]:
    """Within the block, in this thread: headers that are not complete that many seconds from now
    end in a timeout."""
    _limits.until = time.monotonic() + seconds
    try:
        yield
    finally:
        _limits.until = _NO_LIMIT


def timely(session: requests.Session) -> requests.Session:
    """The session, with connections that respect `answered_until`."""
    for scheme, adapter in list(session.adapters.items()):
        if not isinstance(adapter, _Adapter):
            session.mount(scheme, _Adapter())
    return session


def interrupt_reads() -> None:
    """End every read in progress, for a process that is asked to end: a response may take a minute.
    The reader finds the connection closed."""
    with _open_lock:
        sockets = list(_open)
    for each in sockets:
        with suppress(OSError):  # closed meanwhile
            # the plain socket's: TLS's own would drop its state while another thread reads
            socket.socket.shutdown(each, socket.SHUT_RDWR)


class _Received(RawIOBase):
    """The bytes that a socket receives; those of the headers not after the limit."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # as in http.client: the socket closes once both it and its file are closed
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        left = getattr(_limits, "until", _NO_LIMIT) - time.monotonic()
        if left <= 0:
            raise TimeoutError("the response's headers take too long")
        wait = self._sock.gettimeout()
        if wait is not None and left < wait:
            self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Socket:
    """What http.client needs of a socket for a response: the socket as a file."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> BufferedReader:
        return BufferedReader(_Received(self._sock))


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(_Socket(sock), *arguments, **named)  # type: ignore[arg-type]


def _remember(sock: socket.socket | None) -> None:
    if sock is not None:
        with _open_lock:
            _open.add(sock)


class _Connection(HTTPConnection):
    response_class = _Response

    def connect(self) -> None:
        super().connect()
        _remember(self.sock)


class _SecureConnection(HTTPSConnection):
    response_class = _Response

    def connect(self) -> None:
        super().connect()
        _remember(self.sock)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS: Mapping[str, type] = MappingProxyType({"http": _Pool, "https": _SecurePool})


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        _use_pools(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **named: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(*arguments, **named)
        _use_pools(manager)
        return manager


def _use_pools(manager: PoolManager) -> None:
    """As urllib3 documents it:
    https://urllib3.readthedocs.io/en/stable/reference/urllib3.poolmanager.html"""
    manager.pool_classes_by_scheme = dict(_POOLS)
