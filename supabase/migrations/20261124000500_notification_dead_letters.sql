-- Notifications, part 3: what people do. Dead letters are listed, shown and redriven; parked
-- configs are listed and released; producers enqueue by a key.

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- What ended without being posted, newest first: dead and expired notifications, as one JSON array,
-- which no row cap of the data API cuts.
create or replace function public.list_dead_notifications(
  config_id uuid default null,
  error_code text default null,
  row_limit integer default 100,
  as_of timestamptz default now()
)
returns jsonb
language sql
stable
set search_path = ''
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
           coalesce(died.destinations, '{}') as destinations
      from public.notification_queue queued
      left join public.notification_config config on config.id = queued.config_id
      left join lateral (
             select (array_agg(delivery.error_code order by delivery.settled_at desc))[1]
                      as error_code,
                    (array_agg(delivery.error order by delivery.settled_at desc))[1] as error,
                    array_agg(delivery.destination order by delivery.destination) as destinations
               from public.notification_deliveries delivery
              where delivery.notification_id = queued.id
                and delivery.state in ('dead', 'expired', 'unknown')
           ) died on true
     where ((coalesce(queued.is_processed, false) = false
             and coalesce(queued.attempts, 0) >= coalesce(queued.max_attempts, 5))
            or queued.outcome = 'expired')
       and (list_dead_notifications.config_id is null
            or queued.config_id = list_dead_notifications.config_id)
       and (list_dead_notifications.error_code is null
            or died.error_code = list_dead_notifications.error_code)
     order by queued.created_at desc nulls last, queued.id
     limit row_limit
  )
  select coalesce(
           jsonb_agg(to_jsonb(ended) order by ended.created_at desc nulls last, ended.id), '[]')
    from ended;
$$;

-- One notification with its config, its delivery log and its config's pauses, as JSON; null
-- when there is none of that id.
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
              'pauses', (
                select coalesce(jsonb_agg(to_jsonb(pause) order by pause.started_at), '[]')
                  from public.notification_pauses pause
                 where pause.config_id = queued.config_id
              )
            )
    from public.notification_queue queued
    left join public.notification_config config on config.id = queued.config_id
   where queued.id = show_notification.id;
$$;

-- Has dead and expired notifications delivered after all: one, those of a config, those of an
-- error code, or with none of these given, all. Returns how many.
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
as $$
declare
  chosen uuid[];
begin
  chosen := array(
    select queued.id
      from public.notification_queue queued
     where ((coalesce(queued.is_processed, false) = false
             and coalesce(queued.attempts, 0) >= coalesce(queued.max_attempts, 5))
            or queued.outcome = 'expired')
       and queued.config_id is not null
       and (redrive_notifications.notification_id is null
            or queued.id = redrive_notifications.notification_id)
       and (redrive_notifications.config_id is null
            or queued.config_id = redrive_notifications.config_id)
       and (redrive_notifications.error_code is null
            or exists (
                 select from public.notification_deliveries delivery
                  where delivery.notification_id = queued.id
                    and delivery.state in ('dead', 'expired', 'unknown')
                    and delivery.error_code = redrive_notifications.error_code
               ))
     order by queued.created_at, queued.id
     limit row_limit
       for update skip locked
  );

  update public.notification_deliveries delivery
     set history = delivery.history || jsonb_build_array(
           jsonb_build_object(
             'ended_at', delivery.settled_at,
             'state', delivery.state,
             'attempts', delivery.attempts,
             'error_code', delivery.error_code,
             'error', delivery.error
           )
         ),
         state = case when delivery.state = 'unknown' then 'unknown' else 'pending' end,
         attempts = 0,
         next_attempt_at = null
   where delivery.notification_id = any (chosen)
     and delivery.state in ('dead', 'expired', 'unknown');

  update public.notification_queue queued
     set is_processed = false,
         processed_at = null,
         attempts = 0,
         outcome = null,
         lost_claims = null,
         claim_token = null,
         claimed_until = null,
         -- the producer may have queued a newer one of the same key
         enqueue_key = null,
         first_due_at = as_of,
         next_attempt_at = as_of
   where queued.id = any (chosen);
  return cardinality(chosen);
end
$$;

-- What stands still, longest first: parked configs, and with config_id null all delivery; a JSON
-- array.
create or replace function public.list_parked_configs()
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(
           jsonb_agg(
             jsonb_build_object(
               'config_id', pause.config_id,
               'event_type', config.event_type,
               'code', pause.code,
               'reason', pause.reason,
               'since', pause.started_at,
               'waiting', (
                 select count(*)
                   from public.notification_queue queued
                  where (queued.config_id = pause.config_id or pause.config_id is null)
                    and coalesce(queued.is_processed, false) = false
                    and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
               )
             )
             order by pause.started_at, pause.id
           ),
           '[]'
         )
    from public.notification_pauses pause
    left join public.notification_config config on config.id = pause.config_id
   where pause.ended_at is null;
$$;

-- Lets a parked config's notifications go on; without an id all parked configs'. Returns how
-- many were parked.
create or replace function public.release_parked_configs(
  config_id uuid default null,
  as_of timestamptz default now()
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  released integer;
begin
  update public.notification_pauses pause
     set ended_at = as_of
   where pause.ended_at is null
     and pause.config_id is not null
     and (release_parked_configs.config_id is null
          or pause.config_id = release_parked_configs.config_id);
  get diagnostics released = row_count;
  return released;
end
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
    'list_dead_notifications(uuid, text, integer, timestamptz)',
    'show_notification(uuid)',
    'redrive_notifications(uuid, uuid, text, integer, timestamptz)',
    'list_parked_configs()',
    'release_parked_configs(uuid, timestamptz)',
    'enqueue_notification(uuid, uuid, text, jsonb, text)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
