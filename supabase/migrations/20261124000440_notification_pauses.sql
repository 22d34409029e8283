-- Notifications, part 9: what is parked or stopped, and since when.
--
--   park_destinations     Slack refuses what is posted there
--   release_destinations  Slack accepts it again, or an operator wants it tried
--   due_probes            of which one message is to be tried
--   stop_delivery         Slack refuses the token
--   resume_delivery       Slack accepted a post
--
-- When a clock is paused, that is noted once, and the pause is added up when it continues: earlier
-- pauses cost nothing later.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- `parks`: [{destination, code, reason}]. A first probe is due after 10 minutes.
create or replace function public.park_destinations(parks jsonb, as_of timestamptz)
returns void
language sql
set search_path = ''
as $$
  insert into public.slack_destinations as known
    (destination, parked_at, park_code, park_reason, probe_at, paused_since)
  select distinct on (park.destination)
         park.destination, as_of, park.code, park.reason, as_of + interval '10 minutes',
         public.delivery_time(as_of)
    from jsonb_to_recordset(parks) as park (destination text, code text, reason text)
   order by park.destination
  on conflict (destination) do update
    set parked_at = coalesce(known.parked_at, excluded.parked_at),
        park_code = excluded.park_code,
        park_reason = excluded.park_reason,
        probe_at = coalesce(known.probe_at, excluded.probe_at),
        paused_since = coalesce(known.paused_since, excluded.paused_since);
$$;

-- Returns how many were parked.
create or replace function public.release_destinations(destinations text[], as_of timestamptz)
returns integer
language sql
set search_path = ''
as $$
  with released as (
    update public.slack_destinations known
       set parked_at = null,
           park_code = null,
           park_reason = null,
           probes = 0,
           probe_at = null,
           not_before = null,
           paused_for = known.paused_for
                         + (public.delivery_time(as_of) - known.paused_since),
           paused_from = known.paused_since,
           paused_to = public.delivery_time(as_of),
           paused_since = null
     where known.destination = any (destinations)
       and known.parked_at is not null
    returning 1
  )
  select count(*)::integer from released;
$$;

-- The parked destinations whose probe is due, [{destination, code}], at most `most`. The next probe
-- of each is then due after an interval that doubles, up to 6 hours.
create or replace function public.due_probes(most integer, as_of timestamptz)
returns jsonb
language sql
set search_path = ''
as $$
  with probed as (
    update public.slack_destinations known
       set probes = known.probes + 1,
           probe_at = as_of
                      + least(power(2, least(known.probes + 1, 6)) * 10, 360)
                        * interval '1 minute'
     where known.destination = any (array(
             select due.destination
               from public.slack_destinations due
              where due.parked_at is not null
                and due.probe_at <= as_of
              order by due.probe_at
              limit most
           ))
    returning known.destination, known.park_code
  )
  select coalesce(
           jsonb_agg(
             jsonb_build_object('destination', probed.destination, 'code', probed.park_code)
             order by probed.destination
           ),
           '[]'
         )
    from probed;
$$;

create or replace function public.stop_delivery(code text, reason text, as_of timestamptz)
returns void
language sql
set search_path = ''
as $$
  insert into public.slack_workspace as workspace (stopped_at, stop_code, stop_reason)
  values (as_of, stop_delivery.code, stop_delivery.reason)
  on conflict (only_one) do update
    set stopped_at = coalesce(workspace.stopped_at, excluded.stopped_at),
        stop_code = excluded.stop_code,
        stop_reason = excluded.stop_reason;
$$;

create or replace function public.resume_delivery(as_of timestamptz)
returns void
language sql
set search_path = ''
as $$
  update public.slack_workspace workspace
     set paused_for = workspace.paused_for + (as_of - workspace.stopped_at),
         paused_from = workspace.stopped_at,
         paused_to = as_of,
         stopped_at = null,
         stop_code = null,
         stop_reason = null
   where workspace.stopped_at is not null;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'park_destinations(jsonb, timestamptz)',
    'release_destinations(text[], timestamptz)',
    'due_probes(integer, timestamptz)',
    'stop_delivery(text, text, timestamptz)',
    'resume_delivery(timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
