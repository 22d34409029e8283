"""A project of any size, by SQL alone: for the rows that a page reads, and its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from tests.recycling import empty
from workers.metrics.platforms import PLATFORMS

# The tables to fill, each after those that it refers to.
TABLES = (
    "clients", "requests", "notification_config", "slack_connected_channels", "notification_queue",
    "notification_deliveries", "worker_runs", "platform_connections", "metric_sync_logs",
    "metric_accounts", "metric_days", "ad_metrics", "metric_names", "metric_ad_links",
    "metric_named_ads", "metric_unnamed_ads", "metric_spend_changes", "performance_metrics",
    "activity_log", "archived_activity_log", "retention_policies", "slack_destinations",
    "console_actions",
)  # fmt: skip
# An account's number is its id, so that the first one always exists.
FIRST_ACCOUNT = 7_000_000_001
# At once, so that nothing has to be held for long.
_DAYS_AT_ONCE = 10


@dataclass(frozen=True)
class Amounts:
    """`ads` are those that requests name, per account; of `days` the newest `charted` have
    figures. `unnamed` are ads per account, `activity` are rows of the log and of its archive."""

    notifications: int
    channels: int
    runs: int
    requests: int
    accounts: int
    ads: int
    days: int
    charted: int
    unnamed: int
    activity: int

    @property
    def facts(self) -> int:
        """Rows of the ledger."""
        return self.accounts * self.ads * self.days


def fill(
    connection: psycopg.Connection[Any],
    amounts: Amounts,
    now: datetime,
    progress: Callable[[str], None] = lambda what: None,
) -> None:
    """Replaces all rows by these. Statistics stay as they are."""
    empty(connection, ", ".join(TABLES))
    progress(f"{amounts.notifications:,} notifications")
    _run(connection, _NOTIFICATIONS, amounts, now)
    progress(f"{amounts.requests:,} requests, {amounts.accounts:,} accounts")
    _run(connection, _ACCOUNTS, amounts, now)
    progress(f"{amounts.facts:,} rows of the ledger")
    for first in range(0, amounts.days, _DAYS_AT_ONCE):
        last = min(first + _DAYS_AT_ONCE, amounts.days) - 1
        # oldest first, as rows arrive: a BRIN index depends on it
        since, until = amounts.days - 1 - last, amounts.days - 1 - first
        _run(connection, _LEDGER, amounts, now, since=since, until=until)
    progress(f"figures of {amounts.charted} days")
    _run(connection, _FIGURES, amounts, now)
    progress(f"{amounts.activity:,} rows of activity, active and archived")
    _run(connection, _RETENTION, amounts, now)


@contextmanager
def without_indexes(connection: psycopg.Connection[Any], *tables: str) -> Iterator[None]:
    """For loading much: drops the tables' indexes and builds them again at the end. Rows of the
    connection are dictionaries."""
    rows = connection.execute(
        """
        select format('alter table %%s drop constraint %%I', key.conrelid::regclass, key.conname)
                 as drop,
               format('alter table %%s add constraint %%I %%s', key.conrelid::regclass, key.conname,
                      pg_get_constraintdef(key.oid)) as build
          from pg_constraint key
         where key.conrelid::regclass::text = any (%(tables)s) and key.contype in ('p', 'u')
           and not exists (select from pg_constraint other where other.confrelid = key.conrelid)
         union all
        select format('drop index %%s', own.indexrelid::regclass), pg_get_indexdef(own.indexrelid)
          from pg_index own
         where own.indrelid::regclass::text = any (%(tables)s)
           and not exists (select from pg_constraint key where key.conindid = own.indexrelid)
        """,
        {"tables": list(tables)},
    ).fetchall()
    for row in rows:
        connection.execute(row["drop"].encode())
    yield
    for row in rows:
        connection.execute(row["build"].encode())


def _run(
    connection: psycopg.Connection[Any], script: str, amounts: Amounts, now: datetime, **more: int
) -> None:
    """Runs a script with `:name` for amounts; `:now` is this time, `:today` its day."""
    names: dict[str, Any] = {**vars(amounts), **more, "first": FIRST_ACCOUNT}
    places = {name: str(value) for name, value in names.items()}
    places |= {"now": f"'{now.isoformat()}'::timestamptz", "today": f"'{now.date()}'::date"}
    places["platforms"] = f"(array[{', '.join(repr(one) for one in sorted(PLATFORMS))}])"
    for name in sorted(places, key=len, reverse=True):
        script = script.replace(f":{name}", places[name])
    connection.execute(script.encode())


def first_account() -> tuple[str, str]:
    """The platform and the id of an account that always exists."""
    return sorted(PLATFORMS)[1 % len(PLATFORMS)], str(FIRST_ACCOUNT + 1)


def charted_day(now: datetime) -> str:
    """A day with figures."""
    return f"{now.date() - timedelta(days=1)}"


# Of a hundred three are dead, one waits, one is skipped, one expired; the newest come last.
_NOTIFICATIONS = """
    insert into notification_config (entity_type, event_type, channel_id, template)
    select 'request', 'event_' || n % 7, 'C' || lpad(n::text, 8, '0'), 'Number {{number}} of {{of}}'
      from generate_series(0, :channels - 1) n;
    insert into slack_connected_channels (request_type, channel_id, channel_name)
    select 'kind_' || n, 'C' || lpad(n::text, 8, '0'), 'channel-' || n
      from generate_series(0, least(:channels, 50) - 1) n;
    insert into slack_destinations (destination)
    select 'C' || lpad(n::text, 8, '0') from generate_series(0, :channels - 1) n;
    insert into notification_queue
      (config_id, entity_id, entity_type, event_data, is_processed, outcome, attempts, last_error,
       created_at, processed_at, next_attempt_at, routed_at)
    select config.id, gen_random_uuid(), 'request',
           jsonb_build_object('number', n, 'of', 'text to be looked through'),
           n % 100 > 3, case when n % 100 = 4 then 'skipped' when n % 100 = 5 then 'expired'
                             when n % 100 > 5 then 'sent' end,
           case when n % 100 in (1, 2, 3) then 5 else 0 end,
           case when n % 100 in (1, 2, 3) then 'channel_not_found' end,
           :now - (:notifications - n) * interval '2 s',
           case when n % 100 > 3 then :now - (:notifications - n) * interval '2 s' end, null, :now
      from generate_series(1, :notifications) n
      join (
             select id, row_number() over (order by channel_id) - 1 as number
               from notification_config
           ) config on config.number = n % :channels;
    insert into notification_deliveries
      (notification_id, config_id, destination, due_at, queued_at, ages_from, state, message_ts,
       error_code, error, attempts, settled_at)
    select queued.id, queued.config_id, config.channel_id, queued.created_at, queued.created_at,
           queued.created_at,
           case when queued.is_processed then queued.outcome
                when queued.attempts = 5 then 'dead' else 'pending' end,
           case when queued.outcome = 'sent' then '1.1' end,
           case when queued.attempts = 5 then queued.last_error end,
           case when queued.attempts = 5 then queued.last_error end, queued.attempts,
           queued.processed_at
      from notification_queue queued
      join notification_config config on config.id = queued.config_id;
    insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, counts)
    select (array['notifications', 'metrics_sync', 'connection_sync', 'retention'])[1 + n % 4],
           :now - n * interval '15 s', :now - n * interval '15 s' + interval '2 s',
           case when n % 50 = 0 then 'failed' else 'drained' end, n % 50 <> 0,
           jsonb_build_object('sent', n % 5, 'dead', 0)
      from generate_series(0, :runs - 1) n;
