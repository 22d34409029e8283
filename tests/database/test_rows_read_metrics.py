"""A step of a sync reads no more where the ledger and the dashboard's table hold more: counted in
rows, with the statistics of an empty table and with fresh ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.database.agency import NOW, Agency
from tests.database.test_rows_read import counted

TABLES = (
    "ad_metrics", "metric_names", "metric_named_ads", "metric_ad_links", "metric_accounts",
    "metric_days", "performance_metrics",
)  # fmt: skip
TOKEN = "00000000-0000-4000-8000-000000000018"
SIZES = (300, 900, 2_700)
BATCH, DAYS, FIGURES = 20, 2, 7
# Those that grow with what was ever reported. Which requests an account serves is looked up among
# all that is named, which does not.
COUNTED = ("ad_metrics", "metric_days", "performance_metrics")
# Each fact once; each figure as it stands, to be compared, and by its key, to be written.
MOST = BATCH * DAYS * (1 + 4 * FIGURES)


@pytest.fixture
def grown(agency: Agency) -> Agency:
    """The tables as a new installation has them, never analyzed."""
    agency.connection.execute(f"truncate {', '.join(TABLES)}, requests cascade".encode())
    for table in TABLES:
        agency.connection.execute(f"alter table {table} set (autovacuum_enabled = false)".encode())
    agency.connection.execute(
        "insert into metric_accounts (platform, account_id, token, sync_id, leased_until, "
        "attempted_at) values ('meta', 'act_1', %s, gen_random_uuid(), %s + interval '1 hour', %s)",
        (TOKEN, NOW, NOW),
    )
    agency.connection.execute(
        "insert into metric_days (platform, account_id, date, read_at, rows_read, rows_named) "
        "select 'meta', 'act_1', %s::date - n, %s, 0, 0 from generate_series(0, 9) n",
        (NOW, NOW),
    )
    return agency


def fill(agency: Agency, size: int, level: str) -> None:
    """So many requests, each naming one ad, or one ad group or campaign with the one ad, and what
    was reported of these for ten days."""
    agency.connection.execute(
        """
        with named as (
          insert into requests (title, request_type)
          select 'Launch', 'creative' from generate_series(1, %(size)s)
          returning id
        ),
        numbered as (
          select id, row_number() over () || '/' || %(size)s as ad from named
        ),
        linked as (
          insert into metric_ad_links (platform, request_id, level, id)
          select 'meta', id, %(level)s, left(%(level)s, 4) || ad from numbered
        ),
        known as (
          insert into metric_names (platform, account_id, level, id)
          select 'meta', 'act_1', level, left(level, 4) || ad
            from numbered, unnest('{ad,ad_group,campaign}'::text[]) level
        )
        insert into ad_metrics
          (platform, account_id, date, campaign_id, ad_group_id, ad_id, measures, currency,
           time_zone, sync_id)
        select 'meta', 'act_1', %(now)s::date - n, 'camp' || ad, 'ad_g' || ad, 'ad' || ad,
               '{"impressions": 10, "clicks": 1, "spend": 2, "reach": 9}', 'EUR', 'UTC',
               gen_random_uuid()
          from numbered, generate_series(0, 9) n
        """,
        {"size": size, "level": level, "now": NOW},
    )


def step(agency: Agency, function: str) -> Any:
    """One of the first requests, on two days, and the rows that it read."""
    with agency.connection.transaction():
        before = counted(agency, COUNTED)
        row = agency.connection.execute(
            f"select {function}(%s, array[%s::date, %s::date - 1], null, %s, '{{}}', "
            "interval '6 minutes', %s) as told".encode(),
            (TOKEN, NOW, NOW, BATCH, NOW),
        ).fetchone()
        assert row is not None
        return row["told"], counted(agency, COUNTED) - before


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
@pytest.mark.parametrize("level", ["ad", "ad_group", "campaign"])
def test_a_step_reads_only_what_its_requests_name(
    grown: Agency, level: str, statistics: str
) -> None:
    figures = BATCH * DAYS * FIGURES
    for size in SIZES:
        fill(grown, size, level)
        if statistics == "fresh":
            grown.connection.execute("analyze")
        for created in (figures, 0):
            told, read = step(grown, "derive_account_days")
            assert (told["created"], told["updated"], told["deleted"]) == (created, 0, 0)
            assert read <= MOST, f"deriving at {size}"
        told, read = step(grown, "check_account_days")
        assert told["created"] == 0
        assert read <= MOST, f"checking at {size}"
        grown.connection.execute("update performance_metrics set value = value + 1")
        told, read = step(grown, "check_account_days")
        assert told["updated"] == figures
        assert read <= 2 * MOST, f"putting right at {size}"
        # what others had derived stays, as it would
        grown.connection.execute(
            "insert into performance_metrics "
            "(request_id, platform, metric_type, value, date, source, derived) "
            "select request_id, 'meta', kind, 1, %s, 'api_sync', true "
            "from (select request_id from metric_ad_links order by request_id offset %s) link, "
            "unnest('{impressions,clicks,spend,reach,cpm,cpc,ctr}'::text[]) kind "
            "on conflict do nothing",
            (NOW, BATCH),
        )
        grown.connection.execute(
            "delete from performance_metrics where request_id in ("
            "select request_id from metric_ad_links order by request_id limit %s)",
            (BATCH,),
        )
