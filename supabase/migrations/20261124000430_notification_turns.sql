-- Notifications, part 6: what is next.
--
--   ready_destinations          destinations with something that may be posted now
--   fair_deliveries             the next deliveries of each, in turn
--   lock_and_get_notifications  the dashboard's own function, older than destinations

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The destinations that have something ready and are neither on hold nor busy; parked ones only if
-- they are among the `trials`.
create or replace function public.ready_destinations(
  busy text[],
  trials text[],
  as_of timestamptz
)
returns text[]
language sql
stable
set search_path = ''
as $$
  -- from one destination to the next, however much waits for each
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

-- The next deliveries of these destinations, at most `wanted`: the oldest of each, then the second
-- oldest of each, and so on, so that none fills a batch while another waits. A trial gives one.
-- Those that were being posted when three runs died are left out.
create or replace function public.fair_deliveries(
  places text[],
  trials text[],
  wanted integer
)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
declare
  share integer := 1 + 2 * wanted / greatest(cardinality(places), 1);
  deepest bigint;
  chosen uuid[];
begin
  -- With a thousand destinations each gives one or two; more are read only if that does not fill
  -- the batch and some have more.
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

-- The dashboard's own function, kept for its earlier workers: up to `batch_size` rows that wait,
-- oldest first, leased for 170 seconds. Nothing of them is announced, so a caller posts at once or
-- lets the lease expire; it does not return what a run has announced or may have posted. It reads
-- all that waits, as it did before.
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
  -- A run announces under the same lock, so this is checked again now that the lock is held.
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
  signature text;
begin
  foreach signature in array array[
    'ready_destinations(text[], text[], timestamptz)',
    'fair_deliveries(text[], text[], integer)',
    'lock_and_get_notifications(integer, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
