-- Notifications, part 4: giving notifications their deliveries.
--
--   route_chosen         looks up where notifications go
--   route_again          does so for deliveries that are taken back
--   route_notifications  does so for what is new and due

-- Gives notifications that wait, locked by the caller, their deliveries. What has nowhere to go
-- waits apart, and what is not to be posted ends. Returns {dead, skipped, expired, routed}.
create or replace function public.route_chosen(
  chosen uuid[],
  expire_after interval,
  as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  now_by_clock constant timestamptz := public.delivery_time(as_of);
  -- as long as nothing ever stood still, every clock shows the time
  simple constant boolean := not exists (
    select
      from public.slack_workspace clock
     where clock.stopped_at is not null or clock.stood_to is not null
  );
  configless uuid[];
  inactive uuid[];
  reset uuid[];
  gone uuid[];
  expired uuid[];
  routed uuid[];
begin
  select coalesce(array_agg(queued.id) filter (where config.id is null), '{}'),
         coalesce(array_agg(queued.id) filter (where not coalesce(config.is_active, true)), '{}'),
         coalesce(array_agg(queued.id) filter (where queued.outcome is not null), '{}')
    into configless, inactive, reset
    from public.notification_queue queued
    left join public.notification_config config on config.id = queued.config_id
   where queued.id = any (chosen);

  -- somebody made it wait again: that is how dashboards ask for another try
  if cardinality(reset) > 0 then
    perform public.restart_deliveries(reset, as_of);
    update public.notification_queue queued
       set outcome = null, processed_at = null
     where queued.id = any (reset);
  end if;
  perform public.end_notifications(configless, 'dead', 'it has no notification_config', as_of);
  perform public.end_notifications(
    inactive, 'skipped', 'its notification_config is not active', as_of
  );

  with found as materialized (
    select route.notification_id,
           queued.config_id,
           route.destination,
           route.is_gone,
           route.reason,
           coalesce(queued.attempts, 0) as attempts,
           due.due_at,
           coalesce(queued.created_at, 'infinity') as queued_at,
           coalesce(waiting.in_doubt, false) as in_doubt,
           case
             when waiting.notification_id is not null
               then clock.shows - (now_by_clock - waiting.ages_from)
             when simple and standing.stood_to is null and standing.standing_since is null
               then due.due_at
             else public.destination_time(route.destination, due.due_at)
           end as ages_from,
           clock.shows
      from public.notification_routes(
             array(
               select unnest(chosen) except select unnest(configless || inactive)
             )
           ) route
      join public.notification_queue queued on queued.id = route.notification_id
      left join public.notification_unrouted waiting
        on waiting.notification_id = route.notification_id
      left join public.slack_destinations standing on standing.destination = route.destination
     cross join lateral (
             select case
                      when waiting.notification_id is not null then waiting.due_at
                      when queued.id = any (reset) then as_of
                      else coalesce(queued.next_attempt_at, queued.created_at, as_of)
                    end as due_at
           ) due
     cross join lateral (
             select case
                      when simple and standing.stood_to is null
                           and standing.standing_since is null
                        then as_of
                      else public.destination_time(route.destination, as_of)
                    end as shows
           ) clock
  ),
  fate as materialized (
    select found.*,
           case
             when bool_and(found.shows - found.ages_from >= expire_after) over whole then 'expired'
             when found.destination is not null then 'routed'
             when found.is_gone then 'gone'
             else 'waits'
           end as name
      from found
    window whole as (partition by found.notification_id)
  ),
  delivered as (
    insert into public.notification_deliveries
      (notification_id, config_id, destination, due_at, queued_at, ages_from, attempts,
       possible_duplicate, created_at)
    select fate.notification_id, fate.config_id, fate.destination, fate.due_at,
           fate.queued_at, fate.ages_from, fate.attempts, fate.in_doubt, as_of
      from fate
     where fate.name = 'routed'
    on conflict on constraint notification_deliveries_destination_key do nothing
  ),
  aside as (
    insert into public.notification_unrouted as waiting
      (notification_id, config_id, due_at, queued_at, ages_from, reason, looks, look_at)
    select fate.notification_id, fate.config_id, fate.due_at, fate.queued_at,
           fate.ages_from, fate.reason, 1, as_of + interval '1 minute'
      from fate
     where fate.name = 'waits'
    on conflict on constraint notification_unrouted_pkey do update
      set reason = excluded.reason,
          looks = waiting.looks + 1,
          look_at = as_of + least(power(2, least(waiting.looks, 4)), 10) * interval '1 minute'
  ),
  called_in as (
    delete from public.notification_unrouted waiting
     where waiting.notification_id = any (array(
             select fate.notification_id from fate where fate.name = 'routed'
           ))
  ),
  noted as (
    update public.notification_queue queued
       set routed_at = as_of,
           last_error = coalesce(fate.reason, queued.last_error)
      from (select distinct notification_id, name, reason from fate) fate
     where queued.id = fate.notification_id
       and fate.name in ('routed', 'waits')
       and (queued.routed_at is null or fate.reason is distinct from queued.last_error)
  )
  select coalesce(array_agg(distinct fate.notification_id) filter (where fate.name = 'gone'), '{}'),
         coalesce(array_agg(distinct fate.notification_id) filter (where fate.name = 'expired'), '{}'),
         coalesce(array_agg(distinct fate.notification_id) filter (where fate.name = 'routed'), '{}')
    into gone, expired, routed
    from fate;

  perform public.end_notifications(
    gone, 'skipped', 'the request that it is about no longer exists', as_of
  );
  perform public.end_notifications(
    expired, 'expired', format('it waited longer than %s', expire_after), as_of
  );
  -- where all that it goes to has had it already
  perform public.settle_notifications(
    array(
      select unnest(routed)
      except
      select delivery.notification_id
        from public.notification_deliveries delivery
       where delivery.notification_id = any (routed)
         and delivery.state in ('pending', 'sending', 'unknown')
    ),
    as_of
  );
  return jsonb_build_object(
    'dead', cardinality(configless),
    'skipped', cardinality(inactive) + cardinality(gone),
    'expired', cardinality(expired),
    'routed', cardinality(routed)
  );
end
$$;

-- Takes deliveries back that no longer go where they were to go, and routes their notifications
-- again. Those in `doubtful` may have been posted where they were.
create or replace function public.route_again(
  delivery_ids uuid[],
  doubtful uuid[],
  expire_after interval,
  as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  concerned constant uuid[] := array(
    select distinct delivery.notification_id
      from public.notification_deliveries delivery
     where delivery.id = any (delivery_ids)
  );
begin
  perform public.withdraw_deliveries(delivery_ids, doubtful, as_of);
  return public.route_chosen(concerned, expire_after, as_of);
end
$$;

-- Routes what is new and due, oldest first, at most `row_limit`. Returns route_chosen's counts and
-- `more`: there may be more.
create or replace function public.route_notifications(
  expire_after interval,
  row_limit integer,
  as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  chosen constant uuid[] := array(
    select queued.id
      from public.notification_queue queued
     -- word for word the predicate and the key of notification_queue_unrouted_idx
     where coalesce(queued.is_processed, false) = false
       and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
       and queued.routed_at is null
       and coalesce(queued.next_attempt_at, '-infinity'::timestamptz) <= as_of
       and (queued.claimed_until is null or queued.claimed_until <= as_of)
     order by coalesce(queued.next_attempt_at, '-infinity'::timestamptz),
              queued.created_at, queued.id
     limit row_limit
       for no key update skip locked
  );
begin
  if cardinality(chosen) = 0 then
    return jsonb_build_object('dead', 0, 'skipped', 0, 'expired', 0, 'routed', 0, 'more', false);
  end if;
  return public.route_chosen(chosen, expire_after, as_of)
         || jsonb_build_object('more', cardinality(chosen) >= row_limit);
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'route_chosen(uuid[], interval, timestamptz)',
    'route_again(uuid[], uuid[], interval, timestamptz)',
    'route_notifications(interval, integer, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;
