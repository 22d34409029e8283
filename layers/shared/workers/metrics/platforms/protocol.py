"""What the workers need of an ad platform: building requests, reading responses, naming errors.

A platform's file depends on no HTTP library, clock or database; `fetching.Reader` sends what it
builds. To add a platform: write its file, add a line to `PLATFORMS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Literal, Protocol, Self

from workers.answers import Answer as SqlAnswer
from workers.credentials import flaw_of
from workers.errors import (
    ConnectionCredentialsError,
    MalformedAnswerError,
    RateLimitedError,
    TooMuchDataError,
    WorkerError,
)
from workers.findings import Finding
from workers.metrics.facts import AdDay, Kind, Level
from workers.metrics.windows import Window
from workers.redaction import remember
from workers.settings import Settings

# Invisible characters that people paste along: whitespace and controls of any kind, zero-width
# marks. The database's ad_ids_in ignores the same.
_UNSEEN = (
    "\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb"
)
_ANY_UNSEEN = re.compile(f"[{_UNSEEN}]+")
_UNSEEN_AROUND = re.compile(f"^[{_UNSEEN}]+|[{_UNSEEN}]+$")
# The texts among credentials that are public.
_NO_SECRETS = re.compile(r".*_id|scopes?|token_type|currency|time_?zone|(account_)?name|email")

# The largest response that is held as a whole: a few times the size of the longest one, and small
# enough for a function's memory to hold it next to its objects.
MOST_BYTES = 32 << 20


@dataclass(frozen=True)
class Connection:
    """A row of platform_connections, as far as a sync needs it."""

    id: str
    platform: str
    account_id: str
    account_name: str | None
    credentials: Mapping[str, object] = field(repr=False)

    def __post_init__(self) -> None:
        remember(self.secrets)

    @classmethod
    def from_answer(cls, row: SqlAnswer) -> Connection:
        """Takes the row as an SQL function returns it; credentials that are not a JSON object
        count as none."""
        credentials = row.json("credentials")
        return cls(
            id=row.text("id"),
            platform=row.text("platform"),
            account_id=row.optional_text("account_id") or "",
            account_name=row.optional_text("account_name"),
            credentials=credentials if isinstance(credentials, dict) else {},
        )

    def credential(self, name: str) -> str:
        """Raises ConnectionCredentialsError when it is missing or empty."""
        value = self.optional_credential(name)
        if value is None:
            raise ConnectionCredentialsError(
                f"the connection's credentials lack {name}", code="credentials_incomplete"
            )
        return value

    def optional_credential(self, name: str) -> str | None:
        """Its text without invisible characters around it; None when missing or empty. Raises
        ConnectionCredentialsError when it has what no credential has: it is never sent then."""
        value = self._text(name)
        flaw = flaw_of(value)
        if flaw is not None:
            raise ConnectionCredentialsError(
                f"{name} of the connection's credentials {flaw}", code="credentials_malformed"
            )
        return value or None

    def optional_account(self, name: str, prefix: str) -> str:
        """The digits of an account id among the credentials; empty when missing. Raises
        ConnectionCredentialsError when it is not one."""
        value = self._text(name)
        digits = account_digits(value, prefix)
        if value and not digits:
            raise ConnectionCredentialsError(
                f"{name} {value!r:.60} in the connection's credentials is malformed: it must be "
                "the digits of an account id, or be left out",
                code=f"malformed_{name}",
            )
        return digits

    def _text(self, name: str) -> str:
        value = self.credentials.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int):
            return ""
        return _UNSEEN_AROUND.sub("", str(value))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts among the credentials that are not public, for redaction: as stored, and as
        they are sent."""
        stored = [
            value
            for name, value in self.credentials.items()
            if isinstance(value, str) and not _NO_SECRETS.fullmatch(name)
        ]
        return (*stored, *(_UNSEEN_AROUND.sub("", value) for value in stored))


def account_digits(text: str, prefix: str) -> str:
    """The digits of an account id as people paste it: with the platform's `prefix` (`act_`, a
    URN, a resource name) or without, in quotes, with dashes and spaces. Empty for anything else."""
    plain = _ANY_UNSEEN.sub("", text).strip("\"'").removeprefix(prefix)
    plain = re.sub(r"[-\u2010-\u2015]", "", plain)
    return plain if re.fullmatch(r"[0-9]+", plain) else ""


