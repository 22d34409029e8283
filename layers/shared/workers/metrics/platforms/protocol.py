"""What an ad platform is to the workers: requests to build, answers to read, errors to name.

A platform's file knows nothing of HTTP libraries, time or the database; `fetching.Reader` sends
what it builds. To add a platform: write its file, add a line to `PLATFORMS`.
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

# Whatever people paste along without seeing it: blanks and controls of any kind, marks without
# width or form. The database's ad_ids_in leaves out the same.
_UNSEEN = (
    "\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb"
)
_ANY_UNSEEN = re.compile(f"[{_UNSEEN}]+")
_UNSEEN_AROUND = re.compile(f"^[{_UNSEEN}]+|[{_UNSEEN}]+$")
# Of the texts among credentials, those that are public.
_NO_SECRETS = re.compile(r".*_id|scopes?|token_type|currency|time_?zone|(account_)?name|email")

# The most that one answer may weigh when it is held as a whole: a few times what the longest has,
# and what still fits beside its objects in the memory of a function.
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
        """Its text without what surrounds it unseen; None when missing or empty. Raises
        ConnectionCredentialsError when it holds what no credential does: it is never sent then."""
        value = self._text(name)
        flaw = flaw_of(value)
        if flaw is not None:
            raise ConnectionCredentialsError(
                f"{name} of the connection's credentials {flaw}", code="credentials_malformed"
            )
        return value or None

    def optional_account(self, name: str, prefix: str) -> str:
        """The digits of an account id among the credentials; empty when missing. Raises
        ConnectionCredentialsError when it is none."""
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
    URN, a resource name) or without, in quotes, with dashes and blanks. Empty for anything else."""
    plain = _ANY_UNSEEN.sub("", text).strip("\"'").removeprefix(prefix)
    plain = re.sub(r"[-\u2010-\u2015]", "", plain)
    return plain if re.fullmatch(r"[0-9]+", plain) else ""


@dataclass(frozen=True)
class Request:
    """One HTTP request. Headers and body, which hold secrets, are hidden from its repr.

    `params` are percent-encoded as forms are. A query that must be encoded otherwise stands in
    `url`, which is sent as it is.
    """

    method: Literal["GET", "POST"]
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    json: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `headers` is case-insensitive, `chunks` gives the body once."""

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
                raise answer_too_large(MOST_BYTES)
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
    """One of the reports that a window is read by, in their order; `kinds` are those of its rows.

    A row of kind campaign is the whole of that campaign and comes before those of its ads and asset
    groups, so that what these spend later does not look as if they lacked something. `is_total`:
    it has no rows, but what the account spent in all, and may fail. `is_in_total`: that includes
    its rows. `may_be_refused`: a token need not reach it, and the window is read without it then.
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
    """Rows, and where the next ones are: None when these are the last of their answer's.

    `total` is how many rows the report has on all its pages, where the platform says that. The
    reader holds the pages to it, so that none is lost or told twice. `spent` is what the account
    spent in all, by day, in a report of totals.
    """

    rows: Sequence[AdDay]
    cursor: str | None = None
    total: int | None = None
    spent: Mapping[date, Decimal] = field(default_factory=dict)


# Sends what a builder builds, signed in by then, and returns its JSON; raises the workers' errors.
Ask = Callable[[Callable[[], Request]], Any]


