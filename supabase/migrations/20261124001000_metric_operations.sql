-- Metrics, part 4: what an operator asks for and does by hand.
--
--   connect_account      adds a connection, or gives one other credentials
--   disconnect_account   ends the syncs of one; its figures stay
--   list_connections     every connection with its last sync and what it waits for
--   release_connections  lets one that is parked or waits go on

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The connection's id. One of the same platform and account is made active again and gets these
-- credentials; its name and frequency stay where null is given.
create or replace function public.connect_account(
  platform text,
  account_id text,
  credentials jsonb,
  account_name text default null,
  sync_frequency integer default null
)
returns uuid
language plpgsql
set search_path = ''
as $$
declare
  connected uuid;
begin
  perform pg_advisory_xact_lock(hashtextextended('connect_account', 0));
  update public.platform_connections connection
     set credentials = connect_account.credentials,
         account_name = coalesce(connect_account.account_name, connection.account_name),
         sync_frequency = coalesce(connect_account.sync_frequency, connection.sync_frequency),
         is_active = true
   where connection.platform = connect_account.platform
     and connection.account_id = connect_account.account_id
  returning connection.id into connected;
  if connected is null then
    insert into public.platform_connections
      (platform, account_id, credentials, account_name, sync_frequency)
    values (
      connect_account.platform, connect_account.account_id, connect_account.credentials,
      connect_account.account_name, coalesce(connect_account.sync_frequency, 1440)
    )
    returning id into connected;
  end if;
  return connected;
end
$$;

create or replace function public.disconnect_account(connection_id uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update public.platform_connections connection
     set is_active = false
   where connection.id = disconnect_account.connection_id
     and connection.is_active;
  return found;
end
$$;

-- As a JSON array, because the API cuts sets of rows at its row cap. `platforms` maps every name
-- of a platform to its main one, by which it is paused.
create or replace function public.list_connections(
  platforms jsonb default '{}',
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
               'account', coalesce(connection.account_name, connection.account_id),
               'state', case
                 when not coalesce(connection.is_active, false) then 'inactive'
                 when state.leased_until > as_of then 'syncing'
                 when parked.reason is not null then 'parked'
                 when waits.until is not null then 'waiting'
                 else 'active'
               end,
               'last_synced_at', connection.last_synced_at,
               'last_status', last.status,
               'until', waits.until,
               'reason', coalesce(parked.reason, pause.reason, last.error_message)
             )
             order by connection.platform, connection.account_name, connection.id
           ),
           '[]'
         )
    from public.platform_connections connection
    left join public.metric_connection_states state on state.connection_id = connection.id
    left join lateral (
      select log.status, log.error_message
        from public.metric_sync_logs log
       where log.platform_connection_id = connection.id
       order by log.start_time desc nulls last
       limit 1
    ) last on true
    left join public.metric_platform_pauses pause
      on pause.platform = platforms ->> lower(btrim(connection.platform))
     and pause.paused_until > as_of
    -- with other credentials it is tried again
    left join lateral (
      select state.parked_reason as reason
       where state.parked_at is not null
         and state.parked_credentials = public.credentials_digest(connection.credentials)
    ) parked on true
    cross join lateral (
      select greatest(
               case when state.not_before > as_of then state.not_before end, pause.paused_until
             ) as until
    ) waits;
$$;

-- Lets connections that are parked or wait (null: all, and paused platforms with them) be
-- planned again; returns how many did.
create or replace function public.release_connections(
  connection_id uuid default null,
  as_of timestamptz default now()
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  released integer;
begin
  update public.metric_connection_states state
     set parked_at = null, parked_reason = null, parked_credentials = null,
         not_before = null, failures = 0
   where (release_connections.connection_id is null
          or state.connection_id = release_connections.connection_id)
     and (state.parked_at is not null or state.not_before > as_of);
  get diagnostics released = row_count;
  if release_connections.connection_id is null then
    update public.metric_platform_pauses pause
       set paused_until = as_of
     where pause.paused_until > as_of;
  end if;
  return released;
end
$$;

-- Serves "the last log of a connection", in the order in which that is asked for.
do $$
begin
  if to_regclass('public.metric_sync_logs_connection_idx') is null then
    create index metric_sync_logs_connection_idx
      on public.metric_sync_logs (platform_connection_id, start_time desc nulls last);
  end if;
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'connect_account(text, text, jsonb, text, integer)',
    'disconnect_account(uuid)',
    'list_connections(jsonb, timestamptz)',
    'release_connections(uuid, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
