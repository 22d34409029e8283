-- Notifications, part 14: the start, the polls and the end of a run.
--
--   start_notification_run   one drainer at a time
--   poll_notifications       whether anything is due, for a run that lingers
--   oldest_due_notification  how long the oldest one has waited
--   finish_notification_run  releases the lease

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Starts or continues a run. While another run drains: {acquired: false, lingers}; one that lingers
-- gives up the lease within seconds of this request. Else {acquired: true, dead, skipped, expired,
-- more, handover, handover_age, stopped, probes, suspects}.
--
-- It handles at most `row_limit` notifications; `more` says that there may be more, for another
-- call of the same run. `handover_age` is in seconds; `stopped` is the code for which all delivery
-- is stopped, or null; `probes` are parked destinations of which one message is to be tried,
-- [{destination, code}], at most 20 a run: first after 10 minutes, then at intervals that double up
-- to 6 hours; `suspects`: a delivery was being posted when three runs died, and is to be handled
-- alone.
create or replace function public.start_notification_run(
  run_id uuid,
  lease interval default '30 seconds',
  expire_after interval default '24 hours',
  lingers boolean default false,
  row_limit integer default 500,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off
as $$
declare
  continues constant boolean := exists (
    select
      from public.worker_leases lease
     where lease.name = 'notifications' and lease.holder = run_id
  );
  held public.worker_leases;
  room integer := row_limit;
  died integer;
  expired integer;
  followed jsonb;
  unrouted jsonb := '{"dead": 0, "skipped": 0, "expired": 0, "looked_up": 0}';
  routed jsonb := '{"dead": 0, "skipped": 0, "expired": 0, "more": true}';
  probes jsonb := '[]';
begin
  select * into held
    from public.take_worker_lease('notifications', run_id, lease, lingers, as_of);
  if held.holder is null then
    return jsonb_build_object(
      'acquired', false,
      'lingers', (
        select holder.lingers from public.worker_leases holder where holder.name = 'notifications'
      )
    );
  end if;

  died := public.take_over_claims(run_id, row_limit, as_of);
  expired := public.end_expired_deliveries(expire_after, room, as_of);
  room := room - expired;
  followed := public.follow_configs(expire_after, room, as_of);
  room := room - (followed ->> 'skipped')::integer - (followed ->> 'routed')::integer;
  if not continues then
    unrouted := public.route_unrouted(expire_after, room, as_of);
    room := room - (unrouted ->> 'looked_up')::integer;
  end if;
  if room > 0 then
    routed := public.route_notifications(expire_after, room, as_of);
  end if;

  -- a destination for which nothing waits is not parked
  perform public.release_destinations(
    array(
      select known.destination
        from public.slack_destinations known
       where known.parked_at is not null
         and (
               select delivery.id
                 from public.notification_deliveries delivery
                where delivery.destination = known.destination
                  and delivery.state in ('pending', 'unknown')
                order by delivery.ages_from
                limit 1
             ) is null
         and (
               select delivery.id
                 from public.notification_deliveries delivery
                where delivery.claimed_by = run_id
                  and delivery.destination = known.destination
                limit 1
             ) is null
    ),
    as_of
  );
  if not continues then
    probes := public.due_probes(20, as_of);
  end if;

  return jsonb_build_object(
    'acquired', true,
    'dead', died + (unrouted ->> 'dead')::integer + (routed ->> 'dead')::integer,
    'skipped', (followed ->> 'skipped')::integer + (unrouted ->> 'skipped')::integer
               + (routed ->> 'skipped')::integer,
    'expired', expired + (unrouted ->> 'expired')::integer + (routed ->> 'expired')::integer,
    'more', (routed ->> 'more')::boolean,
    'handover', held.handover,
    'handover_age', greatest(0, extract(epoch from as_of - held.renewed_at)),
    'stopped', (select workspace.stop_code
                  from public.slack_workspace workspace
                 where workspace.stopped_at is not null),
    'probes', probes,
    'suspects', (
      select delivery.id
        from public.notification_deliveries delivery
       where delivery.state in ('pending', 'unknown')
         and delivery.lost_claims >= 3
       order by delivery.due_at
       limit 1
    ) is not null
  );
end
$$;

-- A cheap poll by a run that lingers, which renews its lease: {held, wanted, due}. `due` says that
-- a claim would find something; `wanted`, that another run waits for the lease.
create or replace function public.poll_notifications(
  run_id uuid,
  lease interval default '30 seconds',
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off
as $$
begin
  return public.renew_worker_lease('notifications', run_id, lease, as_of => as_of)
    || jsonb_build_object(
         'due',
         (
           select queued.id
             from public.notification_queue queued
            where coalesce(queued.is_processed, false) = false
              and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
              and queued.routed_at is null
              and coalesce(queued.next_attempt_at, '-infinity'::timestamptz) <= as_of
              and (queued.claimed_until is null or queued.claimed_until <= as_of)
            order by coalesce(queued.next_attempt_at, '-infinity'::timestamptz),
                     queued.created_at, queued.id
            limit 1
         ) is not null
         or (
           select delivery.id
             from public.notification_deliveries delivery
            where delivery.state in ('pending', 'unknown')
              and delivery.next_attempt_at <= as_of
            order by delivery.next_attempt_at
            limit 1
         ) is not null
         or public.ready_destinations('{}', '{}', as_of) <> '{}'
       );
end
$$;

-- The age in seconds of the oldest notification that is due; null when none is. What is parked or
-- has nowhere to go waits for a reason and does not count.
create or replace function public.oldest_due_notification(as_of timestamptz default now())
returns double precision
language plpgsql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off
as $$
declare
  unrouted timestamptz;
  routed timestamptz;
  in_flight timestamptz;
begin
  select coalesce(queued.next_attempt_at, queued.created_at, as_of)
    into unrouted
    from public.notification_queue queued
   where coalesce(queued.is_processed, false) = false
     and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
     and queued.routed_at is null
     and coalesce(queued.next_attempt_at, '-infinity'::timestamptz) <= as_of
   order by coalesce(queued.next_attempt_at, '-infinity'::timestamptz),
            queued.created_at, queued.id
   limit 1;
  select min(head.due_at)
    into routed
    from unnest(public.ready_destinations('{}', '{}', 'infinity')) place (name)
   cross join lateral (
           select delivery.due_at
             from public.notification_deliveries delivery
            where delivery.destination = place.name
              and delivery.state in ('pending', 'unknown')
              and delivery.claim_token is null
              and delivery.next_attempt_at is null
            order by delivery.due_at, delivery.queued_at, delivery.notification_id
            limit 1
         ) head;
  select min(delivery.due_at)
    into in_flight
    from public.notification_deliveries delivery
   where delivery.claimed_by is not null;
  if num_nonnulls(unrouted, routed, in_flight) = 0 then
    return null;
  end if;
  return extract(epoch from as_of - least(unrouted, routed, in_flight, as_of));
end
$$;

-- Releases the lease. Returns {oldest_due, parked}: oldest_due_notification, and how many
-- destinations are parked.
create or replace function public.finish_notification_run(
  run_id uuid,
  handover jsonb default null,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off
as $$
begin
  perform public.return_worker_lease('notifications', run_id, handover, as_of);
  return jsonb_build_object(
    'oldest_due', public.oldest_due_notification(as_of),
    'parked', (
      select count(*) from public.slack_destinations known where known.parked_at is not null
    )
  );
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'start_notification_run(uuid, interval, interval, boolean, integer, timestamptz)',
    'poll_notifications(uuid, interval, timestamptz)',
    'oldest_due_notification(timestamptz)',
    'finish_notification_run(uuid, jsonb, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
