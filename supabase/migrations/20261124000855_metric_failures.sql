-- Metrics, part 4c: a lasting failure is reported once, and once more when it is over.
--
--   notify_of_sync     queues a notification about an account
--   notify_of_account  after a sync: failing for a day, days that cannot be read, recovered
--   park_connection    a connection's credentials were refused
--   connection_worked  its credentials, the same or new ones, have worked

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- A platform as people write it.
create or replace function public.metric_platform_name(name text)
returns text
language sql
immutable
set search_path = ''
as $$
  select case public.metric_platform(name)
    when 'meta' then 'Meta'
    when 'google_ads' then 'Google Ads'
    when 'tiktok' then 'TikTok'
    when 'linkedin' then 'LinkedIn'
    else name
  end;
$$;

-- Queues one notification for each active notification_config of (platform_connection,
-- sync_failed); after a recovery, for each of (platform_connection, sync_recovered), or, where there
-- is none of these, for the ones that reported the failure. The event has
--   {headline, state: failed | recovered, problem: refused | failing | unread_days, error,
--    failed_since, connection_id, platform, platform_name, account_id, account_name, connections}
create or replace function public.notify_of_sync(
  connection_id uuid,
  state text,
  problem text,
  reason text,
  failed_since timestamptz,
  connections bigint,
  as_of timestamptz default now()
)
returns void
language sql
set search_path = ''
as $$
  with listening as (
    select config.id, config.event_type
      from public.notification_config config
     where config.entity_type = 'platform_connection'
       and config.event_type in ('sync_failed', 'sync_recovered')
       and config.is_active
  )
  insert into public.notification_queue
    (config_id, entity_id, entity_type, event_data, next_attempt_at, created_at)
  select listening.id, connection.id, 'platform_connection',
         jsonb_build_object(
           'headline', case
             when notify_of_sync.state = 'recovered' then 'Sync works again'
             when problem = 'unread_days' then 'Sync incomplete'
             else 'Sync failed'
           end,
           'state', notify_of_sync.state,
           'problem', problem,
           'error', reason,
           'failed_since', failed_since,
           'connection_id', connection.id,
           'platform', connection.platform,
           'platform_name', public.metric_platform_name(connection.platform),
           'account_id', connection.account_id,
           'account_name', connection.account_name,
           'connections', notify_of_sync.connections
         ),
         as_of, as_of
    from listening
    join public.platform_connections connection on connection.id = notify_of_sync.connection_id
   where listening.event_type = case
           when notify_of_sync.state = 'recovered' and exists (
                  select from listening other where other.event_type = 'sync_recovered'
                ) then 'sync_recovered'
           else 'sync_failed'
         end;
$$;

