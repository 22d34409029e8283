"""No step of a plan or a sync reads more because more is kept or waits: counted in rows, with the
statistics of empty tables and with fresh ones."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.database.agency import NOW, Agency

# Accounts and connections are not among them: some steps look through all that the agency has.
COUNTED = (
    "ad_metrics", "metric_names", "metric_named_ads", "metric_ad_links", "metric_days",
    "metric_spend_changes", "metric_unnamed_ads", "metric_unsettled_requests",
    "metric_backfills", "metric_staged_rows", "performance_metrics", "metric_sync_logs", "requests",
)  # fmt: skip
TABLES = (*COUNTED, "metric_accounts", "metric_connection_states", "platform_connections")
TOKEN = "00000000-0000-4000-8000-000000000018"
SYNC = "00000000-0000-4000-8000-000000000019"
# Already at the first size no planner prefers to read a whole table.
SIZES = (5_000, 6_000, 8_000)
BATCH, DAYS, FIGURES = 20, 2, 7
CONNECTIONS, ACCOUNTS = 5, 50
RECENT_LOGS = 200
# Each fact once; each figure as it is stored, to be compared, by its key, to be written, and for
# its request; each ad by its names and links.
DERIVED = BATCH * DAYS * (1 + 5 * FIGURES) + 8 * BATCH
# Rows read for each row that a step is given.
PER_ROW = 12
MOST = {
    "plan": RECENT_LOGS + CONNECTIONS,
    "drop": 0,
    # the days of the longest round, one that could not be read, and the log
    "begin": 406,
    # a page, and what the account reported before it was named, at three levels
    "load named": 5 * BATCH,
    "compare": BATCH * DAYS + 4 * DAYS,
    "stage": 4,
    # each fact before and after, in the ledger and in what its request spent
    "store": BATCH * DAYS * PER_ROW,
    "mark": 4 * DAYS,
    "leave out": 4 * DAYS,
    "store unnamed": 2 * BATCH,
    "forget unnamed": 4 * BATCH,
    "derive": DERIVED,
    "derive again": DERIVED,
    "check": DERIVED,
    "correct": 2 * DERIVED,
    "end": 4,
    "links": BATCH * PER_ROW,
    # facts are counted, at most five times as many as a step takes, and then derived
    "settle": BATCH * (6 + 5 * FIGURES) + 2 * FIGURES,
    # two logs and a day
    "list": 4 * CONNECTIONS,
    "count": 3 * ACCOUNTS,
}


@pytest.fixture
def grown(agency: Agency) -> Agency:
    """The tables of a new installation, never analyzed, with an account that has few ads."""
    agency.connection.execute(f"truncate {', '.join(TABLES)} cascade".encode())
    for table in TABLES:
        agency.connection.execute(f"alter table {table} set (autovacuum_enabled = false)".encode())
    agency.connection.execute(
        "insert into platform_connections (platform, account_id, credentials) "
        "select 'meta', 'act_' || n, '{}' from generate_series(1, %s) n",
        (CONNECTIONS,),
    )
    agency.connection.execute(
        "insert into metric_accounts (platform, account_id) "
        "select 'meta', n::text from generate_series(1, %s) n",
        (ACCOUNTS,),
    )
    return agency


def report(agency: Agency, ads: int, level: str, days: int, *, own: bool) -> None:
    """So many requests, each naming one ad of account 1 (`own`) or one of the others', or one ad
    group or campaign with the one ad; and what was reported of these for so many days."""
    agency.connection.execute(
        """
        with request as (
          insert into requests (title, request_type)
          select 'Launch', 'creative' from generate_series(1, %(ads)s)
          returning id
        ),
        ad as (
          select id as request_id,
                 case when %(own)s then number || 'own' else number || '/' || %(ads)s end as ad,
                 case
                   when %(own)s then '1' else (2 + number %% (%(accounts)s - 1))::text
                 end as account_id
            from (select id, row_number() over () as number from request) numbered
        ),
        link as (
          insert into metric_ad_links (platform, request_id, level, id)
          select 'meta', request_id, %(level)s, left(%(level)s, 4) || ad from ad
        ),
        named as (
          insert into metric_named_ads (platform, level, id, named_at)
          select 'meta', %(level)s, left(%(level)s, 4) || ad, %(now)s from ad
        ),
        known as (
          insert into metric_names (platform, account_id, level, id)
          select 'meta', account_id, level, left(level, 4) || ad
            from ad, unnest('{ad,ad_group,campaign}'::text[]) level
        )
        insert into ad_metrics
          (platform, account_id, date, campaign_id, ad_group_id, ad_id, measures, currency,
           time_zone, sync_id)
        select 'meta', account_id, %(now)s::date - n, 'camp' || ad, 'ad_g' || ad, 'ad' || ad,
               '{"impressions": 10, "clicks": 1, "spend": 2, "reach": 9}', 'EUR', 'UTC',
               gen_random_uuid()
          from ad, generate_series(0, %(days)s - 1) n
        """,
        {"ads": ads, "level": level, "days": days, "own": own, "accounts": ACCOUNTS, "now": NOW},
    )


def keep(agency: Agency, size: int, level: str) -> None:
    """What is kept and waits, of all accounts: ads and their figures, days, logs, restatements, and
    ads that no request names; and a long history of one request."""
    report(agency, size, level, 1, own=False)
    kept = {"size": size, "now": NOW, "connections": CONNECTIONS, "accounts": ACCOUNTS}
    for statement in (
        """
        insert into metric_days
          (platform, account_id, date, read_at, rows_read, rows_named, failures, try_after, problem)
        select 'meta', account::text, %(now)s::date - n,
               %(now)s - interval '1 hour' - n * interval '1 day', 0, 0, (n = 50)::int,
               case when n = 50 then %(now)s + interval '1 hour' end, ''
          from generate_series(1, %(accounts)s) account,
               generate_series(0, %(size)s / case when account > 5 then 100 else 10 end) n
        on conflict do nothing
        """,
        """
        insert into metric_sync_logs (platform_connection_id, status, start_time, end_time)
        select id, 'success', %(now)s - n * interval '1 minute', %(now)s
          from platform_connections, generate_series(1, %(size)s / 5) n
        """,
        """
        insert into performance_metrics
          (request_id, platform, metric_type, value, date, source, derived)
        select request_id, 'meta', kind, 1, %(now)s, 'api_sync', true
          from metric_ad_links, unnest('{clicks,spend}'::text[]) kind
         where id like '%%/' || %(size)s
        """,
        """
        insert into metric_spend_changes
          (platform, account_id, request_id, date, number, sync_id, old_spend, new_spend,
           changed_at)
        select 'meta', (2 + n %% (%(accounts)s - 1))::text, request_id, %(now)s, 1,
               gen_random_uuid(), 1, 2, %(now)s
          from (select request_id, row_number() over () as n from metric_ad_links) link
            on conflict do nothing
        """,
        """
        insert into metric_unnamed_ads
          (platform, account_id, ad_id, first_date, last_date, round_started_at)
        select 'meta', (2 + n %% (%(accounts)s - 1))::text, n || '/' || %(size)s, %(now)s, %(now)s,
               %(now)s
          from generate_series(1, %(size)s) n
        """,
        """
        insert into ad_metrics
          (platform, account_id, date, campaign_id, ad_group_id, ad_id, measures, time_zone,
           sync_id)
        select 'meta', '2', %(now)s::date - n, 'long', 'long', 'long', '{"clicks": 1}', 'UTC',
               gen_random_uuid()
          from generate_series(0, %(size)s / 5) n
            on conflict do nothing
        """,
        """
        insert into metric_ad_links (platform, request_id, level, id)
        select 'meta', id, 'ad', 'long' from requests where title = 'Long'
            on conflict do nothing
        """,
        """
        insert into performance_metrics
          (request_id, platform, metric_type, value, date, source, derived)
        select id, 'meta', kind, 1, %(now)s::date - n, 'api_sync', true
          from requests, generate_series(0, %(size)s / 5) n,
               unnest('{impressions,clicks,spend,reach,cpm,cpc,ctr}'::text[]) kind
         where title = 'Long'
            on conflict do nothing
        """,
    ):
        agency.connection.execute(statement.encode(), kept)


def counted(agency: Agency) -> Counter[str]:
    """Rows that this session read and has not reported yet, by table."""
    rows = agency.connection.execute(
        "select relname, seq_tup_read + idx_tup_fetch as read from pg_stat_xact_user_tables "
        "where relname = any (%s)",
        (list(COUNTED),),
    )
    return Counter({row["relname"]: int(row["read"]) for row in rows})


class Reads:
    """The rows that functions read, by name and table."""

    def __init__(self, agency: Agency) -> None:
        self.agency = agency
        self.by_name: dict[str, Counter[str]] = {}

    def of(self, name: str, call: str, *values: object) -> Any:
        """What the function returns, called so."""
        with self.agency.connection.transaction():
            before = counted(self.agency)
            row = self.agency.connection.execute(
                f"select {call} as answer".encode(), values
            ).fetchone()
            assert row is not None
            self.by_name[name] = counted(self.agency) - before
        return row["answer"]


def plan(reads: Reads) -> None:
    """Everything is due, and released again."""
    now = NOW + timedelta(days=2)
    planned = reads.of("plan", "plan_metric_syncs(10, '25 minutes', '5 minutes', %s)", now)
    assert len(planned["planned"]) == CONNECTIONS
    tokens = [one["token"] for one in planned["planned"]]
    assert reads.of("drop", "drop_metric_plans(%s, %s)", tokens, now) == CONNECTIONS


def sync(reads: Reads) -> None:
    """One of account 1, of two days, of which all facts changed."""
    agency = reads.agency
    agency.connection.execute(
        "update metric_accounts set token = %s, leased_until = %s + interval '1 hour', "
        "round_started_at = %s - interval '12 hours' where account_id = '1'",
        (TOKEN, NOW, NOW),
    )
    agency.connection.execute(
        "update metric_days set failures = 0, try_after = null, "
        "read_at = date + interval '11 hours' where date > %s::date - 9",
        (NOW,),
    )
    begun = reads.of("begin", "begin_metric_sync(%s, %s, '6 minutes', %s)", TOKEN, TOKEN, NOW)
    assert (len(begun["days_read"]), len(begun["days_left_out"])) == (1, 1)
    rows = agency.connection.execute(
        "select date::text, campaign_id, ad_group_id, ad_id, kind, measures || '{\"spend\": 3}' "
        "as measures from ad_metrics where account_id = '1' and date > %s::date - %s",
        (NOW, DAYS),
    ).fetchall()
    assert len(rows) == BATCH * DAYS
    days = sorted({row["date"] for row in rows})
    marks = Jsonb({day: {"rows_named": 0, "rows_read": 0, "digest": "d"} for day in days})
    unnamed = Jsonb([
        {"campaign_id": "1", "ad_group_id": "1", "ad_id": f"{n}", "kind": "ad", "spend": "1",
         "first_date": days[0], "last_date": days[1]}
        for n in range(BATCH)
    ])  # fmt: skip
    account = Jsonb({"currency": "EUR", "time_zone": "UTC", "today": days[1]})
    kinds, held = ["ad", "campaign"], "'6 minutes', %s"
    reads.of("load named", "load_named_ads('meta', '1', null, %s, %s)", BATCH, NOW)
    reads.of(
        "compare", f"compare_metric_days(%s, %s, %s, %s, {held})", TOKEN, SYNC, marks, kinds, NOW
    )
    reads.of("stage", f"stage_metric_rows(%s, 0, '[]', {held})", TOKEN, NOW)
    stored = reads.of(
        "store", f"store_metric_days(%s, %s, %s::date[], %s, %s, '[]', {held})",
        TOKEN, account, days, kinds, Jsonb(rows), NOW,
    )  # fmt: skip
    assert stored == {"written": BATCH * DAYS, "gone": 0}
    derive(reads, days, held)
    reads.of("mark", f"mark_metric_days(%s, %s, %s, {held})", TOKEN, SYNC, marks, NOW)
    reads.of(
        "leave out", f"leave_out_metric_days(%s, %s, {held})", TOKEN, Jsonb({days[0]: ""}), NOW
    )
    reads.of("store unnamed", f"store_unnamed_ads(%s, 'whole', %s, {held})", TOKEN, unnamed, NOW)
    reads.of("forget unnamed", f"forget_unnamed_ads(%s, null, {held})", TOKEN, NOW)
    result = Jsonb({"status": "success", "details": {}, "is_done": True, "is_whole": True})
    assert reads.of("end", "end_metric_sync(%s, %s, %s)", TOKEN, result, NOW)
    agency.connection.execute(
        "update ad_metrics set measures = measures || '{\"spend\": 2}' where account_id = '1'"
    )


def derive(reads: Reads, days: list[str], held: str) -> None:
    """The figures of the account's requests on these days: missing, correct, and changed."""
    own = "where request_id in (select request_id from metric_ad_links where id like '%own')"
    reads.agency.connection.execute(f"delete from performance_metrics {own}".encode())  # noqa: S608
    figures = BATCH * DAYS * FIGURES
    for name, function, expected in (
        ("derive", "derive_account_days", (figures, 0, 0)),
        ("derive again", "derive_account_days", (0, 0, 0)),
        ("check", "check_account_days", (0, 0, 0)),
        ("correct", "check_account_days", (0, figures, 0)),
    ):
        if name == "correct":
            reads.agency.connection.execute(
                f"update performance_metrics set value = value + 1 {own}".encode()  # noqa: S608
            )
        counts = reads.of(
            name, f"{function}(%s, %s::date[], null, %s, '{{}}', {held})", TOKEN, days, BATCH, NOW
        )
        assert (counts["created"], counts["updated"], counts["deleted"]) == expected, name


