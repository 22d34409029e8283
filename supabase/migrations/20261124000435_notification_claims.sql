-- Notifications, part 8: claims.
--
--   set_aside            removes what was chosen and cannot be claimed
--   claim_notifications  claims a fair batch for the run that drains
--
-- A claim names its run, and is valid while that run holds the drainer's lease: what another run
-- claimed and did not announce is free.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Sets aside what was chosen and cannot be claimed: the deliveries of rows that someone else ended
-- end too, and those held by lock_and_get_notifications wait until its lease ends.
create or replace function public.set_aside(chosen uuid[], as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  over uuid[];
  others uuid[];
begin
  -- the lateral join: by stale statistics, a partial index of what waits is small enough to be read
  -- as a whole
  select coalesce(array_agg(held.id) filter (where held.is_over), '{}'),
         coalesce(array_agg(held.id) filter (where not held.is_over), '{}')
    into over, others
    from unnest(chosen) as place (id)
   cross join lateral (
           select delivery.id, delivery.claim_token, delivery.state,
                  not (coalesce(queued.is_processed, false) = false
                       and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5))
                    as is_over
             from public.notification_deliveries delivery
             join public.notification_queue queued on queued.id = delivery.notification_id
            where delivery.id = place.id
            limit 1
              for no key update of delivery, queued skip locked
         ) held
   where held.claim_token is null and held.state in ('pending', 'unknown');
  perform public.end_deliveries(over, 'skipped', 'someone else ended its notification', as_of);
  update public.notification_deliveries delivery
     set next_attempt_at = queued.claimed_until
    from public.notification_queue queued
   where delivery.id = any (others)
     and queued.id = delivery.notification_id
     and queued.claimed_until > as_of;
end
$$;

