-- Notifications, part 15: dead letters, which people list, inspect and redrive.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

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
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off
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

-- The same, newest first, as one JSON array, to which the data API's row cap does not apply.
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
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off
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

-- One notification with its config, its delivery log, the state of its destinations and, if it has
-- none, what is missing, as JSON; null when there is none with that id.
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

-- Has these delivered after all, as far as they are dead or expired. Returns how many.
--
-- Only what was not delivered is repeated; what may have been is looked for in Slack first.
-- The earlier outcome is kept in the delivery's history, and the time until expiry starts again.
create or replace function public.redrive_chosen(
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
           when (
                  select delivery.id
                    from public.notification_deliveries delivery
                   where delivery.notification_id = queued.id
                     and delivery.state in ('pending', 'unknown')
                   limit 1
                ) is not null
             then as_of
         end
   where queued.id = any (chosen);
  return cardinality(chosen);
end
$$;

-- The same of one, of those of a config, of those of an error code, or with none of these given, of
-- all; the newest `row_limit`.
create or replace function public.redrive_notifications(
  notification_id uuid default null,
  config_id uuid default null,
  error_code text default null,
  row_limit integer default 1000,
  as_of timestamptz default now()
)
returns integer
language sql
set search_path = ''
as $$
  select public.redrive_chosen(
    case
      when redrive_notifications.notification_id is not null
        then array[redrive_notifications.notification_id]
      else public.ended_notifications(
        redrive_notifications.config_id, redrive_notifications.error_code, row_limit
      )
    end,
    as_of
  );
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'ended_notifications(uuid, text, integer)',
    'list_dead_notifications(uuid, text, integer)',
    'show_notification(uuid)',
    'redrive_chosen(uuid[], timestamptz)',
    'redrive_notifications(uuid, uuid, text, integer, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