def links(reads: Reads, size: int) -> None:
    """The metadata of all requests changed; one step is taken."""
    reads.agency.connection.execute(
        "update requests set metadata = jsonb_build_object('tiktok_ad_id', %s::text)", (f"9{size}",)
    )
    keys = Jsonb({"tiktok": {"ad": "tiktok_ad_id"}})
    counts = reads.of("links", "refresh_ad_links(%s, null, %s, %s)", keys, BATCH, NOW)
    assert counts["arrived"] == BATCH


def settle(reads: Reads) -> None:
    """One step of the request with the long history."""
    reads.agency.connection.execute("truncate metric_unsettled_requests")
    reads.agency.connection.execute(
        "insert into metric_unsettled_requests (platform, request_id) "
        "select 'meta', id from requests where title = 'Long'"
    )
    assert not reads.of("settle", "settle_ad_links(%s, null, %s)", BATCH, NOW)["is_finished"]


def purge(reads: Reads) -> None:
    """Batch by batch, until nothing is left that is old enough."""
    cutoff, batches, purged = NOW - timedelta(days=100), 0, 1
    while purged:
        purged = reads.of("purge", "purge_ad_metrics_batch(%s, 500)", cutoff)
        read = reads.by_name.pop("purge")
        # in each of three tables the accounts are found one by one
        assert read.total() <= 2 * purged + 3 * ACCOUNTS, read
        batches += 1
    assert batches > 2, "there was something to purge"
    assert reads.of("count", "count_aged_facts(%s, 1000)", cutoff) == 0


@pytest.mark.parametrize(
    ("level", "statistics"),
    [("ad", "stale"), ("campaign", "fresh")],
)
def test_no_step_reads_more_where_more_is_kept(grown: Agency, level: str, statistics: str) -> None:
    report(grown, BATCH, level, 10, own=True)
    grown.connection.execute(
        "insert into requests (title, request_type) values ('Long', 'creative')"
    )
    for size in SIZES:
        keep(grown, size, level)
        if statistics == "fresh":
            grown.connection.execute("analyze")
        reads = Reads(grown)
        plan(reads)
        sync(reads)
        links(reads, size)
        settle(reads)
        listed = reads.of("list", "list_connections(%s)", NOW)
        assert sorted(one["unread_days"] for one in listed) == [1, 1, 1, 1, 2]
        purge(reads)
        too_many = {n: read for n, read in reads.by_name.items() if read.total() > MOST[n]}
        assert not too_many, f"at {size}"
