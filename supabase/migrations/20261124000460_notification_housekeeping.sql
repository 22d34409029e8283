-- Notifications, part 8: what a run tidies up before it delivers.
--
--   take_over_claims        of runs that died
--   end_expired_deliveries  and what waits apart for too long
--   follow_configs          what was switched off or goes elsewhere now
--   look_again              for destinations of what has none
--
-- Each step takes at most `row_limit` rows, and none looks back at what has happened before.

-- What other runs had in flight: what they did not announce is free at once; what they did may have
-- been posted, and holds its destination until it can be looked for. Returns how many died for it.
create or replace function public.take_over_claims(
  run_id uuid,
  row_limit integer,
  as_of timestamptz
)
returns integer
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  left_behind uuid[];
  crashing uuid[];
begin
  left_behind := array(
    select delivery.id
      from public.notification_deliveries delivery
     where delivery.claimed_by <> run_id
     limit row_limit
       for no key update skip locked
  );
  if cardinality(left_behind) = 0 then
    return 0;
  end if;
  with announced as (
    select delivery.destination, max(delivery.last_attempt_at) as last_attempt_at
      from public.notification_deliveries delivery
     where delivery.id = any (left_behind) and delivery.state = 'sending'
     group by delivery.destination
  )
  insert into public.slack_destinations as known (destination, not_before)
  select announced.destination, announced.last_attempt_at + interval '60 seconds'
    from announced
  on conflict (destination) do update
    set not_before = greatest(known.not_before, excluded.not_before);
  update public.notification_deliveries delivery
     set claimed_by = null,
         claim_token = null,
         state = case when delivery.state = 'sending' then 'unknown' else delivery.state end,
         lost_claims = delivery.lost_claims + (delivery.state = 'sending')::integer,
         error_code = case when delivery.state = 'sending' then 'worker_lost'
                           else delivery.error_code end,
         error = case when delivery.state = 'sending'
                      then 'the worker died while it may have been posting'
                      else delivery.error end
   where delivery.id = any (left_behind);
  crashing := array(
    select delivery.id
      from public.notification_deliveries delivery
     where delivery.id = any (left_behind) and delivery.lost_claims >= 5
  );
  if cardinality(crashing) > 0 then
    perform public.end_deliveries(
      crashing, 'dead', 'crashed the worker: five runs died while they posted it', as_of
    );
  end if;
  return cardinality(crashing);
end
$$;

-- Returns how many expired.
create or replace function public.end_expired_deliveries(
  expire_after interval,
  row_limit integer,
  as_of timestamptz
)
returns integer
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  reason constant text := format('it waited longer than %s', expire_after);
  unrouted uuid[];
  expired uuid[];
begin
  unrouted := array(
    select waiting.notification_id
      from public.notification_unrouted waiting
      join public.notification_queue queued on queued.id = waiting.notification_id
     where waiting.ages_from <= public.delivery_time(as_of) - expire_after
     order by waiting.ages_from
     limit row_limit
       for no key update of queued skip locked
  );
  perform public.end_notifications(unrouted, 'expired', reason, as_of);

  with recursive waiting (destination) as (
    (
      select delivery.destination
        from public.notification_deliveries delivery
       where delivery.state in ('pending', 'unknown')
       order by delivery.destination
       limit 1
    )
    union all
    select (
             select delivery.destination
               from public.notification_deliveries delivery
              where delivery.state in ('pending', 'unknown')
                and delivery.destination > waiting.destination
              order by delivery.destination
              limit 1
           )
      from waiting
     where waiting.destination is not null
  ),
  oldest as (
    select old.id
      from waiting
     cross join lateral (
             select delivery.id
               from public.notification_deliveries delivery
              where delivery.destination = waiting.destination
                and delivery.state in ('pending', 'unknown')
                and delivery.ages_from
                    <= public.destination_time(waiting.destination, as_of) - expire_after
              order by delivery.ages_from
              limit row_limit
           ) old
     limit row_limit
  )
  select array_agg(delivery.id)
    into expired
    from (
      select held.id
        from oldest
        join public.notification_deliveries held on held.id = oldest.id
        join public.notification_queue queued on queued.id = held.notification_id
       where held.claim_token is null
         for no key update of held, queued skip locked
    ) delivery;
  perform public.end_deliveries(coalesce(expired, '{}'), 'expired', reason, as_of);
  return cardinality(unrouted) + coalesce(cardinality(expired), 0);
end
$$;

