-- Metrics, part 4a: the beginning of a sync.
--
--   account_connections    the connections that may read an account
--   begin_metric_sync      turns a plan into at most one sync, with its log
--   begin_metric_backfill  the same for a past range that an operator asked for

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The connections that may read an account now, the one that last read it first:
--   [{"id", "platform", "account_id", "account_name", "credentials", "digest", "has_worked"}]
create or replace function public.account_connections(
  account public.metric_accounts,
  as_of timestamptz default now()
)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(
           jsonb_agg(
             jsonb_build_object(
               'id', connection.id,
               'platform', connection.platform,
               'account_id', candidate.account_id,
               'account_name', connection.account_name,
               'credentials', connection.credentials,
               'digest', digest.of,
               'has_worked', coalesce(state.worked_credentials = digest.of, false)
             )
             order by connection.id is distinct from (account).connection_id,
                      connection.created_at, connection.id
           ),
           '[]'
         )
    from public.metric_connections((account).platform, (account).account_id, as_of) candidate
    join public.platform_connections connection on connection.id = candidate.id
    left join public.metric_connection_states state on state.connection_id = candidate.id
   cross join lateral (
          select public.credentials_digest(connection.credentials) as of
         ) digest
   where candidate.is_active and not candidate.is_parked and candidate.paused_until is null;
$$;

