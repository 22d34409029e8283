-- Notifications, part 10: what people do. Dead letters are listed, shown and redriven; what stands
-- still is listed and released; single notifications are skipped; producers enqueue by a key.

-- What ended without being posted, dead or expired: the newest ones, of all, of a config or of an
-- error code.
create or replace function public.ended_notifications(
  config_id uuid,
  error_code text,
  row_limit integer
)
returns uuid[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
  if ended_notifications.error_code is not null then
    return array(
      select delivery.notification_id
        from public.notification_deliveries delivery
        join public.notification_queue queued on queued.id = delivery.notification_id
       where delivery.error_code = ended_notifications.error_code
         and delivery.state in ('dead', 'expired')
         and (ended_notifications.config_id is null
              or delivery.config_id = ended_notifications.config_id)
         and ((coalesce(queued.is_processed, false) = false
               and coalesce(queued.attempts, 0) >= coalesce(queued.max_attempts, 5))
              or queued.outcome = 'expired')
       order by delivery.settled_at desc
       limit row_limit
    );
  elsif ended_notifications.config_id is not null then
    return array(
      select queued.id
        from public.notification_queue queued
       where queued.config_id = ended_notifications.config_id
         and ((coalesce(queued.is_processed, false) = false
               and coalesce(queued.attempts, 0) >= coalesce(queued.max_attempts, 5))
              or queued.outcome = 'expired')
       order by queued.created_at desc nulls last, queued.id
       limit row_limit
    );
  end if;
  return array(
    select queued.id
      from public.notification_queue queued
     -- word for word the predicate of notification_queue_ended_idx
     where ((coalesce(queued.is_processed, false) = false
             and coalesce(queued.attempts, 0) >= coalesce(queued.max_attempts, 5))
            or queued.outcome = 'expired')
     order by queued.created_at desc nulls last, queued.id
     limit row_limit
  );
end
$$;

-- These, newest first, as one JSON array, which no row cap of the data API cuts.
create or replace function public.list_dead_notifications(
  config_id uuid default null,
  error_code text default null,
  row_limit integer default 100
)
returns jsonb
language sql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
  with ended as (
    select queued.id,
           queued.config_id,
           config.event_type,
           coalesce(queued.outcome, 'dead') as outcome,
           queued.created_at,
           queued.attempts,
           died.error_code,
           coalesce(died.error, queued.last_error) as error,
           coalesce(died.destinations, '{}') as destinations,
           coalesce(died.in_doubt, false) as in_doubt
      from public.notification_queue queued
      left join public.notification_config config on config.id = queued.config_id
      left join lateral (
             select (array_agg(delivery.error_code order by delivery.settled_at desc))[1]
                      as error_code,
                    (array_agg(delivery.error order by delivery.settled_at desc))[1] as error,
                    array_agg(delivery.destination order by delivery.destination) as destinations,
                    bool_or(delivery.in_doubt) as in_doubt
               from public.notification_deliveries delivery
              where delivery.notification_id = queued.id
                and delivery.state in ('dead', 'expired')
           ) died on true
     where queued.id = any (public.ended_notifications(
             list_dead_notifications.config_id, list_dead_notifications.error_code, row_limit
           ))
  )
  select coalesce(
           jsonb_agg(to_jsonb(ended) order by ended.created_at desc nulls last, ended.id), '[]')
    from ended;
$$;

-- One notification with its config, its delivery log, what its destinations stand still for and,
-- where it has none, what it lacks, as JSON; null when there is none of that id.
create or replace function public.show_notification(id uuid)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select to_jsonb(queued)
         || jsonb_build_object(
              'config', to_jsonb(config),
              'deliveries', (
                select coalesce(jsonb_agg(to_jsonb(delivery) order by delivery.destination), '[]')
                  from public.notification_deliveries delivery
                 where delivery.notification_id = queued.id
              ),
              'unrouted', (
                select to_jsonb(waiting)
                  from public.notification_unrouted waiting
                 where waiting.notification_id = queued.id
              ),
              'destinations', (
                select coalesce(jsonb_agg(to_jsonb(known) order by known.destination), '[]')
                  from public.slack_destinations known
                 where known.destination in (
                         select delivery.destination
                           from public.notification_deliveries delivery
                          where delivery.notification_id = queued.id
                       )
              )
            )
    from public.notification_queue queued
    left join public.notification_config config on config.id = queued.config_id
   where queued.id = show_notification.id;
$$;

-- Has dead and expired notifications delivered after all: one, those of a config, those of an
-- error code, or with none of these given, all; the newest `row_limit`. Returns how many.
--
-- Only what was not delivered is repeated; what may have been is looked for in Slack first.
-- The ended life is kept in the delivery's history, and the clock of expiry starts anew.
create or replace function public.redrive_notifications(
  notification_id uuid default null,
  config_id uuid default null,
  error_code text default null,
  row_limit integer default 1000,
  as_of timestamptz default now()
)
returns integer
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  chosen uuid[];
begin
  chosen := array(
    select queued.id
      from public.notification_queue queued
     where queued.id = any (
             case
               when redrive_notifications.notification_id is not null
                 then array[redrive_notifications.notification_id]
               else public.ended_notifications(
                 redrive_notifications.config_id, redrive_notifications.error_code, row_limit
               )
             end
           )
       and ((coalesce(queued.is_processed, false) = false
             and coalesce(queued.attempts, 0) >= coalesce(queued.max_attempts, 5))
            or queued.outcome = 'expired')
       and queued.config_id is not null
       for update skip locked
  );
  perform public.restart_deliveries(chosen, as_of);
  update public.notification_queue queued
     set is_processed = false,
         processed_at = null,
         attempts = 0,
         outcome = null,
         claim_token = null,
         claimed_until = null,
         -- the producer may have queued a newer one of the same key
         enqueue_key = null,
         next_attempt_at = as_of,
         routed_at = case
           when exists (
                  select from public.notification_deliveries delivery
                   where delivery.notification_id = queued.id
                     and delivery.state in ('pending', 'unknown')
                )
             then as_of
         end
   where queued.id = any (chosen);
  return cardinality(chosen);
end
$$;

-- Ends notifications that wait, so that they are not posted; what is being posted at the moment
-- stays. Returns how many ended.
create or replace function public.skip_notifications(
  notification_ids uuid[],
  as_of timestamptz default now()
)
returns integer
language plpgsql
set search_path = ''
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

-- What stands still, longest first, as a JSON array: with no destination and no config all delivery;
-- parked destinations; configs of which something has nowhere to go. `waiting` counts up to 10,000.
create or replace function public.list_parked()
returns jsonb
language sql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
  with recursive lacking (config_id) as (
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
              where waiting.config_id > lacking.config_id
              order by waiting.config_id
              limit 1
           )
      from lacking
     where lacking.config_id is not null
  ),
  standing as (
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
    select null, lacking.config_id, 'no_route', oldest.reason, oldest.due_at, oldest.look_at,
           (
             select count(*)
               from (
                 select
                   from public.notification_unrouted waiting
                  where waiting.config_id = lacking.config_id
                  limit 10000
               ) counted
           )
      from lacking
     cross join lateral (
             select waiting.reason, waiting.due_at, waiting.look_at
               from public.notification_unrouted waiting
              where waiting.config_id = lacking.config_id
              order by waiting.due_at, waiting.queued_at
              limit 1
           ) oldest
     where lacking.config_id is not null
  )
  select coalesce(
           jsonb_agg(
             to_jsonb(standing) || jsonb_build_object('event_type', config.event_type)
             order by standing.since, standing.destination, standing.config_id
           ),
           '[]'
         )
    from standing
    left join public.notification_config config on config.id = standing.config_id;
$$;

-- Has a parked destination tried again at once; without one, all of them. Returns how many.
create or replace function public.release_parked(
  destination text default null,
  as_of timestamptz default now()
)
returns integer
language sql
set search_path = ''
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

-- Queues a notification and returns its id. While one of the same key waits, nothing is queued
-- and that one's id is returned, so that a producer may call again when no answer came.
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
  brought text;
begin
  foreach brought in array array[
    'ended_notifications(uuid, text, integer)',
    'list_dead_notifications(uuid, text, integer)',
    'show_notification(uuid)',
    'redrive_notifications(uuid, uuid, text, integer, timestamptz)',
    'skip_notifications(uuid[], timestamptz)',
    'list_parked()',
    'release_parked(text, timestamptz)',
    'enqueue_notification(uuid, uuid, text, jsonb, text)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
