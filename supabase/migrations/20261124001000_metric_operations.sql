-- Metrics, part 9: the operator's commands.
--
--   connect_account      adds a connection, or changes the credentials of one
--   disconnect_account   ends the syncs of one; its figures stay
--   last_sync_log        the newest log of a connection or of its account's last sync
--   list_connections     every connection with its last sync and what it waits for
--   release_connections  lets one that is parked or waiting continue

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Returns the connection's id. An existing one of the same platform and account becomes active and
-- gets these credentials; its name and frequency stay where null is given.
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
   where connection.id = (
           select candidate.id
             from public.metric_connections(
                    public.metric_platform(connect_account.platform),
                    public.metric_account_id(connect_account.account_id)
                  ) candidate
            order by candidate.is_active desc, candidate.id
            limit 1
         )
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

-- The newer of a connection's newest log and that of its account's last sync, which another
-- connection may have read; no row where there is neither. Two lookups, since one with "or" would
-- read all logs that the connection ever had.
create or replace function public.last_sync_log(connection_id uuid, sync_id uuid)
returns setof public.metric_sync_logs
language sql
stable
rows 1
set search_path = ''
as $$
  select (log).*
    from (
           (
             select log
               from public.metric_sync_logs log
              where log.platform_connection_id = last_sync_log.connection_id
              order by log.start_time desc nulls last
              limit 1
           )
           union all
           select log from public.metric_sync_logs log where log.id = last_sync_log.sync_id
         ) newest (log)
   order by (log).start_time desc nulls last
   limit 1;
$$;

-- As a JSON array, because the API cuts sets of rows at its row cap.
create or replace function public.list_connections(as_of timestamptz default now())
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
               'account_id', candidate.account_id,
               'state', case
                 when not candidate.is_active then 'inactive'
                 when account.leased_until > as_of then 'syncing'
                 when candidate.is_parked then 'parked'
                 when waits.until is not null then 'waiting'
                 else 'active'
               end,
               'last_synced_at', connection.last_synced_at,
               'last_status', last.status,
               'until', waits.until,
               'unread_days', unread.days,
               'total_difference', last.details ->> 'total_difference',
               'reason', coalesce(
                 case when candidate.is_parked then state.parked_reason end,
                 case when candidate.paused_until is not null then pause.reason end,
                 last.error_message
               )
             )
             order by connection.platform, connection.account_name, connection.id
           ),
           '[]'
         )
    from public.metric_connections(null, null, as_of) candidate
    join public.platform_connections connection on connection.id = candidate.id
    left join public.metric_connection_states state on state.connection_id = candidate.id
    left join public.metric_accounts account
      on account.platform = candidate.platform and account.account_id = candidate.account_id
    left join public.metric_platform_pauses pause
      on pause.platform = candidate.platform and pause.app = public.metric_app(connection.credentials)
    left join lateral public.last_sync_log(connection.id, account.sync_id) last on true
   cross join lateral (
      select count(*) as days
        from public.metric_days day
       where day.platform = candidate.platform
         and day.account_id = candidate.account_id
         and day.failures > 0
   ) unread
   cross join lateral (
      select greatest(
               case when account.not_before > as_of then account.not_before end, candidate.paused_until
             ) as until
   ) waits;
$$;

-- Lets waiting accounts and parked connections be planned again (those of a connection; null: all,
-- and paused apps as well), and days that could not be read be tried immediately. Returns how many
-- accounts and connections that concerns.
create or replace function public.release_connections(
  connection_id uuid default null,
  as_of timestamptz default now()
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  parked integer;
  waiting integer;
begin
  update public.metric_connection_states state
     set parked_at = null, parked_reason = null, parked_credentials = null, parked_token = null
   where (release_connections.connection_id is null
          or state.connection_id = release_connections.connection_id)
     and state.parked_at is not null;
  get diagnostics parked = row_count;
  with named as (
    select distinct candidate.platform, candidate.account_id
      from public.metric_connections(null, null, as_of) candidate
     where release_connections.connection_id is null
        or candidate.id = release_connections.connection_id
  ),
  tried as (
    update public.metric_days day
       set try_after = as_of
      from named
     where day.platform = named.platform
       and day.account_id = named.account_id
       and day.failures > 0
       and day.try_after > as_of
  )
  update public.metric_accounts account
     set not_before = null, failures = 0
    from named
   where account.platform = named.platform
     and account.account_id = named.account_id
     and account.not_before > as_of;
  get diagnostics waiting = row_count;
  if release_connections.connection_id is null then
    update public.metric_platform_pauses pause
       set paused_until = as_of
     where pause.paused_until > as_of;
  end if;
  return parked + waiting;
end
$$;

-- For "the last log of a connection", in the order in which last_sync_log asks for it.
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
  signature text;
begin
  foreach signature in array array[
    'connect_account(text, text, jsonb, text, integer)',
    'disconnect_account(uuid)',
    'last_sync_log(uuid, uuid)',
    'list_connections(timestamptz)',
    'release_connections(uuid, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
