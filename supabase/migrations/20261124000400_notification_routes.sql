-- Notifications, part 2: by which clock each ages, and where it goes.
--
--   trim_invisible       an id as people paste it
--   delivery_time        a moment by the clock of all delivery, which stands still when everything does
--   destination_time     a moment by one destination's clock
--   notification_routes  where notifications go, or why they have nowhere to go
--
-- Here and in what follows: planned at each call and by index, for a connection that is kept has
-- plans from when the tables were small.

-- The text without blanks and invisible characters round it; null when nothing is left.
create or replace function public.trim_invisible(pasted text)
returns text
language sql
immutable
set search_path = ''
as $$
  select nullif(
    btrim(
      pasted,
      E' \t\n\r\f\v\u0085\u00a0\u00ad\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007'
      '\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e'
      '\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u3000\ufeff'
    ),
    ''
  );
$$;

-- A moment by a clock that stood still for `stood_still` in all, last from `stood_from` to
-- `stood_to`, and that stands since `standing_since`.
create or replace function public.clock_time(
  moment timestamptz,
  stood_still interval,
  stood_from timestamptz,
  stood_to timestamptz,
  standing_since timestamptz
)
returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when moment >= standing_since then standing_since - stood_still
    when stood_to is null or moment >= stood_to then moment - stood_still
    when moment >= stood_from then stood_to - stood_still
    else moment - stood_still + (stood_to - stood_from)
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
  select * into clock from public.slack_workspace;
  if not found then
    return moment;
  end if;
  return public.clock_time(
    moment, clock.stood_still, clock.stood_from, clock.stood_to, clock.stopped_at
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
  if clock.stood_to is null and clock.standing_since is null then
    return public.delivery_time(moment);
  end if;
  return public.clock_time(
    public.delivery_time(moment), clock.stood_still, clock.stood_from, clock.stood_to,
    clock.standing_since
  );
end
$$;

-- Where notifications go, a row each: the config's channel; else its user's direct message; else
-- the connected channels of the request's type (without a request: of every type) that take the
-- event. What has nowhere to go has one row without a destination, with the reason; `is_gone` says
-- that it is about a request that no longer exists.
create or replace function public.notification_routes(notification_ids uuid[])
returns table (notification_id uuid, destination text, is_gone boolean, reason text)
language sql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_bitmapscan = off
as $$
  with subject as materialized (
    select queued.id,
           queued.config_id,
           case
             when named.request_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
               then named.request_id::uuid
             when queued.entity_type in ('request', 'requests') then queued.entity_id
           end as request_id
      from public.notification_queue queued
     cross join lateral (
             select case jsonb_typeof(queued.event_data)
                      when 'object' then queued.event_data ->> 'request_id'
                      -- an object that was stored as its own text
                      when 'string' then
                        substring(queued.event_data #>> '{}' from '"request_id"\s*:\s*"([^"]*)"')
                    end as request_id
           ) named
     where queued.id = any (notification_ids)
  ),
  config as materialized (
    select config.id,
           config.event_type,
           config.user_id,
           public.trim_invisible(config.channel_id) as channel,
           public.trim_invisible(profile.slack_id) as person
      from public.notification_config config
      left join public.profiles profile on profile.id = config.user_id
     where config.id in (select subject.config_id from subject)
  ),
  connected as materialized (
    select public.trim_invisible(connected.channel_id) as channel,
           connected.request_type,
           connected.notification_types
      from public.slack_connected_channels connected
  )
  select distinct
         subject.id,
         coalesce(config.channel, config.person, shared.channel),
         subject.request_id is not null and request.id is null,
         case
           when coalesce(config.channel, config.person, shared.channel) is not null then null
           when config.user_id is not null then
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
               config.event_type,
               coalesce('of ' || request.request_type || ' requests', 'without a request'),
               coalesce(quote_literal(request.request_type), 'null')
             )
         end
    from subject
    join config on config.id = subject.config_id
    left join public.requests request on request.id = subject.request_id
    left join connected shared
      on config.channel is null
     and config.user_id is null
     and shared.channel is not null
     and (shared.request_type is null or shared.request_type = request.request_type)
     and (coalesce(jsonb_typeof(shared.notification_types), 'null') = 'null'
          or shared.notification_types ? config.event_type);
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'trim_invisible(text)',
    'clock_time(timestamptz, interval, timestamptz, timestamptz, timestamptz)',
    'delivery_time(timestamptz)',
    'destination_time(text, timestamptz)',
    'notification_routes(uuid[])'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;
