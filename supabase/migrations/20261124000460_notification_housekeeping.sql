-- Notifications, part 12: what a run cleans up before it delivers.
--
--   take_over_claims        takes over the claims of runs that died
--   lock_unrouted           locks unrouted notifications that still wait
--   end_expired_deliveries  ends what has waited too long, unrouted notifications too
--
-- Each step, here and in the next part, handles at most `row_limit` rows, and none reads what ended
-- earlier.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Takes over what other runs had in flight: what they did not announce is free at once; what they
-- did announce may have been posted, and holds its destination until it can be looked for. Returns
-- how many deliveries died because five runs died while posting them.
create or replace function public.take_over_claims(
  run_id uuid,
  row_limit integer,
  as_of timestamptz
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  left_behind uuid[];
  crashing uuid[];
begin
  left_behind := array(
    select held.id
      from (
        (
          select delivery.id
            from public.notification_deliveries delivery
           where delivery.claimed_by < run_id
           limit row_limit
        )
        union all
        (
          select delivery.id
            from public.notification_deliveries delivery
           where delivery.claimed_by > run_id
           limit row_limit
        )
        limit row_limit
      ) place
     cross join lateral (
             select delivery.id
               from public.notification_deliveries delivery
              where delivery.id = place.id
                and delivery.claimed_by <> run_id
              limit 1
                for no key update skip locked
           ) held
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

-- Of unrouted notifications those that still wait, locked. Those that someone ended in the meantime
-- are removed, and those held by lock_and_get_notifications are left alone.
create or replace function public.lock_unrouted(notification_ids uuid[], as_of timestamptz)
returns uuid[]
language plpgsql
set search_path = ''
as $$
begin
  with over as (
    update public.notification_queue queued
       set routed_at = null,
           outcome = coalesce(
             queued.outcome, case when queued.is_processed then 'skipped' else 'dead' end
           )
     where queued.id = any (array(
             select ended.id
               from public.notification_queue ended
              where ended.id = any (notification_ids)
                and not (coalesce(ended.is_processed, false) = false
                         and coalesce(ended.attempts, 0) < coalesce(ended.max_attempts, 5))
                for no key update skip locked
           ))
    returning queued.id
  )
  delete from public.notification_unrouted waiting
   where waiting.notification_id = any (array(select over.id from over));
  return array(
    select queued.id
      from public.notification_queue queued
     where queued.id = any (notification_ids)
       and coalesce(queued.is_processed, false) = false
       and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
       and (queued.claimed_until is null or queued.claimed_until <= as_of)
       for no key update skip locked
  );
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
as $$
declare
  reason constant text := format('it waited longer than %s', expire_after);
  now_by_clock constant timestamptz := public.delivery_time(as_of);
  unrouted uuid[];
  expired uuid[];
begin
  unrouted := public.lock_unrouted(
    array(
      select waiting.notification_id
        from public.notification_unrouted waiting
       where waiting.ages_from <= now_by_clock - expire_after
       order by waiting.ages_from
       limit row_limit
    ),
    as_of
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
      left join lateral (
             select *
               from public.slack_destinations own
              where own.destination = waiting.destination
              limit 1
           ) known on true
     cross join lateral (
             select public.clock_time(
                      now_by_clock,
                      known.paused_for, known.paused_from, known.paused_to, known.paused_since
                    ) as shows
           ) clock
     cross join lateral (
             select delivery.id
               from public.notification_deliveries delivery
              where delivery.destination = waiting.destination
                and delivery.state in ('pending', 'unknown')
                and delivery.claim_token is null
                and delivery.ages_from <= clock.shows - expire_after
              order by delivery.ages_from
              limit row_limit - cardinality(unrouted)
           ) old
     limit row_limit - cardinality(unrouted)
  )
  select coalesce(array_agg(held.id), '{}')
    into expired
    from oldest
   cross join lateral (
           select delivery.id
             from public.notification_deliveries delivery
             join public.notification_queue queued on queued.id = delivery.notification_id
            where delivery.id = oldest.id
              and delivery.claim_token is null
            limit 1
              for no key update of delivery, queued skip locked
         ) held;
  perform public.end_deliveries(expired, 'expired', reason, as_of);
  return cardinality(unrouted) + cardinality(expired);
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'take_over_claims(uuid, integer, timestamptz)',
    'lock_unrouted(uuid[], timestamptz)',
    'end_expired_deliveries(interval, integer, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
