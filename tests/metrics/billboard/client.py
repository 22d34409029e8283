"""Billboard: a toy, and the least that an ad platform takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, ClassVar, Self

from workers.errors import (
    ConnectionCredentialsError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.findings import Finding
from workers.metrics.facts import AdDay, Level
from workers.metrics.platforms.protocol import (
    ADS,
    Account,
    Ask,
    Connection,
    Page,
    Report,
    Request,
    Response,
    account_digits,
    amount,
    day_within,
    malformed,
    measured,
    whole,
)
from workers.metrics.windows import Window
from workers.settings import Settings

_MEASURES = {
    "impressions": ("impressions", whole),
    "clicks": ("clicks", whole),
    "spend": ("spend", amount),
    "reach": ("reach", whole),
}


class Billboard:
    """One account on Billboard."""

    name: ClassVar[str] = "billboard"
    aliases: ClassVar[tuple[str, ...]] = ()
    mapping_keys: ClassVar[Mapping[Level, str]] = {"ad": "billboard_ad_id"}
    reports: ClassVar[tuple[Report, ...]] = (ADS,)
    attribution_days: ClassVar[int] = 0
    longest_window: ClassVar[int | None] = None
    page_size: ClassVar[int] = 500
    smallest_page: ClassVar[int] = 50
    daily_allowance: ClassVar[tuple[int, str] | None] = None
    api_version = "1"

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self.secrets = connection.secrets
        self._token = connection.credential("access_token")
        account_id = account_digits(connection.account_id, "")
        self._url = f"{settings.billboard_url}/accounts/{account_id}"

    @classmethod
    def open(cls, connection: Connection, settings: Settings) -> Self:
        if not account_digits(connection.account_id, ""):
            raise PermanentError(
                f"account_id {connection.account_id!r:.60} is not a Billboard id",
                code="malformed_account_id",
            )
        return cls(connection, settings)

    def sign_in(self) -> Request | None:
        return None

    def signed_in(self, response: Response) -> None:
        """Billboard's tokens need no exchange."""

    def ask_account(self) -> Request:
        return self._get("")

    def read_account(self, response: Response) -> Account:
        account = _object(response)
        try:
            return Account(**{name: str(account[name]) for name in Account.__dataclass_fields__})
        except KeyError as missing:
            raise malformed(f"the account's response lacks {missing}") from None

    def ask_page(
        self, window: Window, page_size: int, cursor: str | None, report: str = ADS.name
    ) -> Request:
        days = {"since": f"{window.since}", "until": f"{window.until}"}
        return self._get("/days", **days, size=str(page_size), page=cursor or "1")

    def read_pages(
        self, response: Response, window: Window, cursor: str | None = None, report: str = ADS.name
    ) -> Iterator[Page]:
        body = _object(response)
        if not isinstance(body.get("rows"), list):
            raise malformed("the response has no rows")
        yield Page([_row(row, window) for row in body["rows"]], body.get("next"), body["total"])

    def classify(self, response: Response) -> WorkerError:
        code = f"http_{response.status}"
        try:
            said = json.loads(response.body())["error"]
        except (ValueError, LookupError, TypeError):
            said = "nothing"
        message = f"Billboard answered with {response.status}: {said}"
        if response.status == 401:
            return ConnectionCredentialsError(message, code=code)
        if response.status in (400, 403, 404):
            return PermanentError(message, code=code)
        if response.status == 429:
            return RateLimitedError(message, code=code, retry_after=5.0)
        if response.status >= 500:
            return TransientError(message, code=code)
        return UnknownError(message, code=code)

    def usage(self, headers: Mapping[str, str]) -> RateLimitedError | None:
        return None

    def version_warning(self, headers: Mapping[str, str]) -> str | None:
        return None

    def check(self, ask: Ask) -> Iterator[Finding]:
        yield Finding("ok", f"account {ask(self.ask_account)['name']}")

    def _get(self, path: str, **params: str) -> Request:
        headers = {"Authorization": f"Bearer {self._token}"}
        return Request("GET", f"{self._url}{path}", params=params, headers=headers)


def _object(response: Response) -> dict[str, Any]:
    try:
        body = json.loads(response.body(), parse_float=Decimal)
    except ValueError:
        raise TransientError("Billboard's response is not JSON", code="not_json") from None
    if not isinstance(body, dict):
        raise malformed("Billboard's response is not an object")
    return body


def _row(row: Mapping[str, Any], window: Window) -> AdDay:
    return AdDay(
        ad_id=str(row["ad"]),
        ad_name=row["name"],
        day=day_within(row["day"], window),
        measures=measured(_MEASURES, row),
        campaign_id=row["campaign"],
        ad_group_id=row["group"],
    )
