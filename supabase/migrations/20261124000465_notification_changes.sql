-- Notifications, part 13: what changes while something waits.
--
--   follow_configs  what was switched off or now goes elsewhere
--   route_unrouted  looks up destinations again for what has none

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Applies changes of configs to what waits: it ends if its config was switched off, and is routed
-- again if it now goes elsewhere. What may have been posted is settled at its old destination
-- first, unless that is parked. Returns {skipped, routed}.
create or replace function public.follow_configs(
  expire_after interval,
  row_limit integer,
  as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
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
             select delivery.config_id, delivery.destination as destination
               from public.notification_deliveries delivery
              where delivery.state in ('pending', 'unknown')
                and (delivery.config_id, delivery.destination)
                    > (pair.config_id, pair.destination)
              order by delivery.config_id, delivery.destination
              limit 1
           ) next
  ),
  verdict as materialized (
    select pair.config_id,
           pair.destination as destination,
           not coalesce(config.is_active, true) as is_off,
           known.parked_at is not null as is_parked,
           case
             when own.destination is not null then own.destination <> pair.destination
             when config.user_id is not null then true
             else not exists (
               select from public.slack_connected_channels connected
                where public.trim_invisible(connected.channel_id)
                      = pair.destination
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
     cross join lateral (
             select waiting.id
               from public.notification_deliveries waiting
               join public.notification_queue queued on queued.id = waiting.notification_id
              where waiting.id = concerned.id
                and (queued.claimed_until is null or queued.claimed_until <= as_of)
              limit 1
                for no key update of waiting, queued skip locked
           ) delivery
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
  return jsonb_build_object('skipped', cardinality(off), 'routed', cardinality(astray));
end
$$;

-- Looks up destinations again for what had none, those whose lookup was due first. If a config's
-- notifications have somewhere to go again, its oldest ones follow at the next start. Returns
-- route_chosen's counts and how many were `looked_up`.
create or replace function public.route_unrouted(
  expire_after interval,
  row_limit integer,
  as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  chosen uuid[];
  routed jsonb;
begin
  chosen := public.lock_unrouted(
    array(
      select waiting.notification_id
        from public.notification_unrouted waiting
       where waiting.lookup_at <= as_of
       order by waiting.lookup_at, waiting.due_at, waiting.queued_at
       limit row_limit
    ),
    as_of
  );
  routed := public.route_chosen(chosen, expire_after, as_of);
  if (routed ->> 'routed')::integer > 0 then
    update public.notification_unrouted waiting
       set lookup_at = as_of
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
  return routed || jsonb_build_object('looked_up', cardinality(chosen));
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'follow_configs(interval, integer, timestamptz)',
    'route_unrouted(interval, integer, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
