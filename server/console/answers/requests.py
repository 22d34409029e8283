"""Answers about requests, their figures, and clients' spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from server.console.answers.accounts import AdKind
from server.console.answers.paging import read_key
from workers.answers import Answer


@dataclass(frozen=True)
class PlatformSpend:
    """What a request spent on a platform, in one currency; `newest` is the last day of it."""

    platform: str
    currency: str | None
    spend: Decimal | None
    newest: date


@dataclass(frozen=True)
class ListedRequest:
    """A request of the list; `ads` counts the ids that it names, up to 1,000."""

    id: str
    title: str
    client: str | None
    request_type: str
    status: str | None
    created_at: datetime | None
    ads: int
    spend: tuple[PlatformSpend, ...]


@dataclass(frozen=True)
class RequestPage:
    """Of `console_requests`; `after` is the key of the last row, None at the end."""

    requests: tuple[ListedRequest, ...]
    after: Mapping[str, str] | None


@dataclass(frozen=True)
class Subject:
    """The request of a page."""

    id: str
    title: str
    client: str | None
    request_type: str
    status: str | None


@dataclass(frozen=True)
class Link:
    """What a request names, with the account and the day of its newest fact."""

    platform: str
    level: str
    id: str
    account_id: str | None
    newest: date | None
    name: str | None


@dataclass(frozen=True)
class DayFigure:
    """One of a request's figures; `is_complete`: the day was over when it was read."""

    day: date
    platform: str
    metric_type: str
    value: Decimal
    is_complete: bool
    currency: str | None


@dataclass(frozen=True)
class RequestDetails:
    """Of `console_request`. `unsettled` are platforms whose figures are calculated again;
    `restated` the days and platforms whose spend was restated."""

    request: Subject
    links: tuple[Link, ...]
    unsettled: tuple[str, ...]
    figures: tuple[DayFigure, ...]
    restated: frozenset[tuple[date, str]]


@dataclass(frozen=True)
class Figure:
    """A figure of a request on a day and platform."""

    metric_type: str
    value: Decimal | None
    is_complete: bool
    updated_at: datetime | None
    currency: str | None


@dataclass(frozen=True)
class Fact:
    """What a platform reported of an ad on a day; `level` is the narrowest by which the request
    names it, None where it no longer does. Ids are empty where it has none."""

    account_id: str
    campaign_id: str
    ad_group_id: str
    ad_id: str
    kind: AdKind
    spend: Decimal | None
    impressions: Decimal | None
    clicks: Decimal | None
    currency: str | None
    time_zone: str | None
    level: str | None
    campaign_name: str | None
    ad_group_name: str | None
    ad_name: str | None


@dataclass(frozen=True)
class Sums:
    """Of facts in one currency; None where one of them lacks it."""

    currency: str | None
    spend: Decimal | None
    impressions: Decimal | None
    clicks: Decimal | None


@dataclass(frozen=True)
class ReadDay:
    """How the day was read of an account that has some of the ads."""

    account_id: str
    connection: str | None
    read_at: datetime | None
    rows_read: int | None
    rows_named: int | None
    spend_read: Decimal | None
    spend_named: Decimal | None
    spend_total: Decimal | None
    failures: int
    problem: str | None
    try_after: datetime | None


@dataclass(frozen=True)
class Restatement:
    """A change of what the request's ads of an account had spent."""

    account_id: str
    changed_at: datetime
    old_spend: Decimal | None
    new_spend: Decimal | None


@dataclass(frozen=True)
class FigureDetails:
    """Of `console_figure`: what makes up the figures of a request, day and platform. `count` is
    that of all facts, of which `facts` are some."""

    figures: tuple[Figure, ...]
    facts: tuple[Fact, ...]
    count: int
    sums: tuple[Sums, ...]
    days: tuple[ReadDay, ...]
    changes: tuple[Restatement, ...]


@dataclass(frozen=True)
class DaySpend:
    """What a client's requests spent on a day and platform, in one currency."""

    day: date
    platform: str
    currency: str
    value: Decimal
    is_complete: bool


@dataclass(frozen=True)
class ClientSpend:
    """A client with what was spent for it."""

    name: str
    spend: tuple[DaySpend, ...]


@dataclass(frozen=True)
class ClientPage:
    """Of `console_client_spend`; `after` is the key of the last row, None at the end."""

    clients: tuple[ClientSpend, ...]
    after: Mapping[str, str] | None


def read_request_page(answer: Answer) -> RequestPage:
    """As `console_requests` returns it."""
    return RequestPage(
        requests=tuple(map(_listed, answer.inners("requests"))), after=read_key(answer, "after")
    )


def read_request_details(answer: Answer) -> RequestDetails:
    """As `console_request` returns it."""
    request = answer.inner("request")
    return RequestDetails(
        request=Subject(
            id=request.text("id"),
            title=request.text("title"),
            client=request.optional_text("client"),
            request_type=request.text("request_type"),
            status=request.optional_text("status"),
        ),
        links=tuple(map(_link, answer.inners("links"))),
        unsettled=answer.texts("unsettled"),
        # a figure without a value is as good as none
        figures=tuple(
            _day_figure(one) for one in answer.inners("figures") if one.json("value") is not None
        ),
        restated=frozenset(
            (one.day("date"), one.text("platform")) for one in answer.inners("restated")
        ),
    )


