-- Notifications, part 16: other operations. People skip single notifications, and list and release
-- what is parked; producers enqueue with a key.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Ends notifications that wait, so that they are not posted; what is being posted at the moment is
-- not affected. Returns how many ended.
create or replace function public.skip_notifications(
  notification_ids uuid[],
  as_of timestamptz default now()
)
returns integer
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
  chosen uuid[];
begin
  chosen := array(
    select queued.id
      from public.notification_queue queued
     where queued.id = any (notification_ids)
       and coalesce(queued.is_processed, false) = false
       and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
       for no key update
  );
  chosen := array(
    select unnest(chosen)
    except
    select delivery.notification_id
      from public.notification_deliveries delivery
     where delivery.notification_id = any (chosen)
       and delivery.state = 'sending'
  );
  perform public.end_notifications(chosen, 'skipped', 'an operator skipped it', as_of);
  return cardinality(chosen);
end
$$;

-- What is stopped or parked, longest first, as a JSON array: all delivery, with neither destination
-- nor config; parked destinations; configs of which something has nowhere to go. `waiting` counts
-- up to 10,000.
create or replace function public.list_parked()
returns jsonb
language sql
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
  with recursive unrouted (config_id) as (
    (
      select waiting.config_id
        from public.notification_unrouted waiting
       order by waiting.config_id
       limit 1
    )
    union all
    select (
             select waiting.config_id
               from public.notification_unrouted waiting
              where waiting.config_id > unrouted.config_id
              order by waiting.config_id
              limit 1
           )
      from unrouted
     where unrouted.config_id is not null
  ),
  paused as (
    select null::text as destination, null::uuid as config_id, workspace.stop_code as code,
           workspace.stop_reason as reason, workspace.stopped_at as since,
           null::timestamptz as next_probe, null::bigint as waiting
      from public.slack_workspace workspace
     where workspace.stopped_at is not null
    union all
    select known.destination, null, known.park_code, known.park_reason, known.parked_at,
           known.probe_at,
           (
             select count(*)
               from (
                 select
                   from public.notification_deliveries delivery
                  where delivery.destination = known.destination
                    and delivery.state in ('pending', 'unknown')
                  limit 10000
               ) counted
           )
      from public.slack_destinations known
     where known.parked_at is not null
    union all
    select null, unrouted.config_id, 'no_route', oldest.reason, oldest.due_at, oldest.lookup_at,
           (
             select count(*)
               from (
                 select
                   from public.notification_unrouted waiting
                  where waiting.config_id = unrouted.config_id
                  limit 10000
               ) counted
           )
      from unrouted
     cross join lateral (
             select waiting.reason, waiting.due_at, waiting.lookup_at
               from public.notification_unrouted waiting
              where waiting.config_id = unrouted.config_id
              order by waiting.due_at, waiting.queued_at
              limit 1
           ) oldest
     where unrouted.config_id is not null
  )
  select coalesce(
           jsonb_agg(
             to_jsonb(paused) || jsonb_build_object('event_type', config.event_type)
             order by paused.since, paused.destination, paused.config_id
           ),
           '[]'
         )
    from paused
    left join public.notification_config config on config.id = paused.config_id;
$$;

-- Makes the next run try a parked destination again; without one, all of them. Returns how many.
create or replace function public.release_parked(
  destination text default null,
  as_of timestamptz default now()
)
returns integer
language sql
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
  select public.release_destinations(
    array(
      select known.destination
        from public.slack_destinations known
       where known.parked_at is not null
         and (release_parked.destination is null
              or known.destination = release_parked.destination)
    ),
    as_of
  );
$$;

-- Queues a notification and returns its id. While one with the same key waits, nothing is queued
-- and the id of that one is returned, so that a producer may call again when no answer came.
create or replace function public.enqueue_notification(
  config_id uuid,
  entity_id uuid,
  entity_type text,
  event_data jsonb default null,
  enqueue_key text default null
)
returns uuid
language sql
set search_path = ''
as $$
  insert into public.notification_queue as queued
    (config_id, entity_id, entity_type, event_data, enqueue_key)
  values (
    enqueue_notification.config_id,
    enqueue_notification.entity_id,
    enqueue_notification.entity_type,
    enqueue_notification.event_data,
    enqueue_notification.enqueue_key
  )
  on conflict (enqueue_key)
    where enqueue_key is not null
      and coalesce(is_processed, false) = false
      and coalesce(attempts, 0) < coalesce(max_attempts, 5)
    do update set enqueue_key = excluded.enqueue_key
  returning queued.id;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'skip_notifications(uuid[], timestamptz)',
    'list_parked()',
    'release_parked(text, timestamptz)',
    'enqueue_notification(uuid, uuid, text, jsonb, text)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
