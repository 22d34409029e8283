-- Metrics, part 4b: who holds an account, and the end of a sync.
--
--   hold_account        the fence: nothing is written for an account without its token
--   read_by_connection  another connection of the account takes over
--   end_metric_sync     how it ended: log, last_synced_at, what to do next

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The account that the sync `token` still holds, with its lease renewed; nothing when another sync
-- holds it. Its row stays locked until the transaction ends, so that no other sync takes over in
-- between.
create or replace function public.hold_account(
  token uuid,
  lease interval,
  as_of timestamptz default now()
)
returns setof public.metric_accounts
language sql
set search_path = ''
as $$
  update public.metric_accounts account
     set leased_until = as_of + lease
   where account.token = hold_account.token
  returning *;
$$;

-- Another connection of the account reads it from now on: the log names that one. Null when the
-- sync no longer holds the account.
create or replace function public.read_by_connection(
  token uuid,
  connection_id uuid,
  lease interval,
  as_of timestamptz default now()
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  account public.metric_accounts;
begin
  select * into account from public.hold_account(token, lease, as_of);
  if not found then
    return null;
  end if;
  update public.metric_sync_logs log
     set platform_connection_id = read_by_connection.connection_id
   where log.id = account.sync_id;
  return true;
end
$$;

-- Ends a sync and releases its account; false when another sync holds it by now. `result`:
--   status           success, partial or failed
--   message, details, created, updated  for the log
--   connection       {"id", "digest"} of the one that read it, where one did
--   is_done          everything in the range that can be read was read
--   is_whole         the range was the whole look-back
--   window_days      days to read at once from now on
--   not_before       seconds until the next try, where it is to wait
--   pause            {"seconds", "reason", "connection_id"} where that connection's app is to wait
--   parked           [{"connection_id", "digest", "reason"}] whose credentials were refused
--   backfill         {"since", "until"} where that is what it was
create or replace function public.end_metric_sync(
  token uuid,
  result jsonb,
  as_of timestamptz default now()
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  state public.metric_accounts;
  started timestamptz;
  read_by uuid;
  is_backfill constant boolean := result ? 'backfill';
  is_done constant boolean := coalesce((result ->> 'is_done')::boolean, false);
  failed constant boolean := result ->> 'status' = 'failed';
begin
  select * into state
    from public.metric_accounts held
   where held.token = end_metric_sync.token
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
  returning log.start_time, log.platform_connection_id into started, read_by;

  if is_backfill and is_done then
    update public.metric_backfills asked
       set finished_at = as_of
     where asked.platform = state.platform
       and asked.account_id = state.account_id
       and asked.since = (result -> 'backfill' ->> 'since')::date
       and asked.until = (result -> 'backfill' ->> 'until')::date;
  elsif is_done then
    update public.platform_connections connection
       set last_synced_at = coalesce(started, state.attempted_at)
      from public.metric_connections(state.platform, state.account_id, as_of) candidate
     where candidate.is_active and connection.id = candidate.id;
  end if;

  update public.metric_accounts held
     set token = null,
         leased_until = null,
         connection_id = coalesce((result -> 'connection' ->> 'id')::uuid, held.connection_id),
         window_days = coalesce((result ->> 'window_days')::integer, held.window_days),
         whole_read_at = case
           when is_done and not is_backfill and (result ->> 'is_whole')::boolean
             then coalesce(held.round_started_at, held.attempted_at)
           else held.whole_read_at
         end,
         round_started_at =
           case when is_done and not is_backfill then null else held.round_started_at end,
         failures = case
           when is_backfill then held.failures
           when failed then held.failures + 1
           else 0
         end,
         not_before = coalesce(
           as_of + make_interval(secs => (result ->> 'not_before')::double precision),
           case when is_backfill then held.not_before end
         )
   where held.platform = state.platform and held.account_id = state.account_id;

  perform public.pause_app(state.platform, result -> 'pause', as_of);
  perform public.connection_worked(
    (result -> 'connection' ->> 'id')::uuid, result -> 'connection' ->> 'digest', as_of
  );
  perform public.park_connection(
            (parked ->> 'connection_id')::uuid, parked ->> 'digest', parked ->> 'reason', as_of
          )
     from jsonb_array_elements(coalesce(result -> 'parked', '[]')) parked;
  if not is_backfill then
    perform public.notify_of_account(
      state, coalesce((result -> 'connection' ->> 'id')::uuid, read_by), result, as_of
    );
  end if;
  return true;
end
$$;

-- {"seconds", "reason", "connection_id"}: no requests are sent for the connection's app until then;
-- null for no pause.
create or replace function public.pause_app(
  platform text,
  pause jsonb,
  as_of timestamptz default now()
)
returns void
language sql
set search_path = ''
as $$
  insert into public.metric_platform_pauses as known (platform, app, paused_until, reason)
  select pause_app.platform,
         public.metric_app(connection.credentials),
         as_of + make_interval(secs => (pause ->> 'seconds')::double precision),
         pause ->> 'reason'
    from public.platform_connections connection
   where connection.id = (pause ->> 'connection_id')::uuid
  on conflict on constraint metric_platform_pauses_pkey do update
    set paused_until = greatest(known.paused_until, excluded.paused_until),
        reason = excluded.reason;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'hold_account(uuid, interval, timestamptz)',
    'read_by_connection(uuid, uuid, interval, timestamptz)',
    'end_metric_sync(uuid, jsonb, timestamptz)',
    'pause_app(text, jsonb, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