def read_figure_details(answer: Answer) -> FigureDetails:
    """As `console_figure` returns it."""
    return FigureDetails(
        figures=tuple(map(_figure, answer.inners("figures"))),
        facts=tuple(map(_fact, answer.inners("facts"))),
        count=answer.whole("count"),
        sums=tuple(map(_sums, answer.inners("sums"))),
        days=tuple(map(_read_day, answer.inners("days"))),
        changes=tuple(map(_restatement, answer.inners("changes"))),
    )


def read_client_page(answer: Answer) -> ClientPage:
    """As `console_client_spend` returns it."""
    return ClientPage(
        clients=tuple(
            ClientSpend(one.text("name"), tuple(map(read_day_spend, one.inners("spend"))))
            for one in answer.inners("clients")
        ),
        after=read_key(answer, "after"),
    )


def read_day_spend(answer: Answer) -> DaySpend:
    """A day of a client in `console_client_spend`."""
    return DaySpend(
        day=answer.day("date"),
        platform=answer.text("platform"),
        currency=answer.optional_text("currency") or "",
        value=answer.optional_decimal("spend") or Decimal(),
        is_complete=answer.flag("is_complete"),
    )


def _listed(answer: Answer) -> ListedRequest:
    return ListedRequest(
        id=answer.text("id"),
        title=answer.text("title"),
        client=answer.optional_text("client"),
        request_type=answer.text("request_type"),
        status=answer.optional_text("status"),
        created_at=answer.optional_time("created_at"),
        ads=answer.whole("ads"),
        spend=tuple(
            PlatformSpend(
                platform=one.text("platform"),
                currency=one.optional_text("currency"),
                spend=one.optional_decimal("spend"),
                newest=one.day("newest"),
            )
            for one in answer.inners("spend")
        ),
    )


def _link(answer: Answer) -> Link:
    return Link(
        platform=answer.text("platform"),
        level=answer.text("level"),
        id=answer.text("id"),
        account_id=answer.optional_text("account_id"),
        newest=answer.optional_day("newest"),
        name=answer.optional_text("name"),
    )


def _day_figure(answer: Answer) -> DayFigure:
    return DayFigure(
        day=answer.day("date"),
        platform=answer.text("platform"),
        metric_type=answer.text("metric_type"),
        value=answer.decimal("value"),
        is_complete=answer.json("is_complete") is not False,
        currency=answer.optional_text("currency"),
    )


def _figure(answer: Answer) -> Figure:
    return Figure(
        metric_type=answer.text("metric_type"),
        value=answer.optional_decimal("value"),
        is_complete=answer.json("is_complete") is not False,
        updated_at=answer.optional_time("updated_at"),
        currency=answer.optional_text("currency"),
    )


def _fact(answer: Answer) -> Fact:
    return Fact(
        account_id=answer.text("account_id"),
        campaign_id=answer.text("campaign_id"),
        ad_group_id=answer.text("ad_group_id"),
        ad_id=answer.text("ad_id"),
        kind=answer.choice("kind", AdKind),
        spend=answer.optional_decimal("spend"),
        impressions=answer.optional_decimal("impressions"),
        clicks=answer.optional_decimal("clicks"),
        currency=answer.optional_text("currency"),
        time_zone=answer.optional_text("time_zone"),
        level=answer.optional_text("level"),
        campaign_name=answer.optional_text("campaign_name"),
        ad_group_name=answer.optional_text("ad_group_name"),
        ad_name=answer.optional_text("ad_name"),
    )


def _sums(answer: Answer) -> Sums:
    return Sums(
        currency=answer.optional_text("currency"),
        spend=answer.optional_decimal("spend"),
        impressions=answer.optional_decimal("impressions"),
        clicks=answer.optional_decimal("clicks"),
    )


def _read_day(answer: Answer) -> ReadDay:
    return ReadDay(
        account_id=answer.text("account_id"),
        connection=answer.optional_text("connection"),
        read_at=answer.optional_time("read_at"),
        rows_read=answer.optional_whole("rows_read"),
        rows_named=answer.optional_whole("rows_named"),
        spend_read=answer.optional_decimal("spend_read"),
        spend_named=answer.optional_decimal("spend_named"),
        spend_total=answer.optional_decimal("spend_total"),
        failures=answer.whole("failures"),
        problem=answer.optional_text("problem"),
        try_after=answer.optional_time("try_after"),
    )


def _restatement(answer: Answer) -> Restatement:
    return Restatement(
        account_id=answer.text("account_id"),
        changed_at=answer.time("changed_at"),
        old_spend=answer.optional_decimal("old_spend"),
        new_spend=answer.optional_decimal("new_spend"),
    )
