-- Notifications, part 11: what a run records, about once a second: outcomes, and what is about to be
-- posted.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Records the outcomes of deliveries and what is about to be posted, and renews the run's lease.
--
--   outcomes  [{id, token, result, attempts, retry_in, conversation_id, message_ts, parent_ts,
--               thread, request_id, error_code, error, possible_duplicate, in_doubt, looking,
--               looked_down_to, posted_ago, hold_in}], one for each delivery of a post
--             result: sent | retry (its own failure; dead at the maximum) | wait (not its fault) |
--             unknown (it may have been posted) | dead | unstarted (never posted) | moved (not
--             posted here, and to be posted elsewhere); `in_doubt`: an earlier attempt may have
--             posted it, so while it waits it is unknown; `parent_ts`: the parent of its thread,
--             null in the channel itself; `thread`: the request that the thread is about
--   starting  [{id, token, post_id, parent_ts}]: deliveries that may be posted, in that thread,
--             once they are returned as started
--   released  [{id, token}]: whose claims the run gives up
--   parks     [{destination, code, reason}]
--   stop      {code, reason}: Slack refuses the token, all delivery stops
--
-- Returns {held, wanted, started, postponed, stale}. `held` is false when another run took over or
-- the run had ended: then nothing is started. `postponed` are deliveries whose rows someone else
-- has locked: nothing was written for them, and the run may report them again. `stale` counts
-- outcomes whose claim is no longer valid. Calling it again with the same arguments changes nothing
-- more.
create or replace function public.record_notification_progress(
  run_id uuid,
  outcomes jsonb default '[]',
  starting jsonb default '[]',
  released jsonb default '[]',
  parks jsonb default '[]',
  stop jsonb default null,
  handover jsonb default null,
  lease interval default '30 seconds',
  expire_after interval default '24 hours',
  as_of timestamptz default now()
)
returns jsonb
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
  renewed constant jsonb := public.renew_worker_lease(
    'notifications', run_id, lease, handover, as_of => as_of
  );
  named uuid[];
  locked uuid[];
  reachable jsonb;
  settled uuid[];
  moved uuid[];
  started jsonb := '[]';
  aside uuid[];
begin
  named := array(
    select (item ->> 'id')::uuid from jsonb_array_elements(outcomes || starting || released) item
  );
  -- Another claim of these rows, or someone's change in psql, takes effect before or after all of
  -- this. A locked row postpones only itself.
  locked := array(
    select held.id
      from (select distinct unnest(named) as id order by 1) place
     cross join lateral (
             select delivery.id
               from public.notification_deliveries delivery
               join public.notification_queue queued on queued.id = delivery.notification_id
              where delivery.id = place.id
              limit 1
                for no key update of delivery, queued skip locked
           ) held
  );
  reachable := (
    select coalesce(jsonb_agg(item), '[]')
      from jsonb_array_elements(outcomes) item
     where (item ->> 'id')::uuid = any (locked)
  );

  settled := public.settle_deliveries(reachable, as_of);
  update public.notification_deliveries delivery
     set claimed_by = null, claim_token = null
    from jsonb_to_recordset(released) as given (id uuid, token uuid)
   where delivery.id = given.id
     and delivery.id = any (locked)
     and delivery.claim_token = given.token;
  perform public.settle_notifications(
    array(
      select distinct delivery.notification_id
        from public.notification_deliveries delivery
       where delivery.id = any (settled)
    ),
    as_of
  );

  if parks <> '[]' then
    perform public.park_destinations(parks, as_of);
  end if;
  if stop is not null then
    perform public.stop_delivery(stop ->> 'code', stop ->> 'reason', as_of);
  end if;

  moved := array(
    select (item ->> 'id')::uuid
      from jsonb_array_elements(reachable) item
     where item ->> 'result' = 'moved' and (item ->> 'id')::uuid = any (settled)
  );
  if cardinality(moved) > 0 then
    perform public.route_again(
      moved,
      array(
        select delivery.id
          from public.notification_deliveries delivery
         where delivery.id = any (moved) and delivery.in_doubt
      ),
      expire_after,
      as_of
    );
  end if;

  if (renewed ->> 'held')::boolean and starting <> '[]' then
    with begun as (
      update public.notification_deliveries delivery
         set state = 'sending',
             in_doubt = true,
             post_id = start.post_id,
             parent_ts = start.parent_ts,
             first_attempt_at = coalesce(delivery.first_attempt_at, as_of),
             last_attempt_at = as_of
        from jsonb_to_recordset(starting) as start (
               id uuid, token uuid, post_id uuid, parent_ts text
             ),
             public.notification_queue queued
       where delivery.id = start.id
         and delivery.id = any (locked)
         and delivery.claim_token = start.token
         and delivery.state in ('pending', 'unknown', 'sending')
         and queued.id = delivery.notification_id
         and coalesce(queued.is_processed, false) = false
         and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
         and (queued.claimed_until is null or queued.claimed_until <= as_of)
      returning delivery.id
    )
    select coalesce(jsonb_agg(begun.id), '[]') into started from begun;

    -- someone else ended it, or lock_and_get_notifications holds it: no longer this run's
    with refused as (
      update public.notification_deliveries delivery
         set claimed_by = null, claim_token = null
        from jsonb_to_recordset(starting) as start (id uuid, token uuid)
       where delivery.id = start.id
         and delivery.id = any (locked)
         and delivery.claim_token = start.token
         and delivery.state <> 'sending'
      returning delivery.id
    )
    select coalesce(array_agg(refused.id), '{}') into aside from refused;
    if cardinality(aside) > 0 then
      perform public.set_aside(aside, as_of);
    end if;
  end if;

  return renewed || jsonb_build_object(
    'started', started,
    'postponed', (
      select coalesce(jsonb_agg(delivery.id), '[]')
        from public.notification_deliveries delivery
       where delivery.id = any (named)
         and delivery.id <> all (locked)
    ),
    'stale', jsonb_array_length(reachable) - cardinality(settled)
  );
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'record_notification_progress(uuid, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, interval, interval, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