-- Claims up to `batch_size` deliveries for a run, after routing new notifications.
--
--   busy     destinations that have enough in flight
--   trials   parked destinations of which one delivery each is tried
--   alone    only one delivery, if any is ready, that was being posted when three runs died
--   threads  each delivery has its thread: `thread`, the request that it is about, and the
--            `thread_ts` of the message that began it there, if one did
--
-- Returns {held, more, ended: {dead, skipped, expired}, deliveries}. `held` is false, and nothing
-- is claimed, unless the run has the drainer's lease; `more` says that the next claim may find
-- something though this one did not. A delivery:
--   {id, token, notification_id, destination, state, attempts, max_attempts, in_doubt,
--    possible_duplicate, moved, lost_claims, error_code, post_id, parent_ts, thread, thread_ts,
--    event_type, template, event_data (text), known (known_of_event), waited, first_attempt,
--    last_attempt, looked_for, looked_down_to, conversation_id, ready_in, idle_for}
-- waited (since it was first due), looked_for, ready_in (the destination's own wait) and idle_for
-- (since its last post) are seconds; first_attempt and last_attempt are in epoch seconds. `moved`:
-- it may have been posted to a destination to which its notification no longer goes.
create or replace function public.claim_notifications(
  run_id uuid,
  batch_size integer default 100,
  busy text[] default '{}',
  trials text[] default '{}',
  alone boolean default false,
  expire_after interval default '24 hours',
  byte_limit integer default 4000000,
  threads boolean default false,
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
  token constant uuid := gen_random_uuid();
  now_by_clock timestamptz;
  places text[];
  chosen uuid[];
  free uuid[];
  old uuid[];
  astray uuid[];
  moved uuid[];
  routed jsonb;
  claimed jsonb;
begin
  if not public.holds_worker_lease('notifications', run_id) then
    return jsonb_build_object(
      'held', false, 'more', false, 'ended', '{}'::jsonb, 'deliveries', '[]'::jsonb
    );
  end if;

  update public.notification_deliveries delivery
     set next_attempt_at = null
   where delivery.id = any (array(
           select delayed.id
             from public.notification_deliveries delayed
            where delayed.state in ('pending', 'unknown')
              and delayed.next_attempt_at <= as_of
            order by delayed.next_attempt_at
            limit 1000
              for no key update skip locked
         ));
  routed := public.route_notifications(expire_after, 500, as_of);

  places := public.ready_destinations(busy, trials, as_of);
  if alone then
    chosen := array(
      select suspect.id
        from (
          select *
            from public.notification_deliveries delivery
           where delivery.state in ('pending', 'unknown')
             and delivery.lost_claims >= 3
           order by delivery.due_at
           limit 1000
        ) suspect
       where suspect.destination = any (places)
         and suspect.claim_token is null
         and suspect.next_attempt_at is null
       order by suspect.due_at
       limit 1
    );
  else
    chosen := public.fair_deliveries(places, trials, least(greatest(batch_size, 1), 500));
  end if;

  -- The locks ensure that no one else has these rows now, and are taken in one order.
  free := array(
    select held.id
      from (select unnest(chosen) as id order by 1) place
     cross join lateral (
             select delivery.id, delivery.claim_token, delivery.state, queued.is_processed,
                    queued.attempts, queued.max_attempts, queued.claimed_until
               from public.notification_deliveries delivery
               join public.notification_queue queued on queued.id = delivery.notification_id
              where delivery.id = place.id
              limit 1
                for no key update of delivery, queued skip locked
           ) held
     where held.claim_token is null
       and held.state in ('pending', 'unknown')
       and coalesce(held.is_processed, false) = false
       and coalesce(held.attempts, 0) < coalesce(held.max_attempts, 5)
       and (held.claimed_until is null or held.claimed_until <= as_of)
  );
  if cardinality(free) < cardinality(chosen) then
    perform public.set_aside(chosen, as_of);
  end if;

  now_by_clock := public.delivery_time(as_of);
  old := array(
    select delivery.id
      from public.notification_deliveries delivery
      left join lateral (
             select *
               from public.slack_destinations own
              where own.destination = delivery.destination
              limit 1
           ) known on true
     where delivery.id = any (free)
       and public.clock_time(
             now_by_clock,
             known.paused_for, known.paused_from, known.paused_to, known.paused_since
           ) - delivery.ages_from >= expire_after
  );
  if cardinality(old) > 0 then
    perform public.end_deliveries(
      old, 'expired', format('it waited longer than %s', expire_after), as_of
    );
    free := array(select unnest(free) except select unnest(old));
  end if;

  -- What no longer goes there is routed again, unless it may already have been posted there.
  select coalesce(array_agg(delivery.id) filter (where delivery.state = 'pending'), '{}'),
         coalesce(array_agg(delivery.id) filter (where delivery.state = 'unknown'), '{}')
    into astray, moved
    from public.notification_deliveries delivery
   where delivery.id = any (free)
     and (delivery.notification_id, delivery.destination) not in (
           select route.notification_id, coalesce(route.destination, '')
             from public.notification_routes(
                    array(
                      select held.notification_id
                        from public.notification_deliveries held
                       where held.id = any (free)
                    )
                  ) route
         );
  if cardinality(astray) > 0 then
    perform public.route_again(astray, '{}', expire_after, as_of);
  end if;

  free := array(
    select place.id
      from unnest(chosen) with ordinality place (id, number)
     where place.id = any (free) and place.id <> all (astray)
     order by place.number
  );
  with taken as (
    update public.notification_deliveries delivery
       set claimed_by = run_id, claim_token = token
      from public.carried_data(free, byte_limit) carried,
           public.notification_queue queued
     where delivery.id = carried.id
       and queued.id = delivery.notification_id
    returning
      carried.number,
      delivery.destination,
      jsonb_build_object(
        'id', delivery.id,
        'token', token,
        'notification_id', delivery.notification_id,
        'destination', delivery.destination,
        'state', delivery.state,
        'attempts', delivery.attempts,
        'max_attempts', coalesce(queued.max_attempts, 5),
        'in_doubt', delivery.in_doubt,
        'possible_duplicate', delivery.possible_duplicate,
        'moved', delivery.id = any (moved),
        'lost_claims', delivery.lost_claims,
        'error_code', delivery.error_code,
        'post_id', delivery.post_id,
        'parent_ts', delivery.parent_ts,
        'thread', case
          -- a direct message is one conversation with one reader
          when threads and delivery.destination !~ '^[DUW]'
            then public.request_of(queued.entity_type, queued.entity_id, queued.event_data)
        end,
        'event_type', carried.event_type,
        'template', carried.template,
        'event_data', carried.event_data,
        'known', carried.known,
        'waited', greatest(0, extract(epoch from as_of - delivery.due_at)),
        'first_attempt', extract(epoch from delivery.first_attempt_at),
        'last_attempt', extract(epoch from delivery.last_attempt_at),
        'looked_for', extract(epoch from as_of - delivery.looked_since),
        'looked_down_to', delivery.looked_down_to,
        'conversation_id', delivery.conversation_id
      ) as entry
  )
  select coalesce(
           jsonb_agg(
             taken.entry || jsonb_build_object(
               'thread_ts', begun.parent_ts,
               'conversation_id',
               coalesce(taken.entry ->> 'conversation_id', known.conversation_id),
               'ready_in', greatest(0, extract(epoch from known.not_before - as_of)),
               'idle_for', extract(epoch from as_of - known.last_post_at)
             )
             order by taken.number
           ),
           '[]'
         )
    into claimed
    from taken
    left join lateral (
           select *
             from public.slack_destinations own
            where own.destination = taken.destination
            limit 1
         ) known on true
    left join lateral (
           select thread.parent_ts
             from public.slack_threads thread
            where thread.destination = taken.destination
              and thread.request_id = (taken.entry ->> 'thread')::uuid
            limit 1
         ) begun on true;

  return jsonb_build_object(
    'held', true,
    'more', (routed ->> 'more')::boolean
            or (claimed = '[]' and cardinality(old) + cardinality(astray) > 0),
    'ended', jsonb_build_object(
      'dead', (routed ->> 'dead')::integer,
      'skipped', (routed ->> 'skipped')::integer,
      'expired', (routed ->> 'expired')::integer + cardinality(old)
    ),
    'deliveries', claimed
  );
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'set_aside(uuid[], timestamptz)',
    'claim_notifications(uuid, integer, text[], text[], boolean, interval, integer, boolean, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
