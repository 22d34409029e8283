-- Notifications, part 5: claims.
--
--   ready_destinations          where something waits that may go out now
--   fair_deliveries             the next ones of each, in turn
--   carried_data                event_data as it travels: text of bounded size
--   claim_notifications         takes a fair batch for the run that drains
--   lock_and_get_notifications  the dashboard's own call, of before there were runs
--
-- A claim names its run, and holds while that run holds the drainer's lease: what another run
-- claimed and did not announce is free. The one-argument call names none; its rows are leased.

-- The destinations that have something ready and are neither held back nor busy; parked ones only
-- as `trials`.
create or replace function public.ready_destinations(
  busy text[],
  trials text[],
  as_of timestamptz
)
returns text[]
language sql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
  -- from one destination to the next, whatever waits at each
  with recursive waiting (destination) as (
    (
      select delivery.destination
        from public.notification_deliveries delivery
       where delivery.state in ('pending', 'unknown')
         and delivery.claim_token is null
         and delivery.next_attempt_at is null
       order by delivery.destination
       limit 1
    )
    union all
    select (
             select delivery.destination
               from public.notification_deliveries delivery
              where delivery.state in ('pending', 'unknown')
                and delivery.claim_token is null
                and delivery.next_attempt_at is null
                and delivery.destination > waiting.destination
              order by delivery.destination
              limit 1
           )
      from waiting
     where waiting.destination is not null
  )
  select coalesce(array_agg(waiting.destination), '{}')
    from waiting
    left join public.slack_destinations known on known.destination = waiting.destination
   where waiting.destination is not null
     and waiting.destination <> all (busy)
     and (known.not_before is null or known.not_before <= as_of)
     and (known.parked_at is null or waiting.destination = any (trials));
$$;

