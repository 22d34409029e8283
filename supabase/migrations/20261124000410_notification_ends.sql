-- Notifications, part 4: how deliveries and notifications end, and start again.
--
--   settle_notifications  ends those whose deliveries have all ended
--   end_deliveries        ends deliveries that are not to be posted
--   end_notifications     ends notifications of which nothing is in flight
--   restart_deliveries    restarts deliveries that ended
--   withdraw_deliveries   withdraws deliveries to be routed again

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Writes the outcomes of deliveries to the dashboard's rows. A notification whose deliveries have
-- all ended ends: dead before expired before sent before skipped.
create or replace function public.settle_notifications(
  notification_ids uuid[],
  as_of timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if cardinality(notification_ids) = 0 then
    return;
  end if;
  with tally as materialized (
    select delivery.notification_id as id,
           bool_or(open.is_it) as waits,
           case
             when bool_or(open.is_it) then null
             when bool_or(delivery.state = 'dead') then 'dead'
             when bool_or(delivery.state = 'expired') then 'expired'
             when bool_or(delivery.state = 'sent') then 'sent'
             else 'skipped'
           end as outcome,
           max(delivery.attempts) as attempts,
           min(delivery.next_attempt_at)
             filter (where delivery.state in ('pending', 'unknown')) as next_attempt_at,
           (array_agg(delivery.error order by delivery.settled_at desc nulls last)
             filter (where delivery.error is not null))[1] as error
      from public.notification_deliveries delivery
     cross join lateral (
             select delivery.state in ('pending', 'sending', 'unknown')
                    -- not "exists", for which Postgres may read all of notification_unrouted
                    or (
                         select waiting.notification_id
                           from public.notification_unrouted waiting
                          where waiting.notification_id = delivery.notification_id
                          limit 1
                       ) is not null as is_it
           ) open
     where delivery.notification_id = any (notification_ids)
     group by delivery.notification_id
  )
  update public.notification_queue queued
     set outcome = tally.outcome,
         is_processed = coalesce(tally.outcome <> 'dead', false),
         processed_at = case when tally.outcome <> 'dead' then as_of end,
         attempts = case
           when tally.outcome = 'dead' then coalesce(queued.max_attempts, 5)
           -- dead only when all of its deliveries have ended, whatever the outcome of one of them
           else least(tally.attempts, coalesce(queued.max_attempts, 5) - 1)
         end,
         next_attempt_at = case
           when tally.waits then coalesce(tally.next_attempt_at, queued.next_attempt_at)
           else queued.next_attempt_at
         end,
         last_error = case
           when tally.outcome = 'sent' then null
           else coalesce(tally.error, queued.last_error)
         end,
         routed_at = case when tally.waits then queued.routed_at end
    from tally
   where queued.id = tally.id
     and coalesce(queued.is_processed, false) = false
     and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
     and (not tally.waits
          or queued.attempts is distinct from
               least(tally.attempts, coalesce(queued.max_attempts, 5) - 1)
          or tally.next_attempt_at is not null
          or tally.error is distinct from queued.last_error);

  -- ended by someone else in the meantime: if it is reset to waiting, it starts from the beginning
  update public.notification_queue queued
     set routed_at = null,
         outcome = coalesce(
           queued.outcome, case when queued.is_processed then 'skipped' else 'dead' end
         )
   where queued.id = any (notification_ids)
     and queued.routed_at is not null
     and not (coalesce(queued.is_processed, false) = false
              and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5))
     and not exists (
           select
             from public.notification_deliveries delivery
            where delivery.notification_id = queued.id
              and delivery.state in ('pending', 'sending', 'unknown')
         );
end
$$;