class Platform(Protocol):
    """One connection to an ad platform."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]]
    # The keys of requests.metadata that hold this platform's ids, for each level that it has.
    mapping_keys: ClassVar[Mapping[Level, str]]
    # What a window is read by.
    reports: ClassVar[tuple[Report, ...]]
    # Days for which conversions may still come in, which are read again where these are wanted.
    attribution_days: ClassVar[int]
    # Days that one request may span; None: no limit.
    longest_window: ClassVar[int | None]
    # Rows asked for in one page, and the fewest that it makes sense to ask for.
    page_size: ClassVar[int]
    smallest_page: ClassVar[int]
    # Requests a day that the lowest level of access allows, and its name; None: not counted so.
    daily_allowance: ClassVar[tuple[int, str] | None]

    @classmethod
    def open(cls, connection: Connection, settings: Settings) -> Self:
        """Raises ConnectionCredentialsError for incomplete credentials, PermanentError for an
        account id that cannot be one."""
        ...

    @property
    def api_version(self) -> str:
        """For the log."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any text, derived secrets included."""
        ...

    def sign_in(self) -> Request | None:
        """Where an access token has to be got first: the request for it."""
        ...

    def signed_in(self, answer: Answer) -> None:
        """Keeps the access token of the answer to `sign_in`."""
        ...

    def ask_account(self) -> Request: ...

    def read_account(self, answer: Answer) -> Account:
        """Raises what an error means that comes with a status of success, and PermanentError
        for an answer that is none."""
        ...

    def ask_page(
        self, window: Window, page_size: int, cursor: str | None, report: str = ADS.name
    ) -> Request: ...

    def read_pages(
        self, answer: Answer, window: Window, cursor: str | None = None, report: str = ADS.name
    ) -> Iterator[Page]:
        """The pages of the answer to `ask_page`; the last one's cursor leads to the next answer.

        Raises TransientError where it breaks off, PermanentError for a row that is not as
        asked for, TooMuchDataError where the platform may have left rows out, and what an error
        means that comes with a status of success.
        """
        ...

    def classify(self, answer: Answer) -> WorkerError:
        """What an answer that is not a success means."""
        ...

    def usage(self, headers: Mapping[str, str]) -> RateLimitedError | None:
        """Where the answer's headers say that a limit is near: the wait that keeps below it."""
        ...

    def version_warning(self, headers: Mapping[str, str]) -> str | None:
        """What an answer's headers tell of the end of the API version in use."""
        ...

    def check(self, ask: Ask) -> Iterator[Finding]:
        """What the doctor wants to know of the connection."""
        ...


# More than any account can spend or show, and less than the ledger's columns hold.
_MOST_DIGITS = 17
# The longest tail seen is LinkedIn's, of some twenty.
_MOST_DECIMALS = 60
# What nearly all numbers look like, of which a sync reads many: in range without a further look.
_MOST_COUNTED = 10**_MOST_DIGITS
_is_plain_count = re.compile(rf"[0-9]{{1,{_MOST_DIGITS}}}").fullmatch
_is_plain_amount = re.compile(
    rf"-?[0-9]{{1,{_MOST_DIGITS}}}(\.[0-9]{{1,{_MOST_DECIMALS}}})?"
).fullmatch


def malformed(message: str) -> MalformedAnswerError:
    """An answer that is not what was asked for: never stored, never taken for a success."""
    return MalformedAnswerError(message, code="malformed_answer")


def answer_too_large(most: int) -> TooMuchDataError:
    """An answer that goes on beyond `most` bytes."""
    return TooMuchDataError(f"the answer is longer than {most >> 20} MiB", code="answer_too_large")


def whole(value: Any, what: str) -> int | None:
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
        raise malformed(f"{what} is no whole number: {value!r:.40}")
    return int(number)


def amount(value: Any, what: str) -> Decimal | None:
    """A number of any JSON form, exactly: None when absent. One below zero is a correction.

    Raises MalformedAnswerError naming `what` for what is no number, or one that no account has.
    """
    if value is None:
        return None
    if type(value) is str and _is_plain_amount(value):
        return Decimal(value)
    if isinstance(value, bool | float):  # floats have lost digits: answers are read without
        raise malformed(f"{what} is no decimal: {value!r:.40}")
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise malformed(f"{what} is no number: {value!r:.40}") from None
    exponent = number.as_tuple().exponent  # text for what is infinite, or no number at all
    if not isinstance(exponent, int) or exponent < -_MOST_DECIMALS:
        raise malformed(f"{what} is out of range: {value!r:.40}")
    if number.adjusted() > _MOST_DIGITS:
        raise malformed(f"{what} is out of range: {value!r:.40}")
    return number


# Where an answer has a measure, and what reads it (whole or amount).
Measure = tuple[str, Callable[[Any, str], int | Decimal | None]]


def chosen(
    usual: Mapping[str, Measure], further: Mapping[str, Measure], wanted: Collection[str]
) -> dict[str, Measure]:
    """The measures to ask for: the usual ones and those of the `further` that are wanted."""
    return {**usual, **{name: one for name, one in further.items() if name in wanted}}


def measured(measures: Mapping[str, Measure], told: Mapping[str, Any]) -> dict[str, int | Decimal]:
    """The measures of a row by their names, those without a value left out. Raises
    MalformedAnswerError naming one that is no number."""
    found = {}
    for name, (place, read) in measures.items():
        value = read(told.get(place), place)
        if value is not None:
            found[name] = value
    return found


def day_within(value: Any, window: Window) -> date:
    """An ISO date inside `window`. Raises MalformedAnswerError for anything else."""
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError):
        raise malformed(f"a row's day is no date: {value!r:.40}") from None
    if day not in window:
        raise malformed(f"a row's day, {day}, is outside of {window}")
    return day
