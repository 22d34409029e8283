"""Sends all requests to the ad platforms: waits, retries, follows pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from http.client import HTTPException
from threading import Event, Lock, RLock
from typing import TypeVar

import requests
from requests.auth import AuthBase
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError, ProtocolError

from workers.clock import Clock
from workers.errors import (
    BrokenStreamError,
    ConnectionCredentialsError,
    ExpiredSignInError,
    GeneralError,
    MalformedAnswerError,
    PermanentError,
    RateLimitedError,
    SharedCredentialsError,
    TooMuchDataError,
    TransientError,
    UnknownError,
    WorkerError,
    unreachable_since,
)
from workers.metrics.facts import AdDay
from workers.metrics.platforms.protocol import (
    ADS,
    Account,
    Page,
    Platform,
    RawJson,
    Report,
    Request,
    Response,
    malformed,
    response_too_large,
)
from workers.metrics.platforms.sockets import answered_until, timely
from workers.metrics.windows import Window
from workers.redaction import remember

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 60.0
TRIES = 3
# Waits of minutes do not belong in a function billed by duration.
LONGEST_WAIT = 20.0
MOST_PAGES = 100_000
# The most that is read of any response, even of a stream, which holds one object at a time.
MOST_STREAMED = 256 << 20
_CHUNK = 1 << 16

T = TypeVar("T")

# One per platform and container; it keeps connections open.
Session = requests.Session


class OutOfTime(Exception):
    """The deadline passed before the work was done."""


class _Pages:
    """Ensures that the pages of a window have each row once, and as many rows as they announce,
    where they do.

    When rows are added or removed meanwhile, others shift between pages: a row is then returned
    twice, or never.
    """

    def __init__(self) -> None:
        self._total: int | None = None
        self._count = 0
        self._seen: dict[tuple[date, str, str, str], int] = {}

    def take(self, page: Page) -> Page:
        """The page without rows that were returned before.

        Raises BrokenStreamError when it does not match the pages before it, MalformedAnswerError
        where two different rows have the same key.
        """
        if self._count and self._total != page.total:
            raise _shifted()
        self._total = page.total
        self._count += len(page.rows)
        rows = [row for row in page.rows if self._is_new(row)]
        return page if len(rows) == len(page.rows) else replace(page, rows=rows)

    def end(self) -> None:
        """Raises BrokenStreamError when there were not as many rows as announced."""
        if self._total is not None and self._count != self._total:
            raise _shifted()

    def _is_new(self, row: AdDay) -> bool:
        key, content = row.key, hash((*row.measures.items(), row.currency))
        if key not in self._seen:
            self._seen[key] = content
            return True
        if self._seen[key] != content:
            raise malformed(
                f"two different rows are of ad {row.ad_id!r:.40} in ad group "
                f"{row.ad_group_id!r:.40} on {row.day}"
            )
        return False


def _shifted() -> BrokenStreamError:
    return BrokenStreamError(
        "rows shifted between pages while they were being read", code="pages_moved"
    )


class _Headers(AuthBase):
    """The request's own headers as its authentication, which keeps the library from replacing
    them with an entry of ~/.netrc."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers.update(self._headers)
        return prepared


class GivenUp(Exception):
    """The result is no longer wanted."""