-- After a sync of the account that ended with `result` (see end_metric_sync), `before` being its
-- row until then: a lasting problem is reported once, and so is its end. Refused credentials are
-- reported for their connection.
create or replace function public.notify_of_account(
  before public.metric_accounts,
  connection_id uuid,
  result jsonb,
  as_of timestamptz default now()
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  failed constant boolean := result ->> 'status' = 'failed';
  refused constant boolean := coalesce(result -> 'parked', '[]') <> '[]';
  is_done constant boolean := coalesce((result ->> 'is_done')::boolean, false);
  is_whole constant boolean := coalesce((result ->> 'is_whole')::boolean, false);
  reported constant text := (before).reported_problem;
  since timestamptz;
  problem text;
begin
  since := case
    when failed and refused then (before).failing_since
    when failed then coalesce((before).failing_since, (before).attempted_at, as_of)
  end;
  problem := case
    when failed and not refused and since <= as_of - interval '1 day' then 'failing'
    when result -> 'details' ->> 'code' = 'days_left_out' then 'unread_days'
    when failed or not is_done then reported
    -- a sync of the last days alone says nothing about earlier ones
    when reported = 'unread_days' and not is_whole then reported
  end;
  update public.metric_accounts held
     set failing_since = since,
         reported_problem = problem,
         reported_since = case
           when problem is null then null
           when problem = reported then held.reported_since
           else coalesce(since, as_of)
         end
   where held.platform = (before).platform and held.account_id = (before).account_id;
  if problem is not distinct from reported then
    return;
  end if;
  perform public.notify_of_sync(
    notify_of_account.connection_id,
    case when problem is null then 'recovered' else 'failed' end,
    coalesce(problem, reported),
    case when problem is null then 'It works again.' else result ->> 'message' end,
    case when problem is null then (before).reported_since else coalesce(since, as_of) end,
    (
      select count(*)
        from public.metric_connections((before).platform, (before).account_id, as_of) candidate
       where candidate.is_active
    ),
    as_of
  );
end
$$;

-- No plan includes the connection until its credentials differ from the refused ones, as they may
-- by now. Reported once for a token, however many connections share it.
create or replace function public.park_connection(
  connection_id uuid,
  digest text,
  reason text,
  as_of timestamptz default now()
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  connection public.platform_connections;
  token text;
  is_known boolean;
begin
  perform pg_advisory_xact_lock(hashtextextended('park_connection', 0));
  select * into connection
    from public.platform_connections one
   where one.id = park_connection.connection_id;
  if not found then
    return;
  end if;
  -- which token it was is known only while the credentials are still the same
  token := case
    when public.credentials_digest(connection.credentials) = park_connection.digest
      then public.token_digest(connection.credentials)
  end;
  select exists (
           select from public.metric_connection_states state
            where state.parked_at is not null
              and (state.parked_token = token
                   or (state.connection_id = connection.id
                       and state.parked_credentials = park_connection.digest))
         )
    into is_known;
  insert into public.metric_connection_states as state
    (connection_id, parked_at, parked_reason, parked_credentials, parked_token, is_reported)
  values (connection.id, as_of, park_connection.reason, park_connection.digest, token, not is_known)
  on conflict on constraint metric_connection_states_pkey do update
    set parked_at = excluded.parked_at,
        parked_reason = excluded.parked_reason,
        parked_credentials = excluded.parked_credentials,
        parked_token = excluded.parked_token,
        is_reported = state.is_reported or excluded.is_reported;
  if is_known then
    return;
  end if;
  perform public.notify_of_sync(
    connection.id, 'failed', 'refused', park_connection.reason, as_of,
    (
      select count(*)
        from public.platform_connections one
       where one.id = connection.id
          or (one.is_active and public.token_digest(one.credentials) = token)
    ),
    as_of
  );
end
$$;

-- These credentials (by their digest) have worked: the connection is no longer parked. The recovery
-- of a token is reported when the last of the active connections that share it works.
create or replace function public.connection_worked(
  connection_id uuid,
  digest text,
  as_of timestamptz default now()
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  parked public.metric_connection_states;
  left_parked uuid;
begin
  select * into parked
    from public.metric_connection_states state
   where state.connection_id = connection_worked.connection_id
     and (state.parked_at is not null or state.is_reported);
  if found then
    -- of two that recover at the same moment only one is the last
    perform pg_advisory_xact_lock(hashtextextended('park_connection', 0));
    select * into parked
      from public.metric_connection_states state
     where state.connection_id = connection_worked.connection_id
       for update;
  end if;
  insert into public.metric_connection_states as state (connection_id, worked_credentials)
  select connection.id, connection_worked.digest
    from public.platform_connections connection
   where connection.id = connection_worked.connection_id
  on conflict on constraint metric_connection_states_pkey do update
    set worked_credentials = excluded.worked_credentials,
        parked_at = null,
        parked_reason = null,
        parked_credentials = null,
        parked_token = null,
        is_reported = false
    where state.parked_at is not null
       or state.is_reported
       or state.worked_credentials is distinct from excluded.worked_credentials;
  if parked.is_reported is not true then
    return;
  end if;
  select state.connection_id into left_parked
    from public.metric_connection_states state
    join public.platform_connections connection on connection.id = state.connection_id
   where state.parked_at is not null
     and state.parked_token = parked.parked_token
     and connection.is_active
   order by state.connection_id
   limit 1;
  if found then
    update public.metric_connection_states state
       set is_reported = true
     where state.connection_id = left_parked;
    return;
  end if;
  perform public.notify_of_sync(
    parked.connection_id, 'recovered', 'refused', 'It works again.', parked.parked_at, 1, as_of
  );
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'metric_platform_name(text)',
    'notify_of_sync(uuid, text, text, text, timestamptz, bigint, timestamptz)',
    'notify_of_account(public.metric_accounts, uuid, jsonb, timestamptz)',
    'park_connection(uuid, text, text, timestamptz)',
    'connection_worked(uuid, text, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
