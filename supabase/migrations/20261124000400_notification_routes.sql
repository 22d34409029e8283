-- Notifications, part 3: the clocks by which they age, and where they go.
--
--   trim_invisible       an id as people paste it
--   clock_time           a moment by a clock that was paused at times
--   delivery_time        a moment by the clock of all delivery, which is paused while it is stopped
--   destination_time     a moment by one destination's clock
--   request_of           the request that a notification is about
--   notification_routes  where notifications go, or why they have nowhere to go
--
-- A connection that is kept has plans from when the tables were small, and statistics are even
-- older. So what a run calls is planned at each call, and by index: nested loops from a batch to
-- rows by their key, `lateral (... limit 1)` if that is one row, and the order of an index, so that
-- no plan costs more than its batch. The functions that a run calls set this for all those that
-- they call. What is computed for each row is PL/pgSQL of one expression, which costs a hundredth
-- of a query.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The text without surrounding spaces and invisible characters; null when nothing is left.
create or replace function public.trim_invisible(pasted text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return nullif(
    btrim(
      pasted,
      E' \t\n\r\f\v\u0085\u00a0\u00ad\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007'
      '\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e'
      '\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u3000\ufeff'
    ),
    ''
  );
end
$$;

-- A moment by a clock that was paused for `paused_for` in total, last from `paused_from` to
-- `paused_to`, and is paused since `paused_since`; these are null if it never was, or is not now.
create or replace function public.clock_time(
  moment timestamptz,
  paused_for interval,
  paused_from timestamptz,
  paused_to timestamptz,
  paused_since timestamptz
)
returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when moment >= paused_since then paused_since - paused_for
    when paused_to is null then moment
    when moment >= paused_to then moment - paused_for
    when moment >= paused_from then paused_to - paused_for
    else moment - paused_for + (paused_to - paused_from)
  end;
end
$$;

create or replace function public.delivery_time(moment timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
declare
  clock public.slack_workspace;
begin
  select * into clock from public.slack_workspace workspace where workspace.only_one;
  return public.clock_time(
    moment, clock.paused_for, clock.paused_from, clock.paused_to, clock.stopped_at
  );
end
$$;

create or replace function public.destination_time(destination text, moment timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
declare
  clock public.slack_destinations;
begin
  select * into clock
    from public.slack_destinations known
   where known.destination = destination_time.destination;
  return public.clock_time(
    public.delivery_time(moment), clock.paused_for, clock.paused_from, clock.paused_to,
    clock.paused_since
  );
end
$$;

-- The request that a notification is about: the one that its data names, else its own entity; null
-- if there is none.
create or replace function public.request_of(entity_type text, entity_id uuid, event_data jsonb)
returns uuid
language plpgsql
immutable
set search_path = ''
as $$
declare
  named constant text := case jsonb_typeof(event_data)
    when 'object' then event_data ->> 'request_id'
    -- an object that was stored as its own text
    when 'string' then substring(event_data #>> '{}' from '"request_id"\s*:\s*"([^"]*)"')
  end;
begin
  return case
    when named ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then named::uuid
    when entity_type in ('request', 'requests') then entity_id
  end;
end
$$;

-- Where notifications go: the config's channel; else its user's direct message; else the connected
-- channels for the request's type (without a request: for every type) that accept the event.
--
-- One row each, more for several channels, with the `verdict`: route | lost (no destination, for
-- the `reason`) | gone (no destination, and its request no longer exists) | off (its config is not
-- active) | orphan (it has no config). Ids of no notification are left out.
create or replace function public.notification_routes(notification_ids uuid[])
returns table (notification_id uuid, config_id uuid, destination text, verdict text, reason text)
language plpgsql
stable
set search_path = ''
as $$
begin
  return query
    with subject as materialized (
      select queued.id,
             queued.config_id,
             config.event_type,
             case when config.id is null then 'orphan' when not config.is_active then 'off' end
               as verdict,
             config.user_id is not null as is_personal,
             coalesce(
               public.trim_invisible(config.channel_id), public.trim_invisible(config.slack_id)
             ) as destination,
             public.request_of(queued.entity_type, queued.entity_id, queued.event_data)
               as request_id
        from public.notification_queue queued
        left join lateral (
               select known.id, known.event_type, known.user_id, known.channel_id,
                      coalesce(known.is_active, true) as is_active,
                      (
                        select profile.slack_id
                          from public.profiles profile
                         where profile.id = known.user_id
                      ) as slack_id
                 from public.notification_config known
                where known.id = queued.config_id
                limit 1
             ) config on true
       where queued.id = any (notification_ids)
    ),
    connected as materialized (
      select distinct public.trim_invisible(shared.channel_id) as destination,
             shared.request_type,
             shared.notification_types
        from public.slack_connected_channels shared
       where public.trim_invisible(shared.channel_id) is not null
    )
    select subject.id, subject.config_id, subject.destination,
           coalesce(subject.verdict, 'route'), null
      from subject
     where subject.verdict is not null or subject.destination is not null
    union all
    select distinct
           subject.id,
           subject.config_id,
           shared.destination,
           case
             when shared.destination is not null then 'route'
             when subject.request_id is not null and request.id is null then 'gone'
             else 'lost'
           end,
           case
             when shared.destination is not null then null
             when subject.is_personal then
               format(
                 'notification %s has nowhere to go: its user has no slack_id; set '
                 'profiles.slack_id, or notification_config.channel_id', subject.id
               )
             else
               format(
                 'notification %s has nowhere to go: no Slack channel takes %s %s; set '
                 'notification_config.channel_id, or add a row to slack_connected_channels with '
                 'that event and request_type %s',
                 subject.id,
                 subject.event_type,
                 coalesce('of ' || request.request_type || ' requests', 'without a request'),
                 coalesce(quote_literal(request.request_type), 'null')
               )
           end
      from subject
      left join lateral (
             select asked.id, asked.request_type
               from public.requests asked
              where asked.id = subject.request_id
              limit 1
           ) request on true
      left join connected shared
        on not subject.is_personal
       and (shared.request_type is null or shared.request_type = request.request_type)
       and (coalesce(jsonb_typeof(shared.notification_types), 'null') = 'null'
            or shared.notification_types ? subject.event_type)
     where subject.verdict is null and subject.destination is null;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'trim_invisible(text)',
    'clock_time(timestamptz, interval, timestamptz, timestamptz, timestamptz)',
    'delivery_time(timestamptz)',
    'destination_time(text, timestamptz)',
    'request_of(text, uuid, jsonb)',
    'notification_routes(uuid[])'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
