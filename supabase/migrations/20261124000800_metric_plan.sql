-- Metrics, part 2: whose turn it is.
--
--   plan_metric_syncs   leases the connections that are due, as many as can be done in time
--   drop_metric_plans   gives back those that could not be handed over
--   begin_metric_sync   turns a plan into a sync: at most one, with its log
--   end_metric_sync     how it ended: log, last_synced_at, what to do next
--
-- Durations travel as intervals, so that no clock but the database's is compared with its rows.

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Tells one set of credentials from another without keeping them.
create or replace function public.credentials_digest(credentials jsonb)
returns text
language sql
immutable
set search_path = ''
as $$
  select encode(sha256(convert_to(coalesce(credentials::text, ''), 'UTF8')), 'hex');
$$;

-- Logs that say in_progress although nobody works on them any more: of killed workers, and of
-- older ones. `connection_id` null: of all connections.
create or replace function public.close_orphaned_sync_logs(
  connection_id uuid,
  longest interval,
  as_of timestamptz default now()
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  closed integer;
begin
  update public.metric_sync_logs log
     set status = 'failed',
         end_time = as_of,
         error_message = 'The sync ended without a result: its worker was killed or ran out of time',
         details = coalesce(log.details, '{}'::jsonb) || '{"code": "orphaned"}'::jsonb
   where log.status = 'in_progress'
     and (close_orphaned_sync_logs.connection_id is null
          or log.platform_connection_id = close_orphaned_sync_logs.connection_id)
     and not exists (
           select from public.metric_connection_states state
            where state.connection_id = log.platform_connection_id
              and state.sync_id = log.id
              and state.leased_until > as_of
         )
     -- an older worker that still runs beside this one keeps its log for as long
     and (log.start_time is null
          or log.start_time <= as_of - close_orphaned_sync_logs.longest
          or exists (
               select from public.metric_connection_states state
                where state.connection_id = log.platform_connection_id
                  and state.sync_id = log.id
             ));
  get diagnostics closed = row_count;
  return closed;
end
$$;

-- The connections whose time has come, those first that wait longest. `platforms` maps every
-- name of a platform to its main one.
create or replace function public.due_connections(
  platforms jsonb,
  as_of timestamptz default now()
)
returns table (connection_id uuid, waiting_since timestamptz)
language sql
stable
set search_path = ''
as $$
  select connection.id,
         greatest(
           coalesce(due.at, '-infinity'::timestamptz),
           coalesce(state.attempted_at, '-infinity'::timestamptz)
         )
    from public.platform_connections connection
    left join public.metric_connection_states state on state.connection_id = connection.id
    cross join lateral (
      select connection.last_synced_at
             + make_interval(mins => coalesce(connection.sync_frequency, 1440)) as at
    ) due
   where connection.is_active
     and (due.at is null or due.at <= as_of)
     and (state.leased_until is null or state.leased_until <= as_of)
     and (state.not_before is null or state.not_before <= as_of)
     and (state.parked_at is null
          or state.parked_credentials is distinct from
             public.credentials_digest(connection.credentials))
     and not exists (
           select from public.metric_platform_pauses pause
            where pause.platform = platforms ->> lower(btrim(connection.platform))
              and pause.paused_until > as_of
         );
$$;

-- Leases what is due for `lease` and returns
--   {"planned": [{"connection_id", "token"}], "in_flight", "left", "orphans"}.
-- No more are on their way at any time than `concurrency` syncs can do within a lease, by the
-- time that syncs took lately; none takes longer than `longest`. A second planner at the same
-- moment plans nothing.
create or replace function public.plan_metric_syncs(
  platforms jsonb,
  concurrency integer,
  lease interval,
  longest interval,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  orphans integer;
  in_flight integer;
  due integer;
  typical numeric;
  room integer;
  planned jsonb;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('plan_metric_syncs', 0)) then
    return jsonb_build_object('planned', '[]'::jsonb, 'in_flight', 0, 'left', 0, 'orphans', 0);
  end if;

  orphans := public.close_orphaned_sync_logs(null, longest, as_of);

  select count(*) into in_flight
    from public.metric_connection_states state
   where state.leased_until > as_of;
  select count(*) into due from public.due_connections(platforms, as_of);

  -- half a minute until there is something to go by
  select coalesce(avg(extract(epoch from recent.end_time - recent.start_time)), 30)
    into typical
    from (
      select log.start_time, log.end_time
        from public.metric_sync_logs log
       where log.status in ('success', 'partial')
         and log.start_time > as_of - interval '7 days'
         and log.end_time >= log.start_time
       order by log.start_time desc
       limit 200
    ) recent;
  typical := least(greatest(typical, 5), extract(epoch from longest));
  room := greatest(
    concurrency,
    floor(concurrency * extract(epoch from lease - longest) / typical)
  ) - in_flight;

  with chosen as (
    select connection_id
      from public.due_connections(platforms, as_of)
     order by waiting_since, connection_id
     limit greatest(room, 0)
  ),
  leased as (
    insert into public.metric_connection_states as state
      (connection_id, token, leased_until, attempted_at)
    select connection_id, gen_random_uuid(), as_of + lease, as_of
      from chosen
    on conflict on constraint metric_connection_states_pkey do update
      set token = excluded.token,
          leased_until = excluded.leased_until,
          attempted_at = excluded.attempted_at
      -- a backfill may have been quicker
      where state.leased_until is null or state.leased_until <= as_of
    returning state.connection_id, state.token
  )
  select coalesce(
           jsonb_agg(jsonb_build_object('connection_id', connection_id, 'token', token)), '[]'
         )
    into planned
    from leased;

  return jsonb_build_object(
    'planned', planned,
    'in_flight', in_flight,
    'left', due - jsonb_array_length(planned),
    'orphans', orphans
  );
end
$$;

-- Gives back plans (by their tokens) that nobody will get to see, to be planned again.
create or replace function public.drop_metric_plans(
  tokens uuid[],
  as_of timestamptz default now()
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  dropped integer;
begin
  update public.metric_connection_states state
     set leased_until = as_of, token = null
   where state.token = any (tokens);
  get diagnostics dropped = row_count;
  return dropped;
end
$$;

-- Turns the plan `plan_token` into the sync `token` with a log of its own; null when the plan
-- is stale (done, run out, or replaced) or the connection is no longer active. Returns
--   {"sync_id", "now", "connection": {...}, "days_read", "window_days", "failures"}
-- with days_read: what earlier syncs of the same round have read completely, each day with the
-- start of the sync that read it.
create or replace function public.begin_metric_sync(
  connection_id uuid,
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
  state public.metric_connection_states;
  connection public.platform_connections;
begin
  select * into state
    from public.metric_connection_states held
   where held.connection_id = begin_metric_sync.connection_id
     and held.token = begin_metric_sync.plan_token
     and held.leased_until > as_of
     for update;
  if not found then
    return null;
  end if;
  select * into connection
    from public.platform_connections one
   where one.id = begin_metric_sync.connection_id and one.is_active;
  if not found then
    update public.metric_connection_states held
       set token = null, leased_until = null
     where held.connection_id = begin_metric_sync.connection_id;
    return null;
  end if;

  return public.open_metric_sync(
    connection, begin_metric_sync.token, lease,
    -- a round that lies too far back is read anew from its beginning
    case
      when state.round_started_at > as_of - interval '1 day' then state.round_started_at
      else as_of
    end,
    null, null, as_of
  );
end
$$;

-- The common part of begin_metric_sync and begin_metric_backfill: takes the connection over,
-- closes what was left open, opens a log. `days_since` and `days_until` bound days_read; null
-- for the days of a round.
create or replace function public.open_metric_sync(
  connection public.platform_connections,
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
  state public.metric_connection_states;
begin
  insert into public.metric_connection_states as held
    (connection_id, token, leased_until, sync_id, attempted_at, round_started_at,
     tried_credentials)
  values
    (connection.id, open_metric_sync.token, as_of + lease, opened, as_of,
     case when days_since is null then open_metric_sync.round_started_at end,
     public.credentials_digest(connection.credentials))
  on conflict on constraint metric_connection_states_pkey do update
    set token = excluded.token,
        leased_until = excluded.leased_until,
        sync_id = excluded.sync_id,
        attempted_at = excluded.attempted_at,
        round_started_at = coalesce(excluded.round_started_at, held.round_started_at),
        tried_credentials = excluded.tried_credentials
  returning * into state;
  perform public.close_orphaned_sync_logs(connection.id, lease, as_of);
  insert into public.metric_sync_logs (id, platform_connection_id, status, start_time)
  values (opened, connection.id, 'in_progress', as_of);

  return jsonb_build_object(
    'sync_id', opened,
    'now', as_of,
    'connection', jsonb_build_object(
      'id', connection.id,
      'platform', connection.platform,
      'account_id', connection.account_id,
      'account_name', connection.account_name,
      'credentials', connection.credentials
    ),
    'days_read', coalesce(
      (
        select jsonb_object_agg(day.date, coalesce(log.start_time, open_metric_sync.round_started_at))
          from public.metric_days day
          left join public.metric_sync_logs log on log.id = day.sync_id
         where day.connection_id = connection.id
           and day.read_at >= open_metric_sync.round_started_at
           and (days_since is null or day.date between days_since and days_until)
      ),
      '{}'
    ),
    'window_days', state.window_days,
    'failures', state.failures
  );
end
$$;

-- Takes a connection for a backfill, as begin_metric_sync; {"refused": "busy"} while a sync
-- holds it, {"refused": "unknown"} when there is none. The same range goes on where it was
-- broken off.
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
  started timestamptz;
begin
  select * into connection
    from public.platform_connections one
   where one.id = begin_metric_backfill.connection_id
     for no key update;
  if not found then
    return '{"refused": "unknown"}';
  end if;
  perform 1 from public.metric_connection_states state
    where state.connection_id = connection.id and state.leased_until > as_of;
  if found then
    return '{"refused": "busy"}';
  end if;

  insert into public.metric_backfills as asked (connection_id, since, until, started_at)
  values (connection.id, begin_metric_backfill.since, begin_metric_backfill.until, as_of)
  on conflict on constraint metric_backfills_pkey do update
    set started_at = case when asked.finished_at is null then asked.started_at else as_of end,
        finished_at = null
  returning asked.started_at into started;
  return public.open_metric_sync(
    connection, begin_metric_backfill.token, lease, started,
    begin_metric_backfill.since, begin_metric_backfill.until, as_of
  );
end
$$;

-- Whether the sync `token` still holds the connection; renews its lease if so. Its row stays
-- locked to the end of the transaction, so that nobody takes over in between.
create or replace function public.hold_connection(
  connection_id uuid,
  token uuid,
  lease interval,
  as_of timestamptz default now()
)
returns uuid
language sql
set search_path = ''
as $$
  update public.metric_connection_states state
     set leased_until = as_of + lease
   where state.connection_id = hold_connection.connection_id
     and state.token = hold_connection.token
  returning state.sync_id;
$$;

-- Ends a sync and frees its connection; false when somebody else has it by now. `result`:
--   status           success, partial or failed
--   message, details, created, updated  for the log
--   window_days      days to read at once from now on
--   not_before       seconds until the next try, where it is to wait
--   pause            {"platform", "seconds", "reason"} where the whole platform is to wait
--   parked           the reason, where nothing will succeed with these credentials
--   backfill         {"since", "until"} where that is what it was
create or replace function public.end_metric_sync(
  connection_id uuid,
  token uuid,
  result jsonb,
  as_of timestamptz default now()
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  state public.metric_connection_states;
  started timestamptz;
  is_backfill constant boolean := result ? 'backfill';
  succeeded constant boolean := result ->> 'status' = 'success';
  failed constant boolean := result ->> 'status' = 'failed';
begin
  select * into state
    from public.metric_connection_states held
   where held.connection_id = end_metric_sync.connection_id
     and held.token = end_metric_sync.token
     for update;
  if not found then
    return false;
  end if;

  update public.metric_sync_logs log
     set status = result ->> 'status',
         end_time = greatest(as_of, log.start_time),
         metrics_created = (result ->> 'created')::integer,
         metrics_updated = (result ->> 'updated')::integer,
         error_message = result ->> 'message',
         details = result -> 'details'
   where log.id = state.sync_id
  returning log.start_time into started;

  if is_backfill and succeeded then
    update public.metric_backfills asked
       set finished_at = as_of
     where asked.connection_id = end_metric_sync.connection_id
       and asked.since = (result -> 'backfill' ->> 'since')::date
       and asked.until = (result -> 'backfill' ->> 'until')::date;
  elsif succeeded then
    update public.platform_connections connection
       set last_synced_at = started
     where connection.id = end_metric_sync.connection_id;
  end if;

  update public.metric_connection_states held
     set token = null,
         leased_until = null,
         window_days = coalesce((result ->> 'window_days')::integer, held.window_days),
         round_started_at =
           case when succeeded and not is_backfill then null else held.round_started_at end,
         failures = case
           when is_backfill then held.failures
           when failed then held.failures + 1
           else 0
         end,
         not_before = coalesce(
           as_of + make_interval(secs => (result ->> 'not_before')::double precision),
           case when is_backfill then held.not_before end
         ),
         parked_at = case when failed then held.parked_at end,
         parked_reason = case when failed then held.parked_reason end,
         parked_credentials = case when failed then held.parked_credentials end
   where held.connection_id = end_metric_sync.connection_id;

  if result -> 'pause' is not null then
    insert into public.metric_platform_pauses as pause (platform, paused_until, reason)
    values (
      result -> 'pause' ->> 'platform',
      as_of + make_interval(secs => (result -> 'pause' ->> 'seconds')::double precision),
      result -> 'pause' ->> 'reason'
    )
    on conflict on constraint metric_platform_pauses_pkey do update
      set paused_until = greatest(pause.paused_until, excluded.paused_until),
          reason = excluded.reason;
  end if;
  if result ->> 'parked' is not null then
    perform public.park_connection(
      end_metric_sync.connection_id, result ->> 'parked', as_of
    );
  end if;
  return true;
end
$$;

-- No plan includes the connection until its credentials are others than the refused ones, which
-- they may be by now. Says so, once, through every active notification_config for
-- (platform_connection, sync_failed).
create or replace function public.park_connection(
  connection_id uuid,
  reason text,
  as_of timestamptz default now()
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  connection public.platform_connections;
begin
  select * into connection
    from public.platform_connections one
   where one.id = park_connection.connection_id;
  update public.metric_connection_states state
     set parked_at = as_of,
         parked_reason = park_connection.reason,
         parked_credentials = state.tried_credentials
   where state.connection_id = connection.id
     and (state.parked_at is null
          or state.parked_credentials is distinct from state.tried_credentials);
  if not found then
    return; -- said before
  end if;
  insert into public.notification_queue
    (config_id, entity_id, entity_type, event_data, next_attempt_at, created_at)
  select config.id, connection.id, 'platform_connection',
         jsonb_build_object(
           'connection_id', connection.id,
           'platform', connection.platform,
           'account_id', connection.account_id,
           'account_name', connection.account_name,
           'error', park_connection.reason
         ),
         as_of, as_of
    from public.notification_config config
   where config.entity_type = 'platform_connection'
     and config.event_type = 'sync_failed'
     and config.is_active;
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'credentials_digest(jsonb)',
    'close_orphaned_sync_logs(uuid, interval, timestamptz)',
    'due_connections(jsonb, timestamptz)',
    'plan_metric_syncs(jsonb, integer, interval, interval, timestamptz)',
    'drop_metric_plans(uuid[], timestamptz)',
    'begin_metric_sync(uuid, uuid, uuid, interval, timestamptz)',
    'open_metric_sync(public.platform_connections, uuid, interval, timestamptz, date, date, timestamptz)',
    'begin_metric_backfill(uuid, uuid, date, date, interval, timestamptz)',
    'hold_connection(uuid, uuid, interval, timestamptz)',
    'end_metric_sync(uuid, uuid, jsonb, timestamptz)',
    'park_connection(uuid, text, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