-- Turns the plan `plan_token` into the sync `token` with a log of its own; null when the plan
-- is stale (done, expired, or replaced) or no connection may read the account any longer. While its
-- app is paused, {"paused": <seconds>}, and no sync begins. Otherwise what open_metric_sync returns.
create or replace function public.begin_metric_sync(
  plan_token uuid,
  token uuid,
  lease interval,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  account public.metric_accounts;
  connections jsonb;
  paused interval;
begin
  select * into account
    from public.metric_accounts held
   where held.token = begin_metric_sync.plan_token
     and held.leased_until > as_of
     for update;
  if not found then
    return null;
  end if;
  connections := public.account_connections(account, as_of);
  if connections = '[]' then
    select min(candidate.paused_until) - as_of into paused
      from public.metric_connections(account.platform, account.account_id, as_of) candidate
     where candidate.is_active and not candidate.is_parked;
    if paused is not null then
      return jsonb_build_object('paused', extract(epoch from paused));
    end if;
    perform public.drop_metric_plans(array[plan_token], as_of);
    return null;
  end if;
  return public.open_metric_sync(
    account, connections, begin_metric_sync.token, lease,
    -- a round that began too long ago starts over
    case
      when account.round_started_at > as_of - interval '1 day' then account.round_started_at
      else as_of
    end,
    null, null, as_of
  );
end
$$;

-- What both have in common: takes over the account, closes a log that was left open, opens one.
-- `days_since` and `days_until` bound the days; null for those of a round. Returns
--   {"sync_id", "now", "platform", "account_id", "connections", "minutes", "whole_read_at",
--    "days_read", "days_left_out", "window_days", "failures"}
-- with days_read: the days that earlier syncs of the same round read completely, each with the start
-- of the sync that read it; days_left_out: those that could not be read and are not to be tried yet,
-- each with the reason.
create or replace function public.open_metric_sync(
  account public.metric_accounts,
  connections jsonb,
  token uuid,
  lease interval,
  round_started_at timestamptz,
  days_since date,
  days_until date,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  opened uuid := gen_random_uuid();
  state public.metric_accounts;
begin
  insert into public.metric_accounts as held
    (platform, account_id, token, leased_until, sync_id, attempted_at, round_started_at)
  values
    ((account).platform, (account).account_id, open_metric_sync.token, as_of + lease, opened,
     as_of, case when days_since is null then open_metric_sync.round_started_at end)
  on conflict on constraint metric_accounts_pkey do update
    set token = excluded.token,
        leased_until = excluded.leased_until,
        sync_id = excluded.sync_id,
        attempted_at = excluded.attempted_at,
        round_started_at = coalesce(excluded.round_started_at, held.round_started_at)
  returning * into state;
  if (account).sync_id is not null then
    perform public.close_orphaned_sync_logs((account).sync_id, lease, as_of);
    -- a sync that was killed could not report its own failure
    perform public.notify_of_account(
              account,
              (connections -> 0 ->> 'id')::uuid,
              jsonb_build_object('status', log.status, 'message', log.error_message),
              as_of
            )
       from public.metric_sync_logs log
      where log.id = (account).sync_id
        and log.details ->> 'code' = 'orphaned';
  end if;
  insert into public.metric_sync_logs (id, platform_connection_id, status, start_time)
  values (opened, (connections -> 0 ->> 'id')::uuid, 'in_progress', as_of);

  return jsonb_build_object(
    'sync_id', opened,
    'now', as_of,
    'platform', state.platform,
    'account_id', state.account_id,
    'connections', connections,
    'minutes', (
      select min(candidate.minutes)
        from public.metric_connections(state.platform, state.account_id, as_of) candidate
       where candidate.is_active and not candidate.is_parked
    ),
    'whole_read_at', state.whole_read_at,
    'days_read', coalesce(
      (
        select jsonb_object_agg(day.date, day.read_at)
          from public.metric_days day
         where day.platform = state.platform
           and day.account_id = state.account_id
           and day.read_at >= open_metric_sync.round_started_at
           and day.failures = 0
           -- no round is longer, and an account may have years of days
           and day.date between coalesce(days_since, as_of::date - 400)
                            and coalesce(days_until, as_of::date + 1)
      ),
      '{}'
    ),
    'days_left_out', coalesce(
      (
        select jsonb_object_agg(day.date, day.problem)
          from public.metric_days day
         where day.platform = state.platform
           and day.account_id = state.account_id
           and day.failures > 0
           and day.try_after > as_of
           and days_since is null -- a backfill tries every day of its range
      ),
      '{}'
    ),
    'window_days', state.window_days,
    'failures', state.failures
  );
end
$$;

-- Takes a connection's account for a backfill, as begin_metric_sync does for a sync;
-- {"refused": "busy"} while a sync holds it, {"refused": "unknown"} when there is no such
-- connection. The connection itself reads it, parked or not. The same range continues where it was
-- interrupted.
create or replace function public.begin_metric_backfill(
  connection_id uuid,
  token uuid,
  since date,
  until date,
  lease interval,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  connection public.platform_connections;
  account public.metric_accounts;
  started timestamptz;
begin
  select * into connection
    from public.platform_connections one
   where one.id = begin_metric_backfill.connection_id
     for no key update;
  if not found then
    return '{"refused": "unknown"}';
  end if;
  insert into public.metric_accounts (platform, account_id)
  values (
    public.metric_platform(connection.platform), public.metric_account_id(connection.account_id)
  )
  on conflict do nothing;
  select * into account
    from public.metric_accounts held
   where held.platform = public.metric_platform(connection.platform)
     and held.account_id = public.metric_account_id(connection.account_id)
     for update;
  if account.leased_until > as_of then
    return '{"refused": "busy"}';
  end if;

  insert into public.metric_backfills as asked (platform, account_id, since, until, started_at)
  values (
    account.platform, account.account_id, begin_metric_backfill.since,
    begin_metric_backfill.until, as_of
  )
  on conflict on constraint metric_backfills_pkey do update
    set started_at = case when asked.finished_at is null then asked.started_at else as_of end,
        finished_at = null
  returning asked.started_at into started;
  return public.open_metric_sync(
    account,
    jsonb_build_array(
      jsonb_build_object(
        'id', connection.id,
        'platform', connection.platform,
        'account_id', account.account_id,
        'account_name', connection.account_name,
        'credentials', connection.credentials,
        'digest', public.credentials_digest(connection.credentials),
        'has_worked', false
      )
    ),
    begin_metric_backfill.token, lease, started,
    begin_metric_backfill.since, begin_metric_backfill.until, as_of
  );
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'account_connections(public.metric_accounts, timestamptz)',
    'begin_metric_sync(uuid, uuid, interval, timestamptz)',
    'open_metric_sync(public.metric_accounts, jsonb, uuid, interval, timestamptz, date, date, timestamptz)',
    'begin_metric_backfill(uuid, uuid, date, date, interval, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
