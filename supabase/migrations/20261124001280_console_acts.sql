-- The actions of the console, and their record.
--
--   console_act           carries out an action, once for each confirmation, and records it
--   begin_console_action  records an action that the console carries out in a thread
--   renew_console_action  records that it still runs, and what it has affected so far
--   end_console_action    records how it ended
--   list_console_actions  the newest actions
--   console_action        one action

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- {"outcome"}: done; repeated, where this confirmation has acted before; stale, where it would
-- affect something else than was confirmed. The effect and its record are one transaction.
create or replace function public.console_act(
  id uuid,
  action text,
  subject text,
  arguments jsonb,
  fingerprint text,
  who text,
  session text,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  scope jsonb;
  chosen uuid[];
  count integer;
  replaced text;
begin
  -- one after the other: the second sees what the first has done
  perform pg_advisory_xact_lock(hashtextextended('console_act', 0));
  if exists (select from public.console_actions known where known.id = console_act.id) then
    return '{"outcome": "repeated"}';
  end if;
  if action = 'save_template' then
    -- locked before it is compared: the dashboard may be changing it right now
    select config.template
      into replaced
      from public.notification_config config
     where config.id = (arguments ->> 'config_id')::uuid
       for update;
  end if;
  scope := public.console_scope(action, arguments, as_of);
  if scope ->> 'fingerprint' is distinct from fingerprint then
    return '{"outcome": "stale"}';
  end if;
  if action = 'release_destination' then
    count := public.release_parked(arguments ->> 'destination', as_of);
  elsif action = 'release_account' then
    count := public.release_connections((arguments ->> 'connection_id')::uuid, as_of);
  elsif action = 'save_template' then
    update public.notification_config config
       set template = arguments ->> 'template'
     where config.id = (arguments ->> 'config_id')::uuid;
    get diagnostics count = row_count;
    -- so that the record keeps what it replaced
    arguments := arguments || jsonb_build_object('replaced', replaced);
  else
    chosen := public.console_chosen(action, arguments);
    count := case action
      when 'redrive' then public.redrive_chosen(chosen, as_of)
      else public.skip_notifications(chosen, as_of)
    end;
  end if;
  insert into public.console_actions
    (id, action, subject, arguments, who, session, began_at, renewed_at, ended_at, outcome,
     confirmed, touched)
  values (
    console_act.id, action, subject, arguments, who, session, as_of, as_of, as_of, 'done',
    scope -> 'numbers',
    case action
      when 'release_destination' then jsonb_build_object('destinations', count)
      when 'release_account' then jsonb_build_object(
        'released', count,
        'days_to_be_read_again', scope -> 'numbers' -> 'days_to_be_read_again'
      )
      when 'save_template' then jsonb_build_object('templates', count)
      else jsonb_build_object('notifications', count)
    end
  );
  return '{"outcome": "done"}';
end
$$;

-- {"outcome"}: begun; repeated, where this confirmation has begun one before; busy, while the same
-- action runs on the same subject. One that has not reported for two minutes counts as interrupted.
create or replace function public.begin_console_action(
  id uuid,
  action text,
  subject text,
  arguments jsonb,
  confirmed jsonb,
  who text,
  session text,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('begin_console_action', 0));
  if exists (select from public.console_actions known where known.id = begin_console_action.id) then
    return '{"outcome": "repeated"}';
  end if;
  update public.console_actions known
     set ended_at = as_of, outcome = 'interrupted'
   where known.ended_at is null and known.renewed_at < as_of - interval '2 minutes';
  insert into public.console_actions
    (id, action, subject, arguments, who, session, began_at, renewed_at, confirmed)
  values (
    begin_console_action.id, begin_console_action.action, begin_console_action.subject,
    begin_console_action.arguments, begin_console_action.who, begin_console_action.session,
    as_of, as_of, begin_console_action.confirmed
  )
  on conflict do nothing;
  return jsonb_build_object('outcome', case when found then 'begun' else 'busy' end);
end
$$;

create or replace function public.renew_console_action(
  id uuid,
  touched jsonb,
  as_of timestamptz default now()
)
returns void
language sql
set search_path = ''
as $$
  update public.console_actions known
     set renewed_at = as_of, touched = renew_console_action.touched
   where known.id = renew_console_action.id and known.ended_at is null;
$$;

create or replace function public.end_console_action(
  id uuid,
  outcome text,
  touched jsonb,
  error text default null,
  as_of timestamptz default now()
)
returns void
language sql
set search_path = ''
as $$
  update public.console_actions known
     set ended_at = as_of, outcome = end_console_action.outcome,
         touched = end_console_action.touched, error = end_console_action.error
   where known.id = end_console_action.id and known.outcome is distinct from 'done';
$$;

-- {"rows", "next": {"before", "before_id"}}: newest first, below that place, each as console_action
-- returns it; `next` is null where there are no more.
create or replace function public.list_console_actions(
  before timestamptz default null,
  before_id uuid default null,
  row_limit integer default 50,
  as_of timestamptz default now()
)
returns jsonb
language sql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_sort = off
as $$
  with found as (
    select known.*, row_number() over (order by known.began_at desc, known.id desc) as place
      from (
        select one.*
          from public.console_actions one
         where (one.began_at, one.id) < (
                 coalesce(before, 'infinity'::timestamptz),
                 coalesce(before_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
               )
         order by one.began_at desc, one.id desc
         limit row_limit + 1
      ) known
  )
  select jsonb_build_object(
           'rows', coalesce(
             jsonb_agg(
               to_jsonb(found) - 'place' || jsonb_build_object(
                 'is_lost',
                 found.ended_at is null and found.renewed_at < as_of - interval '2 minutes'
               )
               order by found.place
             ) filter (where found.place <= row_limit),
             '[]'
           ),
           'next', (
             select jsonb_build_object('before', last.began_at, 'before_id', last.id)
               from found last
              where last.place = row_limit and (select max(place) from found) > row_limit
           )
         )
    from found;
$$;

-- An action, with "is_lost": it should be running, but has not reported for two minutes. Null where
-- there is no such action.
create or replace function public.console_action(id uuid, as_of timestamptz default now())
returns jsonb
language sql
stable
set search_path = ''
as $$
  select to_jsonb(known) || jsonb_build_object(
           'is_lost', known.ended_at is null and known.renewed_at < as_of - interval '2 minutes')
    from public.console_actions known
   where known.id = console_action.id;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_act(uuid, text, text, jsonb, text, text, text, timestamptz)',
    'begin_console_action(uuid, text, text, jsonb, jsonb, text, text, timestamptz)',
    'renew_console_action(uuid, jsonb, timestamptz)',
    'end_console_action(uuid, text, jsonb, text, timestamptz)',
    'list_console_actions(timestamptz, uuid, integer, timestamptz)',
    'console_action(uuid, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