"""
# Ad number n of an account is of request (account * ads + n) % requests.
_ACCOUNTS = """
    insert into clients (name) select 'Client ' || n from generate_series(1, 20) n;
    insert into requests (title, client_id, request_type, created_at)
    select 'Request ' || n, client.id, 'creative', :now - (:requests - n) * interval '1 minute'
      from generate_series(0, :requests - 1) n
      join (select id, row_number() over (order by name) - 1 as number from clients) client
        on client.number = n % 20;
    insert into platform_connections
      (platform, account_id, account_name, credentials, is_active, last_synced_at)
    select :platforms[1 + n % 4], (:first + n)::text, 'Account ' || n, '{"access_token": "x"}',
           true, :now - interval '1 hour'
      from generate_series(0, :accounts - 1) n;
    insert into metric_sync_logs
      (platform_connection_id, status, start_time, end_time, details)
    select connection.id, 'success', :now - n * interval '1 day', :now - n * interval '1 day',
           '{"requests": 6, "time_zone": "Europe/Oslo", "currency": "EUR"}'
      from platform_connections connection, generate_series(0, 9) n;
    insert into metric_accounts (platform, account_id, sync_id, connection_id, attempted_at,
                                 whole_read_at)
    select connection.platform, connection.account_id, log.id, connection.id, :now, :now
      from platform_connections connection
      join metric_sync_logs log
        on log.platform_connection_id = connection.id and log.start_time = :now;
    insert into metric_days
      (platform, account_id, date, read_at, sync_id, connection_id, rows_read, rows_named,
       spend_read, spend_named, spend_total, impressions_read, clicks_read)
    select account.platform, account.account_id, :today - n, :now, account.sync_id,
           account.connection_id, :ads, :ads, 1000, 900, 1000, 50000, 700
      from metric_accounts account, generate_series(0, :days - 1) n;
    insert into metric_unnamed_ads
      (platform, account_id, campaign_id, ad_group_id, ad_id, ad_name, spend, currency, first_date,
       last_date, round_started_at)
    select account.platform, account.account_id, 'c1', 'g1', 'u' || n, 'Unnamed ' || n,
           n * 7919 % 1000 / 4.0, 'EUR', :today - 30, :today, :now
      from metric_accounts account, generate_series(1, :unnamed) n;
    insert into metric_ad_links (platform, request_id, level, id)
    select account.platform, request.id, 'ad', account.account_id || 'a' || n
      from metric_accounts account
     cross join generate_series(0, :ads - 1) n
      join (
             select id, row_number() over (order by created_at) - 1 as number from requests
           ) request
        on request.number
           = ((account.account_id::bigint - :first) / 4 * :ads + n) % :requests;
    insert into metric_named_ads (platform, level, id, named_at)
    select platform, level, id, :now from metric_ad_links;
    insert into metric_names (platform, account_id, level, id, name)
    select account.platform, account.account_id, level.name,
           account.account_id || left(level.name, 1) || n, level.name || ' ' || n
      from metric_accounts account, (values ('ad')) level (name), generate_series(0, :ads - 1) n;
    insert into metric_spend_changes
      (platform, account_id, request_id, date, number, sync_id, old_spend, new_spend, changed_at)
    select link.platform, left(link.id, 10), link.request_id, :today - 3, 1, gen_random_uuid(),
           1, 2, :now
      from (select distinct on (platform, left(id, 10)) * from metric_ad_links) link;