-- Has what waits follow its config: ended where that was switched off, routed again where it goes
-- elsewhere now. What may have been posted stays to be settled where it was, unless nothing can be
-- found out there. Returns {skipped, routed, more}.
create or replace function public.follow_configs(
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
  off uuid[];
  astray uuid[];
begin
  with recursive pair (config_id, destination) as (
    (
      select delivery.config_id, delivery.destination
        from public.notification_deliveries delivery
       where delivery.state in ('pending', 'unknown')
       order by delivery.config_id, delivery.destination
       limit 1
    )
    union all
    select next.config_id, next.destination
      from pair
     cross join lateral (
             select delivery.config_id, delivery.destination
               from public.notification_deliveries delivery
              where delivery.state in ('pending', 'unknown')
                and (delivery.config_id, delivery.destination)
                    > (pair.config_id, pair.destination)
              order by delivery.config_id, delivery.destination
              limit 1
           ) next
  ),
  verdict as materialized (
    select pair.*,
           not coalesce(config.is_active, true) as is_off,
           known.parked_at is not null as is_parked,
           case
             when own.destination is not null then own.destination <> pair.destination
             when config.user_id is not null then true
             else not exists (
               select from public.slack_connected_channels connected
                where public.trim_invisible(connected.channel_id) = pair.destination
                  and (coalesce(jsonb_typeof(connected.notification_types), 'null') = 'null'
                       or connected.notification_types ? config.event_type)
             )
           end as is_astray
      from pair
      join public.notification_config config on config.id = pair.config_id
      left join public.profiles profile on profile.id = config.user_id
      left join public.slack_destinations known on known.destination = pair.destination
     cross join lateral (
             select coalesce(
                      public.trim_invisible(config.channel_id),
                      public.trim_invisible(profile.slack_id)
                    ) as destination
           ) own
  ),
  concerned as (
    select delivery.id, verdict.is_off
      from verdict
     cross join lateral (
             select waiting.id
               from public.notification_deliveries waiting
              where waiting.config_id = verdict.config_id
                and waiting.destination = verdict.destination
                and waiting.state in ('pending', 'unknown')
                and waiting.claim_token is null
                and (verdict.is_off or waiting.state = 'pending' or verdict.is_parked)
              limit row_limit
           ) delivery
     where verdict.is_off or verdict.is_astray
     limit row_limit
  ),
  held as (
    select delivery.id, concerned.is_off
      from concerned
      join public.notification_deliveries delivery on delivery.id = concerned.id
      join public.notification_queue queued on queued.id = delivery.notification_id
     where queued.claimed_until is null or queued.claimed_until <= as_of
       for no key update of delivery, queued skip locked
  )
  select coalesce(array_agg(held.id) filter (where held.is_off), '{}'),
         coalesce(array_agg(held.id) filter (where not held.is_off), '{}')
    into off, astray
    from held;

  perform public.end_deliveries(off, 'skipped', 'its notification_config is not active', as_of);
  if cardinality(astray) > 0 then
    perform public.route_again(
      astray,
      array(
        select delivery.id
          from public.notification_deliveries delivery
         where delivery.id = any (astray) and delivery.in_doubt
      ),
      expire_after,
      as_of
    );
  end if;
  return jsonb_build_object(
    'skipped', cardinality(off),
    'routed', cardinality(astray),
    'more', cardinality(off) + cardinality(astray) >= row_limit
  );
end
$$;

-- Looks up destinations again for what had none, those that waited longest for it first. Where a
-- config's notifications have somewhere to go again, its oldest ones follow in the same run.
create or replace function public.look_again(
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
  chosen uuid[];
  looked jsonb;
begin
  delete from public.notification_unrouted waiting
   where waiting.notification_id = any (array(
           select over.notification_id
             from (
               select due.notification_id
                 from public.notification_unrouted due
                where due.look_at <= as_of
                order by due.look_at, due.due_at, due.queued_at
                limit row_limit
             ) over
             join public.notification_queue queued on queued.id = over.notification_id
            where not (coalesce(queued.is_processed, false) = false
                       and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5))
         ));
  chosen := array(
    select queued.id
      from (
        select waiting.notification_id
          from public.notification_unrouted waiting
         where waiting.look_at <= as_of
         order by waiting.look_at, waiting.due_at, waiting.queued_at
         limit row_limit
      ) due
      join public.notification_queue queued on queued.id = due.notification_id
     where queued.claimed_until is null or queued.claimed_until <= as_of
       for no key update of queued skip locked
  );
  looked := public.route_chosen(chosen, expire_after, as_of);
  if (looked ->> 'routed')::integer > 0 then
    update public.notification_unrouted waiting
       set look_at = as_of
     where waiting.notification_id = any (array(
             select next.notification_id
               from (
                 select distinct queued.config_id
                   from public.notification_queue queued
                  where queued.id = any (chosen)
               ) config
              cross join lateral (
                      select older.notification_id
                        from public.notification_unrouted older
                       where older.config_id = config.config_id
                       order by older.due_at, older.queued_at
                       limit row_limit
                    ) next
              limit row_limit
           ));
  end if;
  return looked;
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'take_over_claims(uuid, integer, timestamptz)',
    'end_expired_deliveries(interval, integer, timestamptz)',
    'follow_configs(interval, integer, timestamptz)',
    'look_again(interval, integer, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;
