-- What the console shows of ad accounts.
--
--   console_accounts       accounts, a page at a time, each with its month and its syncs
--   console_new_accounts   connections that no sync has read yet
--   console_account        one account: its connections, its month in full
--
-- Each reads as many rows as its page shows, however many there are: every lookup uses an index,
-- also while statistics are old or a table is small. A page begins after the key of the row before
-- it.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The days of an account that are known, oldest first: [{"date", "read_at", "is_restated",
-- "is_unreadable"}].
create or replace function public.console_month(
  platform text,
  account_id text,
  since date,
  until date
)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(
           jsonb_agg(
             jsonb_build_object(
               'date', day.date,
               'read_at', day.read_at,
               'is_restated', exists (
                 select
                   from public.metric_spend_changes change
                  where change.platform = console_month.platform
                    and change.account_id = console_month.account_id
                    and change.date = day.date
                  order by change.request_id, change.number
                  limit 1
               ),
               'is_unreadable', day.failures > 0
             )
             order by day.date
           ),
           '[]'
         )
    from public.metric_days day
   where day.platform = console_month.platform
     and day.account_id = console_month.account_id
     and day.date between console_month.since and console_month.until;
$$;

-- The state of an account and its last sync: {"platform", "account_id", "connection_id", "name",
-- "is_active", "sync_frequency", "last_synced_at", "parked", "until", "reason", "is_syncing",
-- "failures", "window_days", "time_zone", "currency", "sync": {"id", "status", "start_time",
-- "end_time", "error", "requests", "api_version"}}. The connection is the one that read it last.
create or replace function public.console_account_state(
  account public.metric_accounts,
  as_of timestamptz default now()
)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
           'platform', (account).platform,
           'account_id', (account).account_id,
           'connection_id', connection.id,
           'name', coalesce(connection.account_name, log.details ->> 'account'),
           'is_active', connection.is_active,
           'sync_frequency', coalesce(connection.sync_frequency, 1440),
           'last_synced_at', connection.last_synced_at,
           'parked', case
             when state.parked_credentials = public.credentials_digest(connection.credentials)
               then state.parked_reason
           end,
           'until', greatest(
             case when (account).not_before > as_of then (account).not_before end,
             pause.paused_until
           ),
           'reason', coalesce(pause.reason, log.error_message),
           'is_syncing', coalesce((account).leased_until > as_of, false),
           'failures', (account).failures,
           'window_days', (account).window_days,
           'time_zone', coalesce(log.details ->> 'time_zone', fact.time_zone),
           'currency', coalesce(log.details ->> 'currency', fact.currency),
           'sync', case when log.id is not null then jsonb_build_object(
             'id', log.id,
             'status', log.status,
             'start_time', log.start_time,
             'end_time', log.end_time,
             'error', log.error_message,
             'requests', log.details -> 'requests',
             'api_version', log.details ->> 'api_version'
           ) end
         )
    from (select) one
    left join lateral (
           select last.*
             from public.metric_sync_logs last
            where last.id = (account).sync_id
           offset 0
         ) log on true
    left join lateral (
           select own.*
             from public.platform_connections own
            where own.id = coalesce((account).connection_id, log.platform_connection_id)
           offset 0
         ) connection on true
    left join public.metric_connection_states state
      on state.connection_id = connection.id and state.parked_at is not null
    left join public.metric_platform_pauses pause
      on pause.platform = (account).platform
     and pause.app = public.metric_app(connection.credentials)
     and pause.paused_until > as_of
    left join lateral (
           select row.time_zone, row.currency
             from public.ad_metrics row
            where row.account_id = (account).account_id and row.platform = (account).platform
            order by row.date desc, row.campaign_id desc
            limit 1
         ) fact on true;
$$;

