"""In place of SQS and Lambda between the plan and the syncs: a thread pool in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from workers.composition.container import database
from workers.errors import WorkerError
from workers.metrics.sync_requests import SyncRequest
from workers.redaction import redact
from workers.telemetry import logger


class SyncPool:
    """An `Outbox` whose sync requests are processed here. Thread-safe."""

    def __init__(self, sync: Callable[[str], None]) -> None:
        """`sync` takes a request's body, and raises when the account has to be planned again."""
        self._sync = sync
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._size = 0
        self._waiting: dict[str, Future[None]] = {}
        self._failed: set[str] = set()

    def resized(self, concurrency: int) -> SyncPool:
        """Itself, with this many syncs at a time from now on."""
        with self._lock:
            if concurrency != self._size:
                if self._threads is not None:  # it finishes what it has
                    self._threads.shutdown(wait=False)
                self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="sync")
                self._size = concurrency
        return self

    def send(self, bodies: Sequence[str]) -> list[int]:
        """Accepts all of them."""
        with self._lock:
            for body in bodies:
                token = SyncRequest.from_body(body).token
                assert self._threads is not None  # noqa: S101 - see `resized`
                self._waiting[token] = self._threads.submit(self._work, token, body)
        return []

    @property
    def has_failed(self) -> bool:
        """Whether there are accounts to release."""
        with self._lock:
            return bool(self._failed)

    def wait(self) -> None:
        """Wait until all that was sent is done."""
        with self._lock:
            pending = list(self._waiting.values())
        wait(pending)

    def release_failed(self) -> None:
        """Release the accounts whose syncs failed on our side: the next plan takes them again."""
        with self._lock:
            tokens = sorted(self._failed)
        if tokens:
            self._drop(tokens)

    def release_waiting(self) -> None:
        """Release the accounts whose syncs have not started, for the next plan of any process."""
        with self._lock:
            tokens = [token for token, one in self._waiting.items() if one.cancel()]
            self._failed.update(tokens)
            for token in tokens:
                del self._waiting[token]
        self.release_failed()

    def _work(self, token: str, body: str) -> None:
        try:
            self._sync(body)
        except Exception:  # noqa: BLE001 - it is logged, and the next plan takes the account again
            with self._lock:
                self._failed.add(token)
        finally:
            with self._lock:
                self._waiting.pop(token, None)

    def _drop(self, tokens: list[str]) -> None:
        try:
            database().call("drop_metric_plans", tokens=tokens)
        except WorkerError as error:  # the next plan tries again, or their leases expire
            logger.warning(
                "Planned syncs could not be released", extra={"error": redact(str(error))}
            )
        else:
            with self._lock:
                self._failed.difference_update(tokens)
