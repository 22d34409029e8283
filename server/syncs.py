"""What SQS and Lambda do between the plan and the syncs: in this process, several side by side."""

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
    """An `Outbox` whose sync requests are worked off here. Safe for threads."""

    def __init__(self, sync: Callable[[str], None]) -> None:
        """`sync` takes a request's body, and raises where it is to be planned again."""
        self._sync = sync
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._size = 0
        self._waiting: dict[str, Future[None]] = {}
        self._failed: set[str] = set()

    def of(self, concurrency: int) -> SyncPool:
        """Itself, with so many syncs side by side from now on."""
        with self._lock:
            if concurrency != self._size:
                if self._threads is not None:  # what it has, it finishes
                    self._threads.shutdown(wait=False)
                self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="sync")
                self._size = concurrency
        return self

    def send(self, bodies: Sequence[str]) -> list[int]:
        """Takes all of them."""
        with self._lock:
            for body in bodies:
                token = SyncRequest.from_body(body).token
                assert self._threads is not None  # noqa: S101 - see `of`
                self._waiting[token] = self._threads.submit(self._work, token, body)
        return []

    @property
    def has_failed(self) -> bool:
        """Whether accounts are to be given back."""
        with self._lock:
            return bool(self._failed)

    def wait(self) -> None:
        """Until all that was sent is done."""
        with self._lock:
            under_way = list(self._waiting.values())
        wait(under_way)

    def give_back_failed(self) -> None:
        """Frees the accounts whose syncs ended with an error of our own side: the plan that follows
        takes them again."""
        with self._lock:
            tokens = sorted(self._failed)
        if tokens:
            self._drop(tokens)

    def give_back(self) -> None:
        """Frees the accounts whose syncs have not begun, for whoever plans next."""
        with self._lock:
            tokens = [token for token, one in self._waiting.items() if one.cancel()]
            self._failed.update(tokens)
            for token in tokens:
                del self._waiting[token]
        self.give_back_failed()

    def _work(self, token: str, body: str) -> None:
        try:
            self._sync(body)
        except Exception:  # noqa: BLE001 - it is in the log, and the next plan takes it up
            with self._lock:
                self._failed.add(token)
        finally:
            with self._lock:
                self._waiting.pop(token, None)

    def _drop(self, tokens: list[str]) -> None:
        try:
            database().call("drop_metric_plans", tokens=tokens)
        except WorkerError as error:  # the next plan tries again, or their leases run out
            logger.warning(
                "Planned syncs could not be given back", extra={"error": redact(str(error))}
            )
        else:
            with self._lock:
                self._failed.difference_update(tokens)
