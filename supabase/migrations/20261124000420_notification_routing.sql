-- Notifications, part 5: creating the deliveries of notifications.
--
--   store_decisions      writes the result of routing
--   route_chosen         looks up where notifications go
--   route_again          does so for deliveries that are withdrawn
--   route_notifications  does so for what is new and due

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Stores what route_chosen decided: deliveries to be created, and what has nowhere to go. The
-- checks of foreign keys keep their plans here: planning them for each row would cost more than all
-- the rest.
create or replace function public.store_decisions(decisions jsonb, as_of timestamptz)
returns void
language plpgsql
set search_path = ''
set plan_cache_mode = auto
as $$
begin
  insert into public.notification_deliveries
    (notification_id, config_id, destination, due_at, queued_at, ages_from, attempts,
     possible_duplicate, created_at)
  select decision.notification_id, decision.config_id, decision.destination, decision.due_at,
         decision.queued_at, decision.ages_from, decision.attempts, decision.in_doubt, as_of
    from jsonb_to_recordset(decisions) as decision (
           notification_id uuid, config_id uuid, destination text, due_at timestamptz,
           queued_at timestamptz, ages_from timestamptz, attempts integer, in_doubt boolean,
           name text
         )
   where decision.name = 'route'
  on conflict on constraint notification_deliveries_destination_key do nothing;

  insert into public.notification_unrouted as waiting
    (notification_id, config_id, due_at, queued_at, ages_from, reason, lookups, lookup_at)
  select decision.notification_id, decision.config_id, decision.due_at, decision.queued_at,
         decision.ages_from, decision.reason, 1, as_of + interval '1 minute'
    from jsonb_to_recordset(decisions) as decision (
           notification_id uuid, config_id uuid, due_at timestamptz, queued_at timestamptz,
           ages_from timestamptz, reason text, name text
         )
   where decision.name = 'lost'
  on conflict on constraint notification_unrouted_pkey do update
    set reason = excluded.reason,
        lookups = waiting.lookups + 1,
        lookup_at = as_of + least(power(2, least(waiting.lookups, 4)), 10) * interval '1 minute';
end
$$;