@dataclass(frozen=True)
class Request:
    """One HTTP request. Headers and body, which hold secrets, are hidden from its repr.

    `params` are percent-encoded as forms are. A query that must be encoded differently is part of
    `url`, which is sent unchanged.
    """

    method: Literal["GET", "POST"]
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    json: Mapping[str, object] | None = field(default=None, repr=False)


# JSON of a response, and an object of it, before its platform's file reads them into rows.
RawJson = Any
RawObject = Mapping[str, RawJson]


@dataclass(frozen=True)
class Response:
    """One HTTP response; `headers` is case-insensitive, `chunks` yields the body once."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]

    def body(self) -> bytes:
        """All of the body. Raises TooMuchDataError when it is more than MOST_BYTES."""
        parts: list[bytes] = []
        size = 0
        for chunk in self.chunks:
            parts.append(chunk)
            size += len(chunk)
            if size > MOST_BYTES:
                raise response_too_large(MOST_BYTES)
        return b"".join(parts)


@dataclass(frozen=True)
class Account:
    """An ad account; days are in its `time_zone`, money is in its `currency`."""

    id: str
    name: str
    currency: str
    time_zone: str


@dataclass(frozen=True)
class Report:
    """One of the reports that a window consists of; `kinds` are those of its rows.

    A row of kind campaign is the whole of that campaign and is read before those of its ads and
    asset groups, so that what these spend in between does not look like a missing part. `is_total`:
    it has no rows, but what the account spent altogether, and may fail. `is_in_total`: that sum
    includes its rows. `may_be_refused`: a token may lack access to it; the window is then read
    without it.
    """

    name: str
    kinds: frozenset[Kind] = frozenset({"ad"})
    is_total: bool = False
    is_in_total: bool = True
    may_be_refused: bool = False


ADS = Report("ads")
TOTAL = Report("total", kinds=frozenset(), is_total=True)


@dataclass(frozen=True)
class Page:
    """Rows, and the cursor of the next page: None where there is none, or where more of the same
    response follows.

    `total` is how many rows the report has on all its pages, where the platform says so. The reader
    checks the pages against it, so that none is lost or returned twice. `spent` is what the account
    spent altogether, by day, in a report of totals.
    """

    rows: Sequence[AdDay]
    cursor: str | None = None
    total: int | None = None
    spent: Mapping[date, Decimal] = field(default_factory=dict)


# Sends what a builder builds, after signing in, and returns its JSON; raises the workers' errors.
Ask = Callable[[Callable[[], Request]], RawJson]


class Platform(Protocol):
    """One connection to an ad platform."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]]
    # The keys of requests.metadata that hold this platform's ids, for each level that it has.
    mapping_keys: ClassVar[Mapping[Level, str]]
    # What a window consists of, in this order.
    reports: ClassVar[tuple[Report, ...]]
    # Days for which conversions may still be added, which are read again where these are wanted.
    attribution_days: ClassVar[int]
    # Days that one request may span; None: no limit.
    longest_window: ClassVar[int | None]
    # Rows requested per page, and the smallest useful number.
    page_size: ClassVar[int]
    smallest_page: ClassVar[int]
    # Requests per day that the lowest access level allows, and its name; None: no such limit.
    daily_allowance: ClassVar[tuple[int, str] | None]

    @classmethod
    def open(cls, connection: Connection, settings: Settings) -> Self:
        """Raises ConnectionCredentialsError for incomplete credentials, PermanentError for an
        invalid account id."""
        ...

    @property
    def api_version(self) -> str:
        """For the log."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any text, including derived secrets."""
        ...

    def sign_in(self) -> Request | None:
        """The request for an access token, where one is needed first."""
        ...

    def signed_in(self, response: Response) -> None:
        """Keeps the access token from the response to `sign_in`."""
        ...

    def ask_account(self) -> Request: ...

    def read_account(self, response: Response) -> Account:
        """Raises what an error with a success status means, and PermanentError for a malformed
        response."""
        ...

    def ask_page(
        self, window: Window, page_size: int, cursor: str | None, report: str = ADS.name
    ) -> Request: ...

    def read_pages(
        self, response: Response, window: Window, cursor: str | None = None, report: str = ADS.name
    ) -> Iterator[Page]:
        """The pages of the response to `ask_page`; the last cursor leads to the next response.

        Raises TransientError where it is truncated, PermanentError for a malformed row,
        TooMuchDataError where the platform may have left rows out, and what an error with a
        success status means.
        """
        ...

    def classify(self, response: Response) -> WorkerError:
        """What an unsuccessful response means."""
        ...

    def usage(self, headers: Mapping[str, str]) -> RateLimitedError | None:
        """An error with the wait that avoids a limit, where the response's headers say that one is
        near."""
        ...

    def version_warning(self, headers: Mapping[str, str]) -> str | None:
        """What a response's headers say about the end of the API version in use."""
        ...

    def check(self, ask: Ask) -> Iterator[Finding]:
        """What the doctor reports about the connection."""
        ...