class Reader:
    """Reads one connection's account and reports, until `deadline` (of `clock`, in seconds).

    Several threads may read at once: they sign in once, wait together where the platform asks for
    it, and stop sending once the platform has refused one of them.
    """

    def __init__(
        self,
        platform: Platform,
        session: Session,
        clock: Clock,
        deadline: float,
        random_fraction: Callable[[], float],
    ) -> None:
        self._platform = platform
        self._session = timely(session)
        self._clock = clock
        self._deadline = deadline
        self._random = random_fraction
        # held while a thread waits or signs in, so that all threads wait
        self._gate = RLock()
        self._counting = Lock()
        self._limit_near: RateLimitedError | None = None
        remember(platform.secrets)
        self._refusal: WorkerError | None = None
        self._sign_ins = 0
        # how many requests were sent, for the log
        self.requests = 0
        # what the platform says about the version in use, for the log
        self.version_warning: str | None = None

    @property
    def reports(self) -> tuple[Report, ...]:
        """What a window consists of."""
        return self._platform.reports

    def account(self) -> Account:
        """Signs in where needed. Raises the workers' errors, and OutOfTime."""
        return self._ask(self._platform.ask_account, self._platform.read_account)

    def fetch_json(self, build: Callable[[], Request]) -> RawJson:
        """The JSON of any request's response, for checks."""
        return self._ask(build, lambda response: json.loads(response.body()))

    def pages(
        self,
        window: Window,
        page_size: int,
        given_up: Event | None = None,
        report: Report = ADS,
    ) -> Iterator[Page]:
        """All pages of a window's report, in the platform's order.

        Raises BrokenStreamError where a response takes too long, breaks off after its first page
        or does not match those before it, the workers' errors for what the platform refuses,
        OutOfTime, and GivenUp once `given_up` is set. The window is complete only when the iterator
        ends.
        """
        seen: set[str] = set()
        cursor: str | None = None
        whole = _Pages()
        for _ in range(MOST_PAGES):
            for page in self._pages_of_one_answer(report, window, page_size, cursor):
                if given_up is not None and given_up.is_set():
                    raise GivenUp
                yield whole.take(page)
            cursor = page.cursor
            if cursor is None:
                whole.end()
                return
            if cursor in seen:
                raise malformed("the same cursor came twice: the pages would never end")
            seen.add(cursor)
        raise malformed(f"more than {MOST_PAGES} pages")

    def _pages_of_one_answer(
        self, report: Report, window: Window, page_size: int, cursor: str | None
    ) -> Iterator[Page]:
        def first(response: Response) -> tuple[Page, Iterator[Page]]:
            rest = self._platform.read_pages(response, window, cursor, report.name)
            return next(rest, Page([])), rest

        try:
            page, rest = self._ask(
                lambda: self._platform.ask_page(window, page_size, cursor, report.name),
                first,
                keep_open=True,
            )
        except (RateLimitedError, ConnectionCredentialsError, SharedCredentialsError) as error:
            # it applies to every window, so the other threads stop as well
            self._refusal = self._refusal or error
            raise
        except MalformedAnswerError:
            raise
        except PermanentError as error:
            if cursor is None:
                raise
            # the first page was granted: only the continuation is refused
            raise BrokenStreamError(str(error), code=error.code) from None
        yield page
        try:
            for page in rest:
                self._heed_deadline()
                yield page
        except TransientError as error:
            raise BrokenStreamError(str(error), code=error.code) from None

    def _ask(
        self,
        build: Callable[[], Request],
        read: Callable[[Response], T],
        *,
        keep_open: bool = False,
    ) -> T:
        """`_try` with a sign-in before it where one is needed, and again where it expired."""
        signed_in = self._sign_in(0)
        try:
            return self._try(build, read, keep_open=keep_open)
        except ExpiredSignInError:
            if self._platform.sign_in() is None:
                raise
        self._sign_in(signed_in)
        return self._try(build, read, keep_open=keep_open)

    def _sign_in(self, known: int) -> int:
        """Signs in unless another thread has since the `known` count; returns the new count."""
        with self._gate:
            if self._sign_ins == known:
                request = self._platform.sign_in()
                if request is not None:
                    self._try(lambda: request, self._platform.signed_in)
                    remember(self._platform.secrets)
                self._sign_ins += 1
            return self._sign_ins

    def _try(
        self,
        build: Callable[[], Request],
        read: Callable[[Response], T],
        *,
        keep_open: bool = False,
    ) -> T:
        """Sends what `build` makes until `read` accepts the response, or no further try helps."""
        for failed in range(1, TRIES):
            self._heed_limits()
            try:
                return self._send(build(), read, keep_open=keep_open)
            except RateLimitedError as error:
                with self._gate:
                    self._wait(error.retry_after, error)
            except BrokenStreamError:
                raise
            except TransientError as error:
                self._wait(2.0**failed * (0.5 + self._random() / 2), error)
        self._heed_limits()
        return self._send(build(), read, keep_open=keep_open)

    def _send(self, request: Request, read: Callable[[Response], T], *, keep_open: bool) -> T:
        with self._counting:
            self.requests += 1
        left = max(1.0, self._deadline - self._clock.now())
        try:
            with answered_until(left):
                sent = self._session.request(
                    request.method,
                    request.url,
                    params=dict(request.params),
                    data=request.form,
                    json=request.json,
                    auth=_Headers(request.headers),
                    timeout=(min(CONNECT_TIMEOUT, left), min(READ_TIMEOUT, left)),
                    allow_redirects=False,  # a redirect would take the token along
                    stream=True,
                )
        except requests.ReadTimeout:
            self._heed_stop()
            raise BrokenStreamError(
                f"{self._platform.name} took too long to answer", code="ReadTimeout"
            ) from None
        except (requests.RequestException, HTTPException, HTTPError, OSError, ValueError) as error:
            self._heed_stop()
            raise _unsent(error) from None
        response = Response(sent.status_code, sent.headers, self._chunks(sent.raw))
        with ExitStack() as until_read:
            until_read.callback(sent.close)
            result = self._take(response, read)
            if keep_open:  # there is more to read; reading to its end frees the connection
                until_read.pop_all()
            return result

    def _take(self, response: Response, read: Callable[[Response], T]) -> T:
        self._limit_near = self._platform.usage(response.headers) or self._limit_near
        self.version_warning = (
            self._platform.version_warning(response.headers) or self.version_warning
        )
        if 300 <= response.status < 400:
            raise UnknownError(
                f"{self._platform.name} answered with a redirect, which is not followed",
                code=f"http_{response.status}",
            )
        if 200 <= response.status < 300:
            return read(response)
        try:
            refusal = self._platform.classify(response)
        except TooMuchDataError:  # an endless page says no more than its status
            refusal = self._platform.classify(Response(response.status, response.headers, iter(())))
        raise refusal

    def _heed_limits(self) -> None:
        """Before a request: the deadline, a refusal that another thread met, and limits that the
        last responses said are near."""
        with self._gate:
            self._heed_deadline()
            if self._refusal is not None:
                raise self._refusal
            if self._limit_near is not None:
                near, self._limit_near = self._limit_near, None
                self._wait(near.retry_after, near)

    def _chunks(self, body: HTTPResponse) -> Iterator[bytes]:
        """The body as it arrives: the socket's timeout applies to each read, so that a trickling
        body could take any time. Raises OutOfTime, GeneralError where it breaks off,
        TooMuchDataError for an endless one."""
        size = 0
        try:
            # what has arrived, instead of waiting for a whole chunk
            while chunk := body.read1(_CHUNK, decode_content=True):
                size += len(chunk)
                if size > MOST_STREAMED:
                    raise response_too_large(MOST_STREAMED)
                yield chunk
                self._heed_deadline()
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            self._heed_stop()
            raise _unreachable(error) from None
        self._heed_stop()

    def _heed_deadline(self) -> None:
        if self._clock.now() >= min(self._deadline, self._clock.stop_at):
            raise OutOfTime

    def _heed_stop(self) -> None:
        """A response that was interrupted by the clock says nothing about the platform."""
        if self._clock.now() >= self._clock.stop_at:
            raise OutOfTime from None

    def _wait(self, seconds: float, error: WorkerError) -> None:
        """Raises `error` where the wait is too long for this run."""
        left = self._deadline - self._clock.now()
        if seconds > min(LONGEST_WAIT, left / 4):
            raise error
        self._clock.sleep(seconds)


def _unsent(error: Exception) -> WorkerError:
    """A request that the library refuses never succeeds; its text may quote a header, and so the
    token."""
    if isinstance(error, ValueError):  # of an address, a header or a body
        kind = type(error).__name__
        return PermanentError(f"the request cannot be sent: {kind}", code=kind)
    return _unreachable(error)


def _unreachable(error: Exception) -> TransientError:
    """A connection that ends before the response does may have been asked for too much; one that
    was never established was not."""
    # only its kind: its text holds the URL
    kind = type(error).__name__
    said = f"the platform could not be reached: {unreachable_since(error)}"
    cause = error.args[0] if error.args else None
    if isinstance(error, HTTPError | HTTPException) or isinstance(cause, ProtocolError):
        return GeneralError(said, code=kind)
    return TransientError(said, code=kind)