-- Creates the deliveries of notifications that wait, locked by the caller. What has nowhere to go
-- waits in notification_unrouted, and what is not to be posted ends. Returns {dead, skipped,
-- expired, routed}.
create or replace function public.route_chosen(
  chosen uuid[],
  expire_after interval,
  as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  workspace public.slack_workspace;
  waits jsonb;
  now_by_clock timestamptz;
  reset uuid[];
  orphans uuid[];
  inactive uuid[];
  gone uuid[];
  expired uuid[];
  routed uuid[];
begin
  if cardinality(chosen) = 0 then
    return jsonb_build_object('dead', 0, 'skipped', 0, 'expired', 0, 'routed', 0);
  end if;
  select * into workspace from public.slack_workspace clock where clock.only_one;
  now_by_clock := public.delivery_time(as_of);

  with found as materialized (
    select route.notification_id,
           route.config_id,
           route.destination,
           route.verdict,
           route.reason,
           queued.attempts,
           queued.is_reset and waiting.due_at is null as is_reset,
           coalesce(waiting.due_at, queued.due_at) as due_at,
           coalesce(waiting.queued_at, queued.queued_at) as queued_at,
           waiting.due_at is not null as was_unrouted,
           coalesce(waiting.in_doubt, false) as in_doubt,
           -- it keeps the age that it reached unrouted, by the clock of all delivery
           coalesce(clock.shows - (now_by_clock - waiting.ages_from), clock.first_due) as ages_from,
           clock.shows
      from public.notification_routes(chosen) route
     cross join lateral (
             select coalesce(known.attempts, 0) as attempts,
                    past.is_reset,
                    case
                      when past.is_reset then as_of
                      else coalesce(known.next_attempt_at, known.created_at, as_of)
                    end as due_at,
                    coalesce(known.created_at, as_of) as queued_at
               from public.notification_queue known
              cross join lateral (
                      -- it ended before and was reset to waiting: that is how dashboards ask for
                      -- another attempt
                      select known.outcome is not null
                             or known.processed_at is not null
                             or (coalesce(known.attempts, 0) = 0 and known.last_error is not null)
                               as is_reset
                    ) past
              where known.id = route.notification_id
              limit 1
           ) queued
      left join lateral (
             select unrouted.due_at, unrouted.queued_at, unrouted.ages_from, unrouted.in_doubt
               from public.notification_unrouted unrouted
              where unrouted.notification_id = route.notification_id
              limit 1
           ) waiting on true
      left join lateral (
             select *
               from public.slack_destinations own
              where own.destination = route.destination
              limit 1
           ) known on true
     cross join lateral (
             select public.clock_time(
                      now_by_clock,
                      known.paused_for, known.paused_from, known.paused_to, known.paused_since
                    ) as shows,
                    public.clock_time(
                      public.clock_time(
                        queued.due_at,
                        workspace.paused_for, workspace.paused_from, workspace.paused_to,
                        workspace.stopped_at
                      ),
                      known.paused_for, known.paused_from, known.paused_to, known.paused_since
                    ) as first_due
           ) clock
  ),
  decision as materialized (
    select found.*,
           case
             when found.verdict in ('orphan', 'off') then found.verdict
             when bool_and(found.shows - found.ages_from >= expire_after)
                    over (partition by found.notification_id) then 'expired'
             else found.verdict
           end as name
      from found
  )
  select coalesce(jsonb_agg(to_jsonb(decision)) filter (where name in ('route', 'lost')), '[]'),
         coalesce(array_agg(distinct notification_id) filter (where is_reset), '{}'),
         coalesce(array_agg(distinct notification_id) filter (where name = 'orphan'), '{}'),
         coalesce(array_agg(distinct notification_id) filter (where name = 'off'), '{}'),
         coalesce(array_agg(distinct notification_id) filter (where name = 'gone'), '{}'),
         coalesce(array_agg(distinct notification_id) filter (where name = 'expired'), '{}'),
         coalesce(array_agg(distinct notification_id) filter (where name = 'route'), '{}')
    into waits, reset, orphans, inactive, gone, expired, routed
    from decision;

  delete from public.notification_unrouted waiting
   where waiting.notification_id = any (array(
           select (decision ->> 'notification_id')::uuid
             from jsonb_array_elements(waits) decision
            where decision ->> 'name' = 'route' and (decision ->> 'was_unrouted')::boolean
         ));
  update public.notification_queue queued
     set routed_at = as_of,
         outcome = null,
         processed_at = null,
         last_error = coalesce(decision.reason, queued.last_error)
    from (
           select distinct waiting.notification_id, waiting.reason
             from jsonb_to_recordset(waits) as waiting (notification_id uuid, reason text)
         ) decision
   where queued.id = decision.notification_id
     and (queued.routed_at is null or decision.reason is distinct from queued.last_error);
  perform public.store_decisions(waits, as_of);

  perform public.restart_deliveries(reset, as_of);
  perform public.end_notifications(orphans, 'dead', 'it has no notification_config', as_of);
  perform public.end_notifications(
    inactive, 'skipped', 'its notification_config is not active', as_of
  );
  perform public.end_notifications(
    gone, 'skipped', 'the request that it is about no longer exists', as_of
  );
  perform public.end_notifications(
    expired, 'expired', format('it waited longer than %s', expire_after), as_of
  );
  -- if all of its destinations already have it
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
    'dead', cardinality(orphans),
    'skipped', cardinality(inactive) + cardinality(gone),
    'expired', cardinality(expired),
    'routed', cardinality(routed)
  );
end
$$;

-- Withdraws deliveries that no longer go to their destination, and routes their notifications
-- again. Those in `doubtful` may have been posted to their old destination.
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
-- `more`: whether there may be more.
create or replace function public.route_notifications(
  expire_after interval,
  row_limit integer,
  as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
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
  signature text;
begin
  foreach signature in array array[
    'store_decisions(jsonb, timestamptz)',
    'route_chosen(uuid[], interval, timestamptz)',
    'route_again(uuid[], uuid[], interval, timestamptz)',
    'route_notifications(interval, integer, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
