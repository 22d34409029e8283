-- What the console shows of what is stalled.
--
--   console_stalled         what of the queue waits for a person, and why
--   console_account_counts  how many ad accounts are in each state

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- [{"kind": stopped, destination or config, "destination", "config_id", "event_type", "code",
-- "reason", "since", "next_probe", "waiting"}]: first all delivery, then up to `row_limit` parked
-- destinations, the earliest next probe first, and up to as many configs whose notifications have
-- no destination. `waiting` counts up to 100.
create or replace function public.console_stalled(row_limit integer)
returns jsonb
language sql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off
as $$
  with recursive unrouted (config_id, place) as (
    (
      select waiting.config_id, 1
        from public.notification_unrouted waiting
       order by waiting.config_id
       limit 1
    )
    union all
    select (
             select waiting.config_id
               from public.notification_unrouted waiting
              where waiting.config_id > unrouted.config_id
              order by waiting.config_id
              limit 1
           ), unrouted.place + 1
      from unrouted
     where unrouted.config_id is not null and unrouted.place < row_limit
  ),
  parked as (
    select known.destination, known.park_code, known.park_reason, known.parked_at, known.probe_at
      from public.slack_destinations known
     where known.parked_at is not null
     order by known.probe_at
     limit row_limit
  ),
  stalled as (
    select 'stopped' as kind, null::text as destination, null::uuid as config_id,
           workspace.stop_code as code, workspace.stop_reason as reason,
           workspace.stopped_at as since, null::timestamptz as next_probe, null::bigint as waiting
      from public.slack_workspace workspace
     where workspace.stopped_at is not null
    union all
    select 'destination', parked.destination, null, parked.park_code, parked.park_reason,
           parked.parked_at, parked.probe_at,
           (
             select count(*)
               from (
                 select
                   from public.notification_deliveries delivery
                  where delivery.destination = parked.destination
                    and delivery.state in ('pending', 'unknown')
                  limit 100
               ) counted
           )
      from parked
    union all
    select 'config', null, unrouted.config_id, 'no_route', oldest.reason, oldest.due_at,
           oldest.lookup_at,
           (
             select count(*)
               from (
                 select
                   from public.notification_unrouted waiting
                  where waiting.config_id = unrouted.config_id
                  limit 100
               ) counted
           )
      from unrouted
     cross join lateral (
             select waiting.reason, waiting.due_at, waiting.lookup_at
               from public.notification_unrouted waiting
              where waiting.config_id = unrouted.config_id
              order by waiting.due_at, waiting.queued_at
              limit 1
           ) oldest
     where unrouted.config_id is not null
  )
  select coalesce(
           jsonb_agg(
             to_jsonb(stalled) || jsonb_build_object('event_type', config.event_type)
             order by array_position(array['stopped', 'destination', 'config'], stalled.kind),
                      stalled.since, stalled.destination, stalled.config_id
           ),
           '[]'
         )
    from stalled
    left join public.notification_config config on config.id = stalled.config_id;
$$;

-- {"parked", "unread", "failing", "late", "partial", "synced", "next_due_at"}: each account with an
-- active connection counts once, in the first of these states that applies. An account is late once
-- it has been due for longer than `slack`.
create or replace function public.console_account_counts(
  slack interval,
  as_of timestamptz default now()
)
returns jsonb
language sql
stable
set search_path = ''
as $$
  with connected as materialized (
    select connection.platform, connection.account_id,
           bool_and(connection.is_parked) as is_parked,
           min(connection.due_at) as due_at
      from public.metric_connections(null, null, as_of) connection
     where connection.is_active
     group by connection.platform, connection.account_id
  ),
  accounts as materialized (
    select case
             when connected.is_parked then 'parked'
             when account.failures > 0 then 'failing'
             when log.id is null or account.whole_read_at is null then 'unread'
             when connected.due_at < as_of - slack then 'late'
             when log.status = 'partial' then 'partial'
             else 'synced'
           end as state,
           case when not connected.is_parked
                then greatest(connected.due_at, account.not_before) end as due_at
      from connected
      left join public.metric_accounts account
        on account.platform = connected.platform and account.account_id = connected.account_id
      left join lateral (
        select found.id, found.status
          from public.metric_sync_logs found
         where found.id = account.sync_id
        offset 0
      ) log on true
  )
  select jsonb_build_object(
           'parked', count(*) filter (where state = 'parked'),
           'unread', count(*) filter (where state = 'unread'),
           'failing', count(*) filter (where state = 'failing'),
           'late', count(*) filter (where state = 'late'),
           'partial', count(*) filter (where state = 'partial'),
           'synced', count(*) filter (where state = 'synced'),
           'next_due_at', min(nullif(due_at, '-infinity')) filter (where due_at > as_of)
         )
    from accounts;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_stalled(integer)',
    'console_account_counts(interval, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
