"""The metrics sync between a real database and fakes for the ad platforms, in virtual time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg
import requests
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from local.fakes.ad_facts import WINDOWS, AdRecord, Facts, named_records
from local.fakes.ad_facts import Platform as FakePlatform
from local.fakes.linkedin import reported_cost
from local.http_server import HttpServer
from tests.conftest import Api
from tests.database.agency import NOW, Agency
from tests.notifications.virtual_time import TimedDatabase, VirtualClock
from tests.recycling import empty
from workers.metrics.outcomes import SyncReport
from workers.metrics.planning import Plan, plan_syncs
from workers.metrics.platforms import MAPPING_KEYS
from workers.metrics.sync import ConnectionSync
from workers.metrics.sync_requests import Backfill, SyncRequest
from workers.settings import Settings

TABLES = (
    "ad_metrics, metric_names, metric_unnamed_ads, metric_days, metric_spend_changes, "
    "metric_named_ads, metric_ad_links, metric_unsettled_requests, metric_staged_rows, "
    "metric_ledger, metric_accounts, metric_connection_states, metric_platform_pauses, "
    "metric_backfills, performance_metrics, metric_sync_logs, platform_connections, "
    "notification_queue, notification_config, requests"
)
# In the account's time zone it is the same day.
TODAY = NOW.date()
LOOK_BACK = 30
PLENTY = 280.0
META_TOKEN = "EAALOCALmetaTestToken000000000000000000042"
META_SECRET = "local-meta-test-secret-42"
GOOGLE_REFRESH = "1//local-google-test-refresh-42"
GOOGLE_CLIENT = "400000000042-test.apps.googleusercontent.com"
GOOGLE_SECRET = "GOCSPX-local-test-secret-42"
TIKTOK_TOKEN = "localtiktoktesttoken00000000000000000042"
LINKEDIN_REFRESH = "AQlocalLinkedinTestRefreshToken00000000000042"
LINKEDIN_CLIENT = "77localtest042"
LINKEDIN_SECRET = "WPL_AP1.local-linkedin-test-secret-42"
SECRETS = (
    META_TOKEN, META_SECRET, GOOGLE_REFRESH, GOOGLE_SECRET, "ya29.", TIKTOK_TOKEN,
    LINKEDIN_REFRESH, LINKEDIN_SECRET, "AQlocalLinkedinAccessToken",
)  # fmt: skip

USUAL = ("impressions", "clicks", "spend", "reach", "cpm", "cpc", "ctr")
MONEY = ("spend", "conversion_value")
# A sum times that over another one.
RATIOS = {
    "cpm": ("spend", "impressions", 1000), "cpc": ("spend", "clicks", 1),
    "ctr": ("clicks", "impressions", 100), "cost_per_conversion": ("spend", "conversions", 1),
    "roas": ("conversion_value", "spend", 1), "frequency": ("impressions", "reach", 1),
}  # fmt: skip

# One request, day and metric type to its value.
Figures = dict[tuple[str, date, str], Decimal]


@dataclass(frozen=True)
class Served:
    """An ad of one account that serves a request, or what else of it is named at some level;
    `platform` as `World.servers` has it."""

    platform: FakePlatform
    account_id: str
    ad_id: str
    level: str = "ad"


class Sent:
    """Keeps what is planned, as the queue would, for the test to pass on."""

    def __init__(self) -> None:
        self.sync_requests: list[SyncRequest] = []

    def send(self, bodies: Sequence[str]) -> list[int]:
        self.sync_requests += [SyncRequest.from_body(body) for body in bodies]
        return []


class World:
    """What a scenario needs: accounts, requests, syncs, and their results."""

    def __init__(self, api: Api, servers: Mapping[str, HttpServer]) -> None:
        """`servers`: the fakes, by the names that `local.fakes.ad_facts` has for the platforms."""
        self.api = api
        self.servers = servers
        self.meta, self.google = servers["meta"], servers["google"]
        self.tiktok, self.linkedin = servers["tiktok"], servers["linkedin"]
        self.connection: psycopg.Connection[Any] = psycopg.connect(
            api.database_url, autocommit=True, row_factory=dict_row
        )
        empty(self.connection, TABLES)
        self.agency = Agency(self.connection)
        for server in servers.values():
            server.reset()
            server.app.configure({"now": NOW.timestamp()})
        self._start_without_accounts()
        self.clock = VirtualClock(NOW, lambda now: None)
        self.database = TimedDatabase(api.url, api.keys.secret, self.clock.as_of)
        self.session = requests.Session()
        self.settings = Settings(
            supabase_url=api.url,
            supabase_service_role_key=api.keys.secret,
            slack_bot_token="xoxb-unused",
            meta_graph_url=self.meta.url,
            google_ads_url=self.google.url,
            google_token_url=f"{self.google.url}/token",
            tiktok_api_url=f"{self.tiktok.url}/open_api",
            linkedin_api_url=f"{self.linkedin.url}/rest",
            linkedin_token_url=f"{self.linkedin.url}/token",
        )

    def close(self) -> None:
        self.session.close()
        self.database.close()
        empty(self.connection, TABLES)
        self.connection.close()

    def _start_without_accounts(self) -> None:
        apps = {
            "meta": {"app": {"id": "42", "name": "Agency", "secret": META_SECRET}},
            "google": {"clients": {GOOGLE_CLIENT: GOOGLE_SECRET}},
            "linkedin": {"clients": {LINKEDIN_CLIENT: LINKEDIN_SECRET}},
        }
        for name, server in self.servers.items():
            server.app.replace_state({**server.app.state(), "accounts": {}, **apps.get(name, {})})

    def meta_account(self, account_id: str, **values: Any) -> None:
        """An account in the fake: `ads` or `ad_count`, and what else its state may have."""
        usual = {"tokens": [META_TOKEN], "app_secret": META_SECRET, "require_proof": True}
        self._put_account(self.meta, account_id, {**usual, **values})

    def google_account(self, account_id: str, **values: Any) -> None:
        usual = {"refresh_tokens": [GOOGLE_REFRESH], "manager": None, "is_manager": False}
        self._put_account(self.google, account_id, {**usual, **values})

    def tiktok_account(self, account_id: str, **values: Any) -> None:
        self._put_account(self.tiktok, account_id, {"tokens": [TIKTOK_TOKEN], **values})

    def linkedin_account(self, account_id: str, **values: Any) -> None:
        """Its days are in UTC, whatever `values` says."""
        usual = {"tokens": [], "refresh_tokens": [LINKEDIN_REFRESH]}
        self._put_account(self.linkedin, account_id, {**usual, **values, "time_zone": "UTC"})

    def _put_account(self, server: HttpServer, account_id: str, values: Mapping[str, Any]) -> None:
        usual = {
            "name": f"Account {account_id}",
            "currency": "EUR",
            "time_zone": "Europe/Oslo",
            "ads": [],
            "restated": {},
            "vanished": [],
        }
        state = server.app.state()
        accounts = {**state["accounts"], account_id: {**usual, **values}}
        server.app.replace_state({**state, "accounts": accounts})

    def change_account(self, server: HttpServer, account_id: str, **values: Any) -> None:
        """Replaces parts of an account in a fake's state."""
        before = server.app.state()["accounts"][account_id]
        self._put_account(server, account_id, {**before, **values})

    def connect_meta(self, account: str, **values: Any) -> str:
        """A connection of the dashboard to that account; its id."""
        credentials = {"access_token": META_TOKEN, "app_id": "42", "app_secret": META_SECRET}
        usual = {"platform": "meta", "account_id": f"act_{account}", "credentials": credentials}
        return self._connect({**usual, **values})

    def connect_google(self, account_id: str, **values: Any) -> str:
        credentials = {
            "refresh_token": GOOGLE_REFRESH,
            "client_id": GOOGLE_CLIENT,
            "client_secret": GOOGLE_SECRET,
        }
        dashed = f"{account_id[:3]}-{account_id[3:6]}-{account_id[6:]}"
        usual = {"platform": "google_ads", "account_id": dashed, "credentials": credentials}
        return self._connect({**usual, **values})

    def connect_tiktok(self, account_id: str, **values: Any) -> str:
        credentials = {"access_token": TIKTOK_TOKEN}
        usual = {"platform": "tiktok", "account_id": account_id, "credentials": credentials}
        return self._connect({**usual, **values})

    def connect_linkedin(self, account_id: str, **values: Any) -> str:
        credentials = {
            "refresh_token": LINKEDIN_REFRESH,
            "client_id": LINKEDIN_CLIENT,
            "client_secret": LINKEDIN_SECRET,
        }
        usual = {"platform": "linkedin", "account_id": account_id, "credentials": credentials}
        return self._connect({**usual, **values})

    def _connect(self, values: Mapping[str, Any]) -> str:
        row = self.connection.execute(
            """
            insert into platform_connections
              (platform, credentials, account_id, account_name, sync_frequency)
            values (%(platform)s, %(credentials)s, %(account_id)s, %(account_name)s, %(frequency)s)
            returning id
            """,
            {
                "account_name": f"Connection to {values['account_id']}",
                "frequency": 1440,
                **values,
                "credentials": Jsonb(values["credentials"]),
            },
        ).fetchone()
        assert row is not None
        return str(row["id"])

    def request(self, **metadata: Any) -> str:
        """A request with that metadata; its id."""
        return self.agency.request(metadata=Jsonb(metadata))

    def remap(self, request_id: str, **metadata: Any) -> None:
        self.connection.execute(
            "update requests set metadata = %s where id = %s", (Jsonb(metadata), request_id)
        )

    def plan(self, concurrency: int = 10) -> tuple[list[SyncRequest], Plan]:
        """One pass of the plan: what it sent, and what it says."""
        sent = Sent()
        plan = plan_syncs(
            self.database, sent, MAPPING_KEYS, concurrency, self.settings.metrics_figures
        )
        return sent.sync_requests, plan

    def sync(self, sync_request: SyncRequest, seconds: float = PLENTY) -> SyncReport:
        return self.syncer().run(sync_request, self.clock.now() + seconds)

    def syncer(self) -> ConnectionSync:
        return ConnectionSync(
            self.database, self.settings, self.clock, lambda platform: self.session, lambda: 0.5
        )

    def backfill(self, connection_id: str, asked: Backfill, seconds: float) -> SyncReport | None:
        return self.syncer().backfill(connection_id, asked, self.clock.now() + seconds)

    def sync_all(self, seconds: float = PLENTY) -> dict[str, SyncReport]:
        """Plans, then syncs all that was planned: reports by the connection that read."""
        sync_requests, _ = self.plan()
        reports = [self.sync(sync_request, seconds) for sync_request in sync_requests]
        return {str(report.connection_id): report for report in reports}

    def sync_again(self) -> dict[str, SyncReport]:
        """A minute later everything is due again, and synced."""
        self.later(timedelta(minutes=1))
        self.make_due()
        return self.sync_all()

    def make_due(self) -> None:
        """As if nothing had been synced yet."""
        self.connection.execute("update platform_connections set last_synced_at = null")

    def next_day(self) -> None:
        """A day later: everything is due again."""
        self.later(timedelta(days=1))

    def later(self, time: timedelta) -> None:
        self.clock.advance(time.total_seconds())
        for server in self.servers.values():
            server.app.configure({"now": self.now.timestamp()})

    @property
    def now(self) -> datetime:
        return self.clock.as_of()

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self.connection.execute(query.encode(), values)]

    def figures(self, platform: str = "meta") -> Figures:
        """What performance_metrics has, from any source; fails on two rows of one key."""
        found: Figures = {}
        for row in self.rows(
            "select request_id::text, date, metric_type, value from performance_metrics "
            "where platform = %s and source = 'api_sync'",
            platform,
        ):
            key = (row["request_id"], row["date"], row["metric_type"])
            assert key not in found, f"two rows for {key}"
            found[key] = row["value"]
        return found

    def logs(self, connection_id: str | None = None) -> list[dict[str, Any]]:
        """Sync logs, oldest first."""
        return self.rows(
            "select * from metric_sync_logs "
            "where %s::uuid is null or platform_connection_id = %s::uuid "
            "order by start_time, created_at",
            connection_id,
            connection_id,
        )

    def last_log(self, connection_id: str) -> dict[str, Any]:
        return self.logs(connection_id)[-1]

    def state(self, connection_id: str) -> dict[str, Any]:
        """What is remembered of the connection and of its account."""
        (row,) = self.rows(
            """
            select account.*, state.*
              from metric_connections() way
              left join metric_accounts account
                on account.platform = way.platform and account.account_id = way.account_id
              left join metric_connection_states state on state.connection_id = way.id
             where way.id = %s
            """,
            connection_id,
        )
        return row

    def account_of(self, connection_id: str) -> tuple[str, str]:
        """Platform and id of the account that it leads to."""
        (row,) = self.rows(
            "select platform, account_id from metric_connections() where id = %s", connection_id
        )
        return row["platform"], row["account_id"]

    def sync_requests_for(
        self, sync_requests: Sequence[SyncRequest], connection_id: str
    ) -> list[SyncRequest]:
        """Those of the account that the connection leads to."""
        account = self.account_of(connection_id)
        return [one for one in sync_requests if (one.platform, one.account_id) == account]

    def remember(self, connection_id: str, **values: Any) -> None:
        """Has the account of a connection remember that (columns of metric_accounts)."""
        names = ", ".join(values)
        self.connection.execute(
            f"insert into metric_accounts (platform, account_id, {names}) "  # noqa: S608
            f"values (%s, %s{', %s' * len(values)}) on conflict (platform, account_id) do update "
            f"set {', '.join(f'{name} = excluded.{name}' for name in values)}",
            (*self.account_of(connection_id), *values.values()),
        )

    def last_synced_at(self, connection_id: str) -> datetime | None:
        (row,) = self.rows(
            "select last_synced_at from platform_connections where id = %s", connection_id
        )
        found: datetime | None = row["last_synced_at"]
        return found

    def expected(
        self,
        served: Mapping[str, Iterable[Served]],
        today: date = TODAY,
        days: int = LOOK_BACK,
    ) -> Figures:
        """What performance_metrics must have for these requests, worked out from the fakes' own
        data, without the product's code."""
        # a copy of all that a fake holds is made once, and not for each day
        states = {name: server.app.state()["accounts"] for name, server in self.servers.items()}
        found: Figures = {}
        for request_id, ads in served.items():
            for number in range(days + 1):
                day = today - timedelta(days=number)
                for kind, value in self._expected_day(states, list(ads), day).items():
                    found[request_id, day, kind] = value
        return found

    def chosen(self, *figures: str) -> None:
        """From now on these are derived in addition to the usual ones."""
        self.settings = replace(self.settings, metrics_figures=figures)

    def _expected_day(
        self, states: Mapping[str, Any], ads: list[Served], day: date
    ) -> dict[str, Decimal]:
        rows: dict[str, tuple[str, dict[str, Decimal]]] = {}
        for named in ads:
            account = states[named.platform][named.account_id]
            for record in named_records(
                named.platform, named.account_id, account, named.level, named.ad_id
            ):
                found = self._measures(named.platform, record, day)
                if found is not None:
                    # each counts once, however many names lead to it
                    rows[f"{named.platform}/{record.seed}"] = (account["currency"], found)
        if not rows:
            return {}
        measures = [found for _, found in rows.values()]
        sums = {
            name: sum((one[name] for one in measures), Decimal())
            for name in measures[0]
            if all(name in one for one in measures)
        }
        if len({currency for currency, _ in rows.values()}) > 1:
            sums = {name: one for name, one in sums.items() if name not in MONEY}
        if len(rows) > 1:
            sums.pop("reach", None)
        for name, (over, under, times) in RATIOS.items():
            if over in sums and sums.get(under):
                sums[name] = sums[over] * times / sums[under]
        return {
            name: _six(one)
            for name, one in sums.items()
            if name in USUAL or name in self.settings.metrics_figures
        }

    def _measures(
        self, platform: FakePlatform, record: AdRecord, day: date
    ) -> dict[str, Decimal] | None:
        """What the platform reports for an ad, an asset group or a campaign and day."""
        facts = record.on(day.toordinal())
        if facts is None:
            return None
        window = int(record.attribution[0]) if platform == "meta" else WINDOWS.get(platform, 0)
        more = record.more_on(day.toordinal(), self.now.date().toordinal(), window)
        found = {"spend": _spend(platform, facts)}
        if platform != "tiktok" or record.kind == "ad":
            found |= {"impressions": Decimal(facts.impressions), "clicks": Decimal(facts.clicks)}
            if record.kind == "ad":
                found["video_views"] = Decimal(more.video_views)
                if platform != "google":
                    found["reach"] = Decimal(facts.reach)
                    clicks = facts.clicks if platform == "tiktok" else more.link_clicks
                    found["link_clicks"] = Decimal(clicks)
        if platform == "google":  # shares a conversion between clicks
            found["conversions"] = Decimal(more.halves) / 2
            found["conversion_value"] = Decimal(more.half_cents) / 200
            if record.kind == "campaign" and not record.has_asset_groups:
                found["video_views"] = Decimal(more.video_views)
        else:
            found["conversions"] = Decimal(len(more.events))
            found["conversion_value"] = Decimal(sum(one.cents for one in more.events)) / 100
        return found


def _spend(platform: str, facts: Facts) -> Decimal:
    """As the platform reports it, to the last digit."""
    return Decimal(reported_cost(facts)) if platform == "linkedin" else facts.spend


def _six(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.000001"), ROUND_HALF_UP)