-- {"now", "accounts": [console_account_state || {"days": console_month}], "after": {"platform",
-- "account_id"}, null at the end}, by platform and id.
create or replace function public.console_accounts(
  row_limit integer,
  since date,
  until date,
  after jsonb default null,
  as_of timestamptz default now()
)
returns jsonb
language sql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_incremental_sort = off
as $$
  with listed as materialized (
    select account
      from public.metric_accounts account
     where (account.platform, account.account_id)
           > (coalesce(console_accounts.after ->> 'platform', ''),
              coalesce(console_accounts.after ->> 'account_id', ''))
     order by account.platform, account.account_id
     limit row_limit + 1
  ),
  page as materialized (
    select (listed.account).platform, (listed.account).account_id, listed.account
      from listed
     order by 1, 2
     limit row_limit
  )
  select jsonb_build_object(
           'now', as_of,
           'accounts', coalesce(
             jsonb_agg(
               public.console_account_state(page.account, as_of) || jsonb_build_object(
                 'days', public.console_month(page.platform, page.account_id, since, until)
               )
               order by page.platform, page.account_id
             ),
             '[]'
           ),
           'after', case
             when (select count(*) from listed) > row_limit then (
               select jsonb_build_object('platform', last.platform, 'account_id', last.account_id)
                 from page last
                order by last.platform desc, last.account_id desc
                limit 1
             )
           end
         )
    from page;
$$;

-- Connections that were never synced and whose account has never been planned: [{"id", "platform",
-- "account_id", "name", "is_active", "created_at"}], newest first.
create or replace function public.console_new_accounts(row_limit integer)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(fresh) order by fresh.created_at desc, fresh.id), '[]')
    from (
      select connection.id, public.metric_platform(connection.platform) as platform,
             public.metric_account_id(connection.account_id) as account_id,
             connection.account_name as name, connection.is_active, connection.created_at
        from public.platform_connections connection
       where connection.last_synced_at is null
         and not exists (
               select from public.metric_accounts account
                where account.platform = public.metric_platform(connection.platform)
                  and account.account_id = public.metric_account_id(connection.account_id)
             )
       order by connection.created_at desc, connection.id
       limit row_limit
    ) fresh;
$$;

-- {"now", "account": console_account_state, "connections": [{"id", "name", "is_active",
-- "is_parked", "last_synced_at", "sync_frequency", "reason"}], "days": [{"date", "read_at",
-- "is_restated", "is_unreadable", "problem", "try_after", "rows_read", "rows_named", "spend_read",
-- "spend_named", "spend_total", "impressions_read", "clicks_read"}]}; null where there is no such
-- account.
create or replace function public.console_account(
  platform text,
  account_id text,
  since date,
  until date,
  as_of timestamptz default now()
)
returns jsonb
language sql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_incremental_sort = off
as $$
  select jsonb_build_object(
           'now', as_of,
           'account', public.console_account_state(account, as_of),
           'connections', (
             select coalesce(jsonb_agg(to_jsonb(own) order by own.is_active desc, own.id), '[]')
               from (
                 select one.id, one.is_active, one.is_parked, one.minutes as sync_frequency,
                        connection.account_name as name, connection.last_synced_at,
                        case when one.is_parked then state.parked_reason end as reason
                   from public.metric_connections(account.platform, account.account_id, as_of) one
                   join public.platform_connections connection on connection.id = one.id
                   left join public.metric_connection_states state on state.connection_id = one.id
               ) own
           ),
           'days', (
             select coalesce(jsonb_agg(to_jsonb(known) order by known.date), '[]')
               from (
                 select day.date, day.read_at, day.failures > 0 as is_unreadable,
                        day.problem, day.try_after,
                        day.rows_read, day.rows_named, day.spend_read::text,
                        day.spend_named::text, day.spend_total::text,
                        day.impressions_read::text, day.clicks_read::text,
                        exists (
                          select
                            from public.metric_spend_changes change
                           where change.platform = account.platform
                             and change.account_id = account.account_id
                             and change.date = day.date
                           order by change.request_id, change.number
                           limit 1
                        ) as is_restated
                   from public.metric_days day
                  where day.platform = account.platform
                    and day.account_id = account.account_id
                    and day.date between console_account.since and console_account.until
               ) known
           )
         )
    from public.metric_accounts account
   where account.platform = console_account.platform
     and account.account_id = console_account.account_id;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_month(text, text, date, date)',
    'console_account_state(public.metric_accounts, timestamptz)',
    'console_accounts(integer, date, date, jsonb, timestamptz)',
    'console_new_accounts(integer)',
    'console_account(text, text, date, date, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