# More digits than any account needs, and fewer than the ledger's columns can hold.
_MOST_DIGITS = 17
# The longest fractions seen, about twenty digits, are LinkedIn's.
_MOST_DECIMALS = 60
# What nearly all of a sync's many numbers look like: in range without a further check.
_MOST_COUNTED = 10**_MOST_DIGITS
_is_plain_count = re.compile(rf"[0-9]{{1,{_MOST_DIGITS}}}").fullmatch
_is_plain_amount = re.compile(
    rf"-?[0-9]{{1,{_MOST_DIGITS}}}(\.[0-9]{{1,{_MOST_DECIMALS}}})?"
).fullmatch


def malformed(message: str) -> MalformedAnswerError:
    """A response that is not what was asked for: never stored, never treated as a success."""
    return MalformedAnswerError(message, code="malformed_answer")


def response_too_large(most: int) -> TooMuchDataError:
    """A response of more than `most` bytes."""
    return TooMuchDataError(
        f"the response is longer than {most >> 20} MiB", code="answer_too_large"
    )


def whole(value: RawJson, what: str) -> int | None:
    """A count: None when absent. Raises MalformedAnswerError naming `what` for anything else."""
    if type(value) is int and 0 <= value < _MOST_COUNTED:
        return value
    if type(value) is str and _is_plain_count(value):
        return int(value)
    number = amount(value, what)
    if number is None:
        return None
    if number < 0:
        raise malformed(f"{what} is below zero: {value!r:.40}")
    if number != number.to_integral_value():
        raise malformed(f"{what} is not a whole number: {value!r:.40}")
    return int(number)


def amount(value: RawJson, what: str) -> Decimal | None:
    """A number in any JSON form, exactly: None when absent. A negative one is a correction.

    Raises MalformedAnswerError naming `what` for anything else, or a number out of range.
    """
    if value is None:
        return None
    if type(value) is str and _is_plain_amount(value):
        return Decimal(value)
    if isinstance(value, bool | float):  # floats lose digits: responses are read without
        raise malformed(f"{what} is not a decimal: {value!r:.40}")
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise malformed(f"{what} is not a number: {value!r:.40}") from None
    exponent = number.as_tuple().exponent  # a text for infinity and NaN
    if not isinstance(exponent, int) or exponent < -_MOST_DECIMALS:
        raise malformed(f"{what} is out of range: {value!r:.40}")
    if number.adjusted() > _MOST_DIGITS:
        raise malformed(f"{what} is out of range: {value!r:.40}")
    return number


# The field of a measure in a row, and what reads it (whole or amount).
Measure = tuple[str, Callable[[RawJson, str], int | Decimal | None]]


def chosen(
    usual: Mapping[str, Measure], further: Mapping[str, Measure], wanted: Collection[str]
) -> dict[str, Measure]:
    """The measures to ask for: the usual ones and those of the `further` that are wanted."""
    return {**usual, **{name: one for name, one in further.items() if name in wanted}}


def measured(measures: Mapping[str, Measure], fields: RawObject) -> dict[str, int | Decimal]:
    """The measures of a row by name, without those that have no value. Raises
    MalformedAnswerError naming one that is not a number."""
    found = {}
    for name, (place, read) in measures.items():
        value = read(fields.get(place), place)
        if value is not None:
            found[name] = value
    return found


def day_within(value: RawJson, window: Window) -> date:
    """An ISO date inside `window`. Raises MalformedAnswerError for anything else."""
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError):
        raise malformed(f"a row's day is not a date: {value!r:.40}") from None
    if day not in window:
        raise malformed(f"a row's day, {day}, is outside of {window}")
    return day