"""
_LEDGER = """
    insert into ad_metrics
      (platform, account_id, date, campaign_id, ad_group_id, ad_id, measures, currency, time_zone,
       sync_id)
    select account.platform, account.account_id, :today - day, account.account_id || 'c' || n % 5,
           account.account_id || 'g' || n % 20, account.account_id || 'a' || n,
           jsonb_build_object('spend', n % 97 + 0.25, 'impressions', n % 997, 'clicks', 3), 'EUR',
            'Europe/Oslo', account.sync_id
      from generate_series(:until, :since, -1) day
     cross join (select * from metric_accounts order by account_id offset 0) account
     cross join generate_series(0, :ads - 1) n;
"""
_FIGURES = """
    insert into performance_metrics
      (request_id, platform, metric_type, value, date, source, source_detail, derived, is_complete)
    select total.request_id, total.platform, kind.name,
           case kind.name when 'spend' then total.spend when 'impressions' then total.impressions
             when 'clicks' then total.clicks else 1 end,
           total.date, 'api_sync', '{"currency": "EUR"}', true, true
      from (
             select link.request_id, link.platform, fact.date,
                    sum((fact.measures ->> 'spend')::numeric) as spend,
                    sum((fact.measures ->> 'impressions')::numeric) as impressions,
                    sum((fact.measures ->> 'clicks')::numeric) as clicks
               from ad_metrics fact
               join metric_ad_links link
                 on link.platform = fact.platform and link.level = 'ad' and link.id = fact.ad_id
              where fact.date > :today - :charted
              group by link.request_id, link.platform, fact.date
           ) total
     cross join (
             values ('spend'), ('impressions'), ('clicks'), ('cpm'), ('cpc'), ('ctr'), ('reach')
           ) kind (name);
"""
_RETENTION = """
    insert into activity_log (entity_type, entity_id, action, created_at)
    select 'request', gen_random_uuid(), 'edited', :now - n * interval '10 minutes'
      from generate_series(1, :activity) n;
    insert into archived_activity_log (id, entity_type, entity_id, action, created_at)
    select gen_random_uuid(), 'request', gen_random_uuid(), 'edited',
           :now - n * interval '20 minutes'
      from generate_series(1, :activity) n;
    insert into retention_policies (entity_type, active_retention_days, archive_retention_days)
    values ('activity_log', 90, 365), ('notification_queue', 5, 10), ('metric_sync_logs', 5, 30),
           ('ad_metrics', 300, 300);
    insert into console_actions
      (id, action, arguments, who, session, began_at, renewed_at, ended_at, outcome, confirmed)
    select gen_random_uuid(), 'skip', '{}', 'Ada', 's', at, at, at, 'done', '{}'
      from generate_series(1, :activity) n, lateral (select :now - n * interval '1 hour') one (at);
"""