-- Ends deliveries that wait, all in one state; what may have been posted stays in doubt.
create or replace function public.end_deliveries(
  delivery_ids uuid[],
  final_state text,
  reason text,
  as_of timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  concerned uuid[];
begin
  if cardinality(delivery_ids) = 0 then
    return;
  end if;
  with ended as (
    update public.notification_deliveries delivery
       set state = final_state,
           error = coalesce(reason, delivery.error),
           claimed_by = null,
           claim_token = null,
           next_attempt_at = null,
           settled_at = as_of
     where delivery.id = any (delivery_ids)
    returning delivery.notification_id
  )
  select array_agg(distinct ended.notification_id) into concerned from ended;
  perform public.settle_notifications(concerned, as_of);
end
$$;

-- Ends notifications of which nothing is in flight; `final_outcome` is dead, skipped or expired. If
-- some deliveries of a notification had already ended, their outcomes count too.
create or replace function public.end_notifications(
  notification_ids uuid[],
  final_outcome text,
  reason text,
  as_of timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if cardinality(notification_ids) = 0 then
    return;
  end if;
  delete from public.notification_unrouted waiting
   where waiting.notification_id = any (notification_ids);
  update public.notification_deliveries delivery
     set state = final_outcome,
         error = reason,
         claimed_by = null,
         claim_token = null,
         next_attempt_at = null,
         settled_at = as_of
   where delivery.notification_id = any (notification_ids)
     and delivery.state in ('pending', 'sending', 'unknown');
  update public.notification_queue queued
     set outcome = final_outcome,
         is_processed = final_outcome <> 'dead',
         processed_at = case when final_outcome <> 'dead' then as_of end,
         attempts = case
           when final_outcome = 'dead' then coalesce(queued.max_attempts, 5)
           else queued.attempts
         end,
         last_error = coalesce(reason, queued.last_error),
         routed_at = null
   where queued.id = any (notification_ids)
     and coalesce(queued.is_processed, false) = false
     and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
     and not exists (
           select
             from public.notification_deliveries delivery
            where delivery.notification_id = queued.id
         );
  perform public.settle_notifications(notification_ids, as_of);
end
$$;

-- Restarts what ended: of each notification the deliveries that were not sent, or all of them if
-- all were. What is in doubt is looked for first; the earlier outcome is kept.
create or replace function public.restart_deliveries(notification_ids uuid[], as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if cardinality(notification_ids) = 0 then
    return;
  end if;
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
         state = case when delivery.in_doubt then 'unknown' else 'pending' end,
         due_at = as_of,
         ages_from = public.destination_time(delivery.destination, as_of),
         attempts = 0,
         next_attempt_at = null,
         lost_claims = 0,
         -- what was sent before is a different message now, not to be confused with the first one
         id = case when delivery.state = 'sent' then gen_random_uuid() else delivery.id end,
         post_id = null,
         parent_ts = case when delivery.in_doubt then delivery.parent_ts end,
         message_ts = null,
         first_attempt_at = case when delivery.in_doubt then delivery.first_attempt_at end,
         looked_since = null,
         looked_down_to = null,
         settled_at = null
   where delivery.notification_id = any (notification_ids)
     and delivery.state in ('sent', 'skipped', 'expired', 'dead')
     and (delivery.state <> 'sent'
          or (
               select undelivered.id
                 from public.notification_deliveries undelivered
                where undelivered.notification_id = delivery.notification_id
                  and undelivered.state <> 'sent'
                limit 1
             ) is null);
end
$$;

-- Withdraws deliveries that are not in flight, to be routed again; they keep their age. Those in
-- `doubtful` may have been posted to their old destination.
create or replace function public.withdraw_deliveries(
  delivery_ids uuid[],
  doubtful uuid[],
  as_of timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  now_by_clock constant timestamptz := public.delivery_time(as_of);
begin
  with withdrawn as (
    delete from public.notification_deliveries delivery
     where delivery.id = any (delivery_ids)
    returning delivery.*
  )
  insert into public.notification_unrouted as waiting
    (notification_id, config_id, due_at, queued_at, ages_from, in_doubt, lookup_at)
  select withdrawn.notification_id,
         withdrawn.config_id,
         min(withdrawn.due_at),
         min(withdrawn.queued_at),
         now_by_clock - max(
           public.clock_time(
             now_by_clock,
             known.paused_for, known.paused_from, known.paused_to, known.paused_since
           ) - withdrawn.ages_from
         ),
         bool_or(withdrawn.possible_duplicate or withdrawn.id = any (doubtful)),
         as_of
    from withdrawn
    left join lateral (
           select *
             from public.slack_destinations own
            where own.destination = withdrawn.destination
            limit 1
         ) known on true
   group by withdrawn.notification_id, withdrawn.config_id
  on conflict on constraint notification_unrouted_pkey do update
    set in_doubt = waiting.in_doubt or excluded.in_doubt,
        lookup_at = excluded.lookup_at;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'settle_notifications(uuid[], timestamptz)',
    'end_deliveries(uuid[], text, text, timestamptz)',
    'end_notifications(uuid[], text, text, timestamptz)',
    'restart_deliveries(uuid[], timestamptz)',
    'withdraw_deliveries(uuid[], uuid[], timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