-- The next deliveries of these destinations, at most `wanted`: each in turn gives its oldest, then
-- each its second oldest, so that none fills a batch while another waits. A trial gives one. Those
-- that took runs down with them stay out.
create or replace function public.fair_deliveries(
  places text[],
  trials text[],
  wanted integer
)
returns uuid[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  share integer := 1 + 2 * wanted / greatest(cardinality(places), 1);
  deepest bigint;
  chosen uuid[];
begin
  -- Of a thousand destinations each gives one or two; only if that does not fill the batch, and
  -- some had more to give, are they asked for more.
  loop
    select coalesce(
             (array_agg(next.id order by next.turn, next.due_at, next.queued_at,
                        next.notification_id, next.destination)
               filter (where next.lost_claims < 3))[1:wanted],
             '{}'
           ),
           coalesce(max(next.turn), 0)
      into chosen, deepest
      from unnest(places) place (name)
     cross join lateral (
             select delivery.id, delivery.destination, delivery.due_at, delivery.queued_at,
                    delivery.notification_id, delivery.lost_claims,
                    row_number() over (
                      order by delivery.due_at, delivery.queued_at, delivery.notification_id
                    ) as turn
               from public.notification_deliveries delivery
              where delivery.destination = place.name
                -- word for word the predicate of notification_deliveries_ready_idx
                and delivery.state in ('pending', 'unknown')
                and delivery.claim_token is null
                and delivery.next_attempt_at is null
              order by delivery.due_at, delivery.queued_at, delivery.notification_id
              limit case when place.name = any (trials) then 1 else share end
           ) next;
    exit when cardinality(chosen) >= wanted or deepest < share;
    share := share * 4;
  end loop;
  return chosen;
end
$$;

-- Values of more than this are cut, as rendering would cut them in the end.
create or replace function public.carried_value(carried jsonb, levels integer)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  if octet_length(carried::text) <= 16000 then
    return carried;
  end if;
  if jsonb_typeof(carried) = 'object' and levels > 0 then
    return (
      select jsonb_object_agg(kept.key, public.carried_value(kept.value, levels - 1))
        from (select key, value from jsonb_each(carried) limit 500) kept
    );
  end if;
  return to_jsonb(left(carried #>> '{}', 16000));
end
$$;

-- As text, so that no number, depth or letter in one row can spoil an answer of many; and of a size
-- that fits, whatever somebody queued.
create or replace function public.carried_data(event_data jsonb)
returns text
language plpgsql
immutable
set search_path = ''
as $$
declare
  whole constant text := event_data::text;
begin
  if octet_length(whole) <= 64000 then
    return whole;
  end if;
  return left(public.carried_value(event_data, 3)::text, 1000000);
end
$$;

-- Has what was chosen and cannot be taken step aside: rows that somebody ended take their deliveries
-- with them, and those that the one-argument call holds wait for the end of its lease.
create or replace function public.step_aside(chosen uuid[], as_of timestamptz)
returns void
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  over uuid[];
begin
  over := array(
    select delivery.id
      from public.notification_deliveries delivery
      join public.notification_queue queued on queued.id = delivery.notification_id
     where delivery.id = any (chosen)
       and not (coalesce(queued.is_processed, false) = false
                and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5))
       for no key update of delivery, queued skip locked
  );
  if cardinality(over) > 0 then
    update public.notification_deliveries delivery
       set state = 'skipped',
           error = 'somebody else ended its notification',
           settled_at = as_of
     where delivery.id = any (over);
    update public.notification_queue queued
       set routed_at = null,
           outcome = case when queued.is_processed then queued.outcome else 'dead' end
     where queued.id in (
             select delivery.notification_id
               from public.notification_deliveries delivery
              where delivery.id = any (over)
           );
  end if;
  update public.notification_deliveries delivery
     set next_attempt_at = queued.claimed_until
    from public.notification_queue queued
   where delivery.id = any (chosen)
     and delivery.claim_token is null
     and queued.id = delivery.notification_id
     and queued.claimed_until > as_of;
end
$$;

-- Takes up to `batch_size` deliveries for a run, new notifications being routed first.
--
--   busy     destinations that have enough in flight
--   trials   parked destinations of which one delivery each is tried
--   alone    only the one, if any is ready, that took three runs down with it
--
-- Returns {held, more, ended: {dead, skipped, expired}, deliveries}. `held` is false, and nothing is
-- taken, unless the run has the drainer's lease; `more` says that the next claim may find something
-- though this one did not. A delivery:
--   {id, token, notification_id, destination, state, attempts, max_attempts, in_doubt,
--    possible_duplicate, moved, lost_claims, error_code, post_id, parent_ts, event_type, template,
--    event_data (text), waited, first_attempt, last_attempt, looked_for, looked_down_to, conversation_id,
--    ready_in, idle_for}
-- waited (since it was first due), looked_for, ready_in (the destination's own wait) and idle_for
-- (since its last post) are seconds; first_attempt and last_attempt are in epoch seconds. `moved`: it may have been
-- posted to a destination to which its notification no longer goes.
create or replace function public.claim_notifications(
  run_id uuid,
  batch_size integer default 100,
  busy text[] default '{}',
  trials text[] default '{}',
  alone boolean default false,
  expire_after interval default '24 hours',
  byte_limit integer default 4000000,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  token constant uuid := gen_random_uuid();
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
    return jsonb_build_object('held', false, 'more', false, 'ended', '{}', 'deliveries', '[]');
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
  routed := public.route_notifications(expire_after, 1000, as_of);

  places := public.ready_destinations(busy, trials, as_of);
  if alone then
    chosen := array(
      select delivery.id
        from public.notification_deliveries delivery
       where delivery.state in ('pending', 'unknown')
         and delivery.lost_claims >= 3
         and delivery.claim_token is null
         and delivery.next_attempt_at is null
         and delivery.destination = any (places)
       order by delivery.due_at
       limit 1
    );
  else
    chosen := public.fair_deliveries(places, trials, least(greatest(batch_size, 1), 500));
  end if;

  -- The locks say that nobody else has these rows now, and are taken in one order.
  free := array(
    select delivery.id
      from public.notification_deliveries delivery
      join public.notification_queue queued on queued.id = delivery.notification_id
     where delivery.id = any (chosen)
       and delivery.claim_token is null
       and delivery.state in ('pending', 'unknown')
       and coalesce(queued.is_processed, false) = false
       and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
       and (queued.claimed_until is null or queued.claimed_until <= as_of)
     order by delivery.id
       for no key update of delivery, queued skip locked
  );
  if cardinality(free) < cardinality(chosen) then
    perform public.step_aside(chosen, as_of);
  end if;

  old := array(
    select delivery.id
      from public.notification_deliveries delivery
     where delivery.id = any (free)
       and public.destination_time(delivery.destination, as_of) - delivery.ages_from
           >= expire_after
  );
  if cardinality(old) > 0 then
    perform public.end_deliveries(
      old, 'expired', format('it waited longer than %s', expire_after), as_of
    );
    free := array(select unnest(free) except select unnest(old));
  end if;

  -- What no longer goes there is routed again, unless it may stand there already.
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

  with candidate as materialized (
    select delivery.id,
           place.number,
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
             'event_type', config.event_type,
             'template', config.template,
             'event_data', public.carried_data(queued.event_data),
             'waited', greatest(0, extract(epoch from as_of - delivery.due_at)),
             'first_attempt', extract(epoch from delivery.first_attempt_at),
             'last_attempt', extract(epoch from delivery.last_attempt_at),
             'looked_for', extract(epoch from as_of - delivery.looked_since),
             'looked_down_to', delivery.looked_down_to,
             'conversation_id', coalesce(delivery.conversation_id, known.conversation_id),
             'ready_in', greatest(0, extract(epoch from known.not_before - as_of)),
             'idle_for', extract(epoch from as_of - known.last_post_at)
           ) as entry
      from unnest(chosen) with ordinality place (id, number)
      join public.notification_deliveries delivery on delivery.id = place.id
      join public.notification_queue queued on queued.id = delivery.notification_id
      join public.notification_config config on config.id = queued.config_id
      left join public.slack_destinations known on known.destination = delivery.destination
     where delivery.id = any (free)
       and delivery.id <> all (astray)
  ),
  sized as (
    select candidate.*,
           sum(octet_length(candidate.entry ->> 'event_data')) over (
             order by candidate.number rows between unbounded preceding and 1 preceding
           ) as bytes_before
      from candidate
  ),
  taken as (
    update public.notification_deliveries delivery
       set claimed_by = run_id, claim_token = token
      from sized
     where delivery.id = sized.id
       and coalesce(sized.bytes_before, 0) < byte_limit
    returning sized.number, sized.entry
  )
  select coalesce(jsonb_agg(taken.entry order by taken.number), '[]') into claimed from taken;

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

-- The dashboard's own call, kept for workers of before: up to `batch_size` rows that wait, oldest
-- first, leased for 170 seconds. Nothing of them is announced, so that whoever calls posts at once
-- or lets the lease run out; what a run has announced, or may have posted, it does not give.
drop function if exists public.lock_and_get_notifications(integer);
create or replace function public.lock_and_get_notifications(
  batch_size integer default 50,
  as_of timestamptz default now()
)
returns table (
  id uuid,
  config_id uuid,
  entity_id uuid,
  entity_type character varying,
  event_data jsonb,
  attempts integer
)
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  chosen uuid[];
begin
  chosen := array(
    select queued.id
      from public.notification_queue queued
     where coalesce(queued.is_processed, false) = false
       and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
       and (queued.next_attempt_at is null or queued.next_attempt_at <= as_of)
       and (queued.claimed_until is null or queued.claimed_until <= as_of)
       and not exists (
             select from public.notification_deliveries delivery
              where delivery.notification_id = queued.id
                and delivery.state in ('sending', 'unknown', 'sent')
           )
     order by queued.next_attempt_at nulls first, queued.created_at, queued.id
     limit least(greatest(coalesce(batch_size, 50), 1), 500)
       for no key update skip locked
  );
  -- A run announces under the same lock: looked at once more, now that it is held.
  return query
    update public.notification_queue queued
       set claim_token = gen_random_uuid(),
           claimed_until = as_of + interval '170 seconds'
     where queued.id = any (chosen)
       and not exists (
             select from public.notification_deliveries delivery
              where delivery.notification_id = queued.id
                and delivery.state in ('sending', 'unknown', 'sent')
           )
    returning queued.id, queued.config_id, queued.entity_id, queued.entity_type,
              queued.event_data, coalesce(queued.attempts, 0);
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'ready_destinations(text[], text[], timestamptz)',
    'fair_deliveries(text[], text[], integer)',
    'carried_value(jsonb, integer)',
    'carried_data(jsonb)',
    'step_aside(uuid[], timestamptz)',
    'claim_notifications(uuid, integer, text[], text[], boolean, interval, integer, timestamptz)',
    'lock_and_get_notifications(integer, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;
