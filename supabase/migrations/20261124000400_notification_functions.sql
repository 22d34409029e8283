-- Notifications, part 2: the atomic steps of a run.
--
--   start_notification_run      one drainer at a time; ends what is expired or switched off
--   claim_notifications           claims a fair batch, with all that is needed to deliver it
--   record_notification_progress  what came of deliveries, and which are about to be posted
--   finish_notification_run     hands the lease back
--
-- Durations travel as seconds, so that no clock but the database's is compared with its rows.

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The request that a notification is about; null when it is about none.
create or replace function public.notification_request_id(
  entity_type text,
  entity_id uuid,
  event_data jsonb
)
returns uuid
language sql
immutable
set search_path = ''
as $$
  select case
    when event_data ->> 'request_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      then (event_data ->> 'request_id')::uuid
    when entity_type in ('request', 'requests') then entity_id
  end;
$$;

-- Where a notification goes: the config's channel; else its user's direct message; else the
-- connected channels of the request's type (without a request: of every type) that take the
-- event. No row when there is no such place.
create or replace function public.notification_destinations(
  config_id uuid,
  entity_type text,
  entity_id uuid,
  event_data jsonb
)
returns table (destination text)
language sql
stable
set search_path = ''
as $$
  select nullif(btrim(config.channel_id), '')
    from public.notification_config config
   where config.id = notification_destinations.config_id
     and nullif(btrim(config.channel_id), '') is not null
  union
  select nullif(btrim(profile.slack_id), '')
    from public.notification_config config
    join public.profiles profile on profile.id = config.user_id
   where config.id = notification_destinations.config_id
     and nullif(btrim(config.channel_id), '') is null
     and nullif(btrim(profile.slack_id), '') is not null
  union
  select btrim(connected.channel_id)
    from public.notification_config config
    left join public.requests request
      on request.id = public.notification_request_id(
           notification_destinations.entity_type,
           notification_destinations.entity_id,
           notification_destinations.event_data
         )
    join public.slack_connected_channels connected
      on (connected.request_type is null or connected.request_type = request.request_type)
     and (coalesce(jsonb_typeof(connected.notification_types), 'null') = 'null'
          or connected.notification_types ? config.event_type)
   where config.id = notification_destinations.config_id
     and nullif(btrim(config.channel_id), '') is null
     and config.user_id is null
     and nullif(btrim(connected.channel_id), '') is not null;
$$;

-- The next notifications to claim, at most `batch_size`: each config in turn gives its oldest,
-- then each its second oldest, so that no config fills a batch while another waits. `share` is
-- how many of each are looked at; `turn` is a row's place within its config.
-- `after_lost_claims` asks for those that were claimed that often by workers that died.
create or replace function public.due_notifications(
  batch_size integer,
  share integer,
  busy_configs uuid[],
  after_lost_claims boolean,
  as_of timestamptz
)
returns table (id uuid, turn bigint)
language sql
stable
set search_path = ''
as $$
  select due.id, due.turn
    from public.notification_config config
   cross join lateral (
           select queued.id,
                  queued.created_at,
                  coalesce(queued.first_due_at, queued.next_attempt_at, '-infinity'::timestamptz)
                    as due_at,
                  row_number() over (
                    order by
                      coalesce(
                        queued.first_due_at, queued.next_attempt_at, '-infinity'::timestamptz
                      ),
                      queued.created_at,
                      queued.id
                  ) as turn
             from public.notification_queue queued
            where queued.config_id = config.id
              -- word for word the predicate and the key of notification_queue_due_idx
              and coalesce(queued.is_processed, false) = false
              and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
              and coalesce(queued.first_due_at, queued.next_attempt_at, '-infinity'::timestamptz)
                  <= as_of
              and (queued.next_attempt_at is null or queued.next_attempt_at <= as_of)
              and (queued.claimed_until is null or queued.claimed_until <= as_of)
              and (coalesce(queued.lost_claims, 0) + (queued.claim_token is not null)::integer >= 3)
                  = after_lost_claims
            order by
                  coalesce(
                    queued.first_due_at, queued.next_attempt_at, '-infinity'::timestamptz
                  ),
                  queued.created_at,
                  queued.id
            limit share
         ) due
   where coalesce(config.is_active, true)
     and config.id <> all (busy_configs)
     -- a destination that is to be left alone keeps its rows in their places
     and not exists (
           select from public.slack_destinations held
            where held.not_before > as_of
              and held.destination = coalesce(
                    nullif(btrim(config.channel_id), ''),
                    (select btrim(profile.slack_id)
                       from public.profiles profile
                      where profile.id = config.user_id)
                  )
         )
     and not exists (
           select from public.notification_pauses pause
            where pause.config_id = config.id and pause.ended_at is null
         )
   order by due.turn, due.due_at, due.created_at, due.id
   limit batch_size;
$$;

-- Claims up to `batch_size` due notifications for the time of `lease`, oldest first.
--
-- Each row comes with its fencing token, its config and its open deliveries:
--   {id, destination, state, attempts, due_in, conversation_id, ready_in, idle_for,
--    first_attempt, error_code}
-- due_in, ready_in (the destination's own wait) and idle_for (since its last post) are seconds;
-- first_attempt is in epoch seconds.
-- A notification that has no destination parks its config, with what comes after it. One whose
-- claims died three times is claimed alone, when nothing else is due and only with
-- `after_lost_claims`, so that it cannot take others down with it; after five it is dead.
-- `busy_configs` are left out.
drop function if exists public.lock_and_get_notifications(integer);
create or replace function public.lock_and_get_notifications(
  batch_size integer default 50,
  lease interval default '170 seconds',
  busy_configs uuid[] default '{}',
  after_lost_claims boolean default true,
  as_of timestamptz default now()
)
returns table (
  id uuid,
  config_id uuid,
  entity_id uuid,
  entity_type character varying,
  event_data jsonb,
  attempts integer,
  max_attempts integer,
  created_at timestamptz,
  claim_token uuid,
  lost_claims integer,
  waited double precision,
  event_type character varying,
  template text,
  deliveries jsonb
)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  token constant uuid := gen_random_uuid();
  wanted constant integer := least(greatest(coalesce(batch_size, 50), 1), 500);
  share integer := 1 + 2 * wanted / greatest((select count(*) from public.notification_config), 1);
  deepest bigint;
  chosen uuid[];
  unrouted uuid[];
begin
  loop
    -- With a thousand configs, each gives one or two; only if that does not fill the batch,
    -- and some had more to give, are they asked for more.
    loop
      select coalesce(array_agg(due.id), '{}'), coalesce(max(due.turn), 0)
        into chosen, deepest
        from public.due_notifications(wanted, share, busy_configs, false, as_of) due;
      exit when cardinality(chosen) >= wanted or deepest < share;
      share := share * 4;
    end loop;
    if cardinality(chosen) = 0 and after_lost_claims then
      chosen := array(
        select due.id from public.due_notifications(1, 1, busy_configs, true, as_of) due
      );
    end if;
    exit when cardinality(chosen) = 0;

    -- The inner select takes the locks in one order and skips what another call holds; as an
    -- array it is also estimated small, which keeps the planner on the primary key.
    chosen := array(
      select queued.id
        from public.notification_queue queued
       where queued.id = any (chosen)
         and coalesce(queued.is_processed, false) = false
         and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
         and (queued.claimed_until is null or queued.claimed_until <= as_of)
       order by queued.id
         for update skip locked
    );

    update public.notification_queue queued
       set attempts = coalesce(queued.max_attempts, 5),
           outcome = 'dead',
           last_error = 'crashed the worker: five claims of it were never settled',
           lost_claims = queued.lost_claims + 1,
           claim_token = null,
           claimed_until = null
     where queued.id = any (chosen)
       and queued.claim_token is not null
       and queued.lost_claims >= 4;
    continue when found;

    update public.notification_queue queued
       set claim_token = token,
           claimed_until = as_of + lease,
           lost_claims = case
             when queued.claim_token is null then queued.lost_claims
             else coalesce(queued.lost_claims, 0) + 1
           end
     where queued.id = any (chosen);

    perform public.route_claimed_notifications(chosen, as_of);

    unrouted := array(
      select queued.id
        from public.notification_queue queued
       where queued.id = any (chosen)
         and not exists (
               select from public.notification_deliveries delivery
                where delivery.notification_id = queued.id
             )
    );
    exit when cardinality(unrouted) = 0;

    insert into public.notification_pauses (config_id, code, reason, started_at)
    select config.id, 'no_route', public.missing_route(config.id), as_of
      from public.notification_config config
     where config.id in (
             select lost.config_id
               from public.notification_queue lost
              where lost.id = any (unrouted)
           )
    on conflict do nothing;
    -- what is older than the first of these has a destination, and goes there
    update public.notification_queue queued
       set claim_token = null,
           claimed_until = null
     where queued.id = any (chosen)
       and exists (
             select from public.notification_queue lost
              where lost.id = any (unrouted)
                and lost.config_id = queued.config_id
                and (
                      coalesce(lost.first_due_at, lost.next_attempt_at, '-infinity'::timestamptz),
                      coalesce(lost.created_at, 'infinity'::timestamptz),
                      lost.id
                    ) <= (
                      coalesce(
                        queued.first_due_at, queued.next_attempt_at, '-infinity'::timestamptz
                      ),
                      coalesce(queued.created_at, 'infinity'::timestamptz),
                      queued.id
                    )
           );
    exit when exists (
      select from public.notification_queue queued
       where queued.id = any (chosen) and queued.claim_token = token
    );
  end loop;

  return query
    select queued.id, queued.config_id, queued.entity_id, queued.entity_type,
           queued.event_data, coalesce(queued.attempts, 0), coalesce(queued.max_attempts, 5),
           queued.created_at, queued.claim_token, coalesce(queued.lost_claims, 0),
           greatest(
             0, extract(epoch from as_of - public.notification_due_since(queued, as_of))
           )::double precision,
           config.event_type, config.template,
           public.open_deliveries(queued.id, as_of)
      from public.notification_queue queued
      join public.notification_config config on config.id = queued.config_id
     where queued.id = any (chosen)
       and queued.claim_token = token
     order by
           coalesce(queued.first_due_at, queued.next_attempt_at, '-infinity'::timestamptz),
           queued.created_at,
           queued.id;
end
$$;

-- The same claim as one JSON array, in its order: the data API cuts a table at the project's "Max
-- rows", and what was cut would be leased and never come. The dashboard's own call, above, stays a
-- table.
create or replace function public.claim_notifications(
  batch_size integer default 50,
  lease interval default '170 seconds',
  busy_configs uuid[] default '{}',
  after_lost_claims boolean default true,
  as_of timestamptz default now()
)
returns jsonb
language sql
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(claimed) - 'ordinality' order by claimed.ordinality), '[]')
    from public.lock_and_get_notifications(
           claim_notifications.batch_size,
           claim_notifications.lease,
           claim_notifications.busy_configs,
           claim_notifications.after_lost_claims,
           claim_notifications.as_of
         ) with ordinality as claimed;
$$;

-- Gives each claimed notification its deliveries. One that was surely not posted follows the
-- routes as they are now; one that may have been stays, unless its destination was refused: then
-- a config that was given another goes on there.
create or replace function public.route_claimed_notifications(
  claimed uuid[],
  as_of timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- a worker died while it may have been posting
  update public.notification_deliveries delivery
     set state = 'unknown',
         next_attempt_at = delivery.last_attempt_at + interval '60 seconds',
         error_code = 'worker_lost',
         error = 'the worker died while it may have been posting'
   where delivery.notification_id = any (claimed)
     and delivery.state = 'sending';

  with route as materialized (
    select queued.id as notification_id, target.destination, queued.attempts
      from public.notification_queue queued
     cross join lateral public.notification_destinations(
             queued.config_id, queued.entity_type, queued.entity_id, queued.event_data
           ) target
     where queued.id = any (claimed)
  ),
  unrouted as (
    delete from public.notification_deliveries delivery
     using public.notification_queue queued
     where delivery.notification_id = any (claimed)
       and queued.id = delivery.notification_id
       and (delivery.state = 'pending'
            or (delivery.state = 'unknown'
                and exists (
                      select from public.notification_pauses pause
                       where pause.config_id = queued.config_id
                         and pause.destination = delivery.destination
                    )))
       and not exists (
             select from route
              where route.notification_id = delivery.notification_id
                and route.destination = delivery.destination
           )
  )
  insert into public.notification_deliveries (notification_id, destination, attempts, created_at)
  select route.notification_id, route.destination, coalesce(route.attempts, 0), as_of
    from route
  on conflict on constraint notification_deliveries_destination_key do nothing;
end
$$;

-- Why a config has no destination, in words that name the mend.
create or replace function public.missing_route(config_id uuid)
returns text
language sql
stable
set search_path = ''
as $$
  select case
    when config.user_id is not null then
      'its user has no slack_id: set profiles.slack_id, or notification_config.channel_id'
    else
      format(
        'no Slack channel takes %s: set notification_config.channel_id, or add a row to '
        'slack_connected_channels for that event and the request''s type',
        config.event_type
      )
  end
    from public.notification_config config
   where config.id = missing_route.config_id;
$$;

create or replace function public.open_deliveries(notification_id uuid, as_of timestamptz)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(
           jsonb_agg(
             jsonb_build_object(
               'id', delivery.id,
               'destination', delivery.destination,
               'state', delivery.state,
               'attempts', delivery.attempts,
               'due_in', greatest(0, extract(epoch from delivery.next_attempt_at - as_of)),
               'conversation_id', coalesce(delivery.conversation_id, known.conversation_id),
               'ready_in', greatest(0, extract(epoch from known.not_before - as_of)),
               'idle_for', extract(epoch from as_of - known.last_post_at),
               'first_attempt', extract(epoch from delivery.first_attempt_at),
               'error_code', delivery.error_code
             )
             order by delivery.destination
           ),
           '[]'
         )
    from public.notification_deliveries delivery
    left join public.slack_destinations known on known.destination = delivery.destination
   where delivery.notification_id = open_deliveries.notification_id
     and delivery.state in ('pending', 'unknown');
$$;

-- Seconds within [since, as_of] in which delivery of a config stood still.
create or replace function public.paused_time(
  config_id uuid,
  since timestamptz,
  as_of timestamptz
)
returns interval
language sql
stable
set search_path = ''
as $$
  select coalesce(sum(upper(stretch) - lower(stretch)), interval '0')
    from unnest((
           select range_agg(
                    tstzrange(pause.started_at, coalesce(pause.ended_at, as_of))
                    * tstzrange(since, as_of)
                  )
             from public.notification_pauses pause
            where (pause.config_id = paused_time.config_id or pause.config_id is null)
              and pause.started_at < as_of
              and coalesce(pause.ended_at, as_of) > since
         )) stretch;
$$;

-- Ends, at most `row_limit` at a time, what is not to be posted: notifications of no config
-- (dead), of inactive configs (skipped), and those that waited too long (expired). Returns
-- {dead, skipped, expired} as counts.
create or replace function public.end_undeliverable_notifications(
  expire_after interval,
  row_limit integer,
  as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  all_paused constant boolean := exists (
    select from public.notification_pauses pause
     where pause.config_id is null and pause.ended_at is null
  );
  ended jsonb;
begin
  with candidate as (
    (select queued.id, 'dead' as outcome, 'it has no notification_config' as reason
       from public.notification_queue queued
      where queued.config_id is null
        and coalesce(queued.is_processed, false) = false
        and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
        and (queued.claimed_until is null or queued.claimed_until <= as_of)
      limit row_limit)
    union all
    (select queued.id, 'skipped', 'its notification_config is not active'
       from public.notification_config config
      cross join lateral (
              select waiting.id
                from public.notification_queue waiting
               where waiting.config_id = config.id
                 and coalesce(waiting.is_processed, false) = false
                 and coalesce(waiting.attempts, 0) < coalesce(waiting.max_attempts, 5)
                 and (waiting.claimed_until is null or waiting.claimed_until <= as_of)
               limit row_limit
            ) queued
      where config.is_active = false
      limit row_limit)
    union all
    (select queued.id, 'expired', format('it waited longer than %s', expire_after)
       from public.notification_config config
      cross join lateral (
              select waiting.id
                from public.notification_queue waiting
               where waiting.config_id = config.id
                 and coalesce(waiting.is_processed, false) = false
                 and coalesce(waiting.attempts, 0) < coalesce(waiting.max_attempts, 5)
                 and coalesce(
                       waiting.first_due_at, waiting.next_attempt_at, '-infinity'::timestamptz
                     ) <= as_of - expire_after
                 and (waiting.claimed_until is null or waiting.claimed_until <= as_of)
                 and as_of - public.notification_due_since(waiting, as_of) >= expire_after
                 and as_of - public.notification_due_since(waiting, as_of)
                     - public.paused_time(
                         config.id, public.notification_due_since(waiting, as_of), as_of
                       ) >= expire_after
               limit row_limit
            ) queued
      where not all_paused
        and coalesce(config.is_active, true)
        and not exists (
              select from public.notification_pauses pause
               where pause.config_id = config.id and pause.ended_at is null
            )
      limit row_limit)
  ),
  ending as materialized (
    select queued.id, candidate.outcome, candidate.reason
      from candidate
      join public.notification_queue queued on queued.id = candidate.id
     where coalesce(queued.is_processed, false) = false
       and (queued.claimed_until is null or queued.claimed_until <= as_of)
       for update of queued skip locked
  ),
  closed as (
    update public.notification_queue queued
       set is_processed = (ending.outcome <> 'dead'),
           processed_at = case when ending.outcome <> 'dead' then as_of end,
           attempts = case
             when ending.outcome = 'dead' then coalesce(queued.max_attempts, 5)
             else queued.attempts
           end,
           outcome = ending.outcome,
           last_error = ending.reason,
           claim_token = null,
           claimed_until = null
      from ending
     where queued.id = ending.id
    returning queued.id, ending.outcome
  ),
  abandoned as (
    -- what may have been posted stays unknown: that is the truth of it
    update public.notification_deliveries delivery
       set state = case when delivery.state = 'pending' then closed.outcome else 'unknown' end,
           settled_at = as_of
      from closed
     where delivery.notification_id = closed.id
       and delivery.state in ('pending', 'sending')
  )
  select jsonb_build_object(
           'dead', count(*) filter (where closed.outcome = 'dead'),
           'skipped', count(*) filter (where closed.outcome = 'skipped'),
           'expired', count(*) filter (where closed.outcome = 'expired')
         )
    into ended
    from closed;
  return ended;
end
$$;

-- The moment from which a notification ages.
create or replace function public.notification_due_since(
  queued public.notification_queue,
  as_of timestamptz
)
returns timestamptz
language sql
stable
set search_path = ''
as $$
  select coalesce(queued.first_due_at, queued.next_attempt_at, queued.created_at, as_of);
$$;

-- Begins or goes on with a run: {acquired: false} while another run drains, else
-- {acquired: true, dead, skipped, expired, more, handover, handover_age, paused, probes}.
-- `more` says that there may be more to end: call again before claiming. `handover_age` is in
-- seconds; `paused` is the code for which all delivery stands still, or null; `probes` are the
-- parked configs whose destination is to be asked for again, [{config_id, destination}].
create or replace function public.start_notification_run(
  run_id uuid,
  lease interval default '30 seconds',
  expire_after interval default '24 hours',
  row_limit integer default 2000,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  held public.worker_leases;
  ended jsonb;
  probes jsonb;
begin
  select * into held
    from public.take_worker_lease('notifications', run_id, lease, as_of);
  if held.holder is null then
    return jsonb_build_object('acquired', false);
  end if;

  -- a parked config goes on by itself once its oldest notification has somewhere to go
  update public.notification_pauses pause
     set ended_at = as_of
   where pause.ended_at is null
     and pause.code = 'no_route'
     and exists (
           select from (
                    select queued.config_id, queued.entity_type, queued.entity_id,
                           queued.event_data
                      from public.notification_queue queued
                     where queued.config_id = pause.config_id
                       and coalesce(queued.is_processed, false) = false
                       and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
                     order by
                           coalesce(
                             queued.first_due_at,
                             queued.next_attempt_at,
                             '-infinity'::timestamptz
                           ),
                           queued.created_at,
                           queued.id
                     limit 1
                  ) oldest
            cross join lateral public.notification_destinations(
                    oldest.config_id, oldest.entity_type, oldest.entity_id, oldest.event_data
                  )
         );

  with probed as (
    update public.notification_pauses pause
       set probed_at = as_of
     where pause.id in (
             select due.id
               from public.notification_pauses due
              where due.ended_at is null
                and due.config_id is not null
                and due.destination is not null
                and coalesce(due.probed_at, due.started_at) <= as_of - interval '10 minutes'
              order by coalesce(due.probed_at, due.started_at), due.id
              limit 5
           )
    returning pause.config_id, pause.destination
  )
  select coalesce(
           jsonb_agg(
             jsonb_build_object('config_id', probed.config_id, 'destination', probed.destination)
           ),
           '[]'
         )
    into probes
    from probed;

  ended := public.end_undeliverable_notifications(expire_after, row_limit, as_of);
  return ended || jsonb_build_object(
    'acquired', true,
    'more', greatest(
      (ended ->> 'dead')::integer, (ended ->> 'skipped')::integer, (ended ->> 'expired')::integer
    ) > 0,
    'probes', probes,
    'handover', held.handover,
    'handover_age', greatest(0, extract(epoch from as_of - held.renewed_at)),
    'paused', (
      select pause.code
        from public.notification_pauses pause
       where pause.config_id is null and pause.ended_at is null
    )
  );
end
$$;

-- Records what came of deliveries and what is about to be posted, and renews the run's lease.
--
--   outcomes  [{id, token, result, attempts, retry_in, conversation_id, message_ts, request_id,
--               error_code, error, possible_duplicate, in_doubt, posted_ago, hold_in}]
--             result: sent | retry (a failure of its own; dead at the maximum) | wait (not its
--             fault) | unknown (it may have been posted) | dead | unstarted (never posted);
--             `in_doubt`: an earlier try may have posted it, so what waits is unknown
--   starting  [{id, token}]: deliveries that may be posted once they come back as started
--   finished  [{id, token, error}]: notifications with which this run is done; `error` set
--             means dead, whatever its deliveries
--   parks     [{config_id, code, reason, destination}]; config_id null stops all delivery
--   released  [config ids]: parked ones whose destination is well again
--   resumed   true when Slack accepted the token, which ends a stop of all delivery
--
-- Returns {held, started: [delivery ids], stale}: `held` is false when another run took over,
-- then nothing is started; `stale` counts what a newer claim's token fenced off. Calling it
-- again with the same arguments changes nothing more.
create or replace function public.record_notification_progress(
  run_id uuid,
  outcomes jsonb default '[]',
  starting jsonb default '[]',
  finished jsonb default '[]',
  parks jsonb default '[]',
  released jsonb default '[]',
  resumed boolean default false,
  handover jsonb default null,
  lease interval default '30 seconds',
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  held boolean;
  settled integer;
  started jsonb := '[]';
begin
  held := public.renew_worker_lease('notifications', run_id, lease, handover, as_of);

  -- A claim that changes a token waits for these locks, and so comes before or after all this.
  perform
    from public.notification_queue queued
   where queued.id in (
           select delivery.notification_id
             from public.notification_deliveries delivery
            where delivery.id in (
                    select (item ->> 'id')::uuid
                      from jsonb_array_elements(outcomes || starting) item
                  )
           union
           select (item ->> 'id')::uuid from jsonb_array_elements(finished) item
         )
   order by queued.id
     for update;

  settled := public.settle_deliveries(outcomes, as_of);

  insert into public.notification_pauses (config_id, code, reason, destination, started_at)
  select park.config_id, park.code, park.reason, park.destination, as_of
    from jsonb_to_recordset(parks)
           as park (config_id uuid, code text, reason text, destination text)
  on conflict do nothing;
  update public.notification_pauses pause
     set ended_at = as_of
   where pause.ended_at is null
     and pause.config_id in (
           select released_id::uuid from jsonb_array_elements_text(released) released_id
         );
  if resumed then
    update public.notification_pauses pause
       set ended_at = as_of
     where pause.config_id is null and pause.ended_at is null;
  end if;

  perform public.settle_notifications(finished, as_of);

  if held then
    with begun as (
      update public.notification_deliveries delivery
         set state = 'sending',
             first_attempt_at = coalesce(delivery.first_attempt_at, as_of),
             last_attempt_at = as_of
        from jsonb_to_recordset(starting) as start (id uuid, token uuid),
             public.notification_queue queued
       where delivery.id = start.id
         and queued.id = delivery.notification_id
         and queued.claim_token = start.token
         and delivery.state in ('pending', 'unknown', 'sending')
      returning delivery.id
    )
    select coalesce(jsonb_agg(begun.id), '[]') into started from begun;
  end if;

  return jsonb_build_object(
    'held', held,
    'started', started,
    'stale', jsonb_array_length(outcomes) - settled
  );
end
$$;

-- Writes outcomes to the delivery log and to what is known of destinations; returns how many
-- were written: those whose claim still stands.
create or replace function public.settle_deliveries(outcomes jsonb, as_of timestamptz)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  settled integer;
begin
  with outcome as materialized (
    select told.*, coalesce(queued.max_attempts, 5) as max_attempts
      from jsonb_to_recordset(outcomes) as told (
             id uuid,
             token uuid,
             result text,
             attempts integer,
             retry_in double precision,
             conversation_id text,
             message_ts text,
             request_id text,
             error_code text,
             error text,
             possible_duplicate boolean,
             in_doubt boolean,
             posted_ago double precision,
             hold_in double precision
           )
      join public.notification_deliveries delivery on delivery.id = told.id
      join public.notification_queue queued
        on queued.id = delivery.notification_id
       and queued.claim_token = told.token
  ),
  written as (
    update public.notification_deliveries delivery
       set state = case
             when outcome.result = 'retry' and outcome.attempts >= outcome.max_attempts
               then 'dead'
             when outcome.result in ('sent', 'dead', 'unknown') then outcome.result
             when outcome.in_doubt then 'unknown'
             else 'pending'
           end,
           attempts = coalesce(outcome.attempts, delivery.attempts),
           next_attempt_at = as_of + make_interval(secs => outcome.retry_in),
           conversation_id = coalesce(outcome.conversation_id, delivery.conversation_id),
           message_ts = coalesce(outcome.message_ts, delivery.message_ts),
           request_id = coalesce(outcome.request_id, delivery.request_id),
           error_code = outcome.error_code,
           error = outcome.error,
           possible_duplicate =
             delivery.possible_duplicate or coalesce(outcome.possible_duplicate, false),
           settled_at = as_of
      from outcome
     where delivery.id = outcome.id
    returning delivery.destination, outcome.conversation_id, outcome.posted_ago, outcome.hold_in
  ),
  known as (
    insert into public.slack_destinations as standing
      (destination, conversation_id, last_post_at, not_before)
    select written.destination,
           max(written.conversation_id),
           as_of - make_interval(secs => min(written.posted_ago)),
           as_of + make_interval(secs => max(written.hold_in))
      from written
     where written.conversation_id is not null
        or written.posted_ago is not null
        or written.hold_in is not null
     group by written.destination
     order by written.destination
    on conflict (destination) do update
      set conversation_id = coalesce(excluded.conversation_id, standing.conversation_id),
          last_post_at = greatest(excluded.last_post_at, standing.last_post_at),
          not_before = greatest(excluded.not_before, standing.not_before)
  )
  select count(*) into settled from written;
  return settled;
end
$$;

-- Gives claimed notifications back: ended when all their deliveries are, else waiting.
create or replace function public.settle_notifications(finished jsonb, as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.notification_deliveries delivery
     set state = 'dead',
         error = verdict.error,
         settled_at = as_of
    from jsonb_to_recordset(finished) as verdict (id uuid, token uuid, error text),
         public.notification_queue queued
   where verdict.error is not null
     and queued.id = verdict.id
     and queued.claim_token = verdict.token
     and delivery.notification_id = queued.id
     and delivery.state in ('pending', 'sending', 'unknown');

  with tally as materialized (
    select queued.id,
           coalesce(queued.max_attempts, 5) as max_attempts,
           verdict.error as verdict,
           count(*) filter (where delivery.state in ('pending', 'sending', 'unknown')) > 0
             as waits,
           count(*) filter (where delivery.state = 'dead') > 0 as died,
           coalesce(max(delivery.attempts), queued.attempts, 0) as attempts,
           min(delivery.next_attempt_at)
             filter (where delivery.state in ('pending', 'sending', 'unknown')) as next_attempt_at,
           count(*) filter (
             where delivery.state in ('pending', 'sending', 'unknown')
               and delivery.next_attempt_at is null
           ) > 0 as due_as_before,
           (array_agg(delivery.error order by delivery.settled_at desc nulls last)
             filter (where delivery.error is not null))[1] as error
      from jsonb_to_recordset(finished) as verdict (id uuid, token uuid, error text)
      join public.notification_queue queued
        on queued.id = verdict.id
       and queued.claim_token = verdict.token
      left join public.notification_deliveries delivery
        on delivery.notification_id = queued.id
     group by queued.id, queued.max_attempts, queued.attempts, verdict.error
  ),
  verdict as (
    select tally.*,
           case
             when tally.verdict is not null then 'dead'
             when tally.waits then null
             when tally.died then 'dead'
             else 'sent'
           end as outcome
      from tally
  )
  update public.notification_queue queued
     set outcome = verdict.outcome,
         is_processed = coalesce(verdict.outcome = 'sent', false),
         processed_at = case when verdict.outcome = 'sent' then as_of end,
         attempts = case
           when verdict.outcome = 'dead' then verdict.max_attempts
           -- dead only when all of it is over, whatever one of its deliveries came to
           else least(verdict.attempts, verdict.max_attempts - 1)
         end,
         next_attempt_at = case
           when verdict.outcome is null and not verdict.due_as_before then verdict.next_attempt_at
           else queued.next_attempt_at
         end,
         first_due_at = case
           when verdict.outcome is null and not verdict.due_as_before
             then public.notification_due_since(queued, as_of)
           else queued.first_due_at
         end,
         last_error = case
           when verdict.outcome = 'sent' then null
           else coalesce(verdict.verdict, verdict.error, queued.last_error)
         end,
         claim_token = null,
         claimed_until = null
    from verdict
   where queued.id = verdict.id;
end
$$;

-- The age in seconds of the oldest notification that is due; null when none is. Those of parked
-- and inactive configs wait for a reason and do not count.
create or replace function public.oldest_due_notification(as_of timestamptz default now())
returns double precision
language sql
stable
set search_path = ''
as $$
  select greatest(0, extract(epoch from as_of - min(oldest.due_since)))
    from public.notification_config config
   cross join lateral (
           select public.notification_due_since(queued, as_of) as due_since
             from public.notification_queue queued
            where queued.config_id = config.id
              and coalesce(queued.is_processed, false) = false
              and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
              and coalesce(
                    queued.first_due_at, queued.next_attempt_at, '-infinity'::timestamptz
                  ) <= as_of
            order by
                  coalesce(
                    queued.first_due_at, queued.next_attempt_at, '-infinity'::timestamptz
                  ),
                  queued.created_at,
                  queued.id
            limit 1
         ) oldest
   where coalesce(config.is_active, true)
     and not exists (
           select from public.notification_pauses pause
            where pause.config_id = config.id and pause.ended_at is null
         );
$$;

-- Hands the lease back. Returns {oldest_due, parked_configs}: oldest_due_notification, and how
-- many configs are parked.
create or replace function public.finish_notification_run(
  run_id uuid,
  handover jsonb default null,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  perform public.renew_worker_lease('notifications', run_id, interval '0', handover, as_of);
  return jsonb_build_object(
    'oldest_due', public.oldest_due_notification(as_of),
    'parked_configs', (
      select count(*)
        from public.notification_pauses pause
       where pause.config_id is not null and pause.ended_at is null
    )
  );
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'notification_request_id(text, uuid, jsonb)',
    'notification_destinations(uuid, text, uuid, jsonb)',
    'due_notifications(integer, integer, uuid[], boolean, timestamptz)',
    'lock_and_get_notifications(integer, interval, uuid[], boolean, timestamptz)',
    'claim_notifications(integer, interval, uuid[], boolean, timestamptz)',
    'route_claimed_notifications(uuid[], timestamptz)',
    'missing_route(uuid)',
    'open_deliveries(uuid, timestamptz)',
    'paused_time(uuid, timestamptz, timestamptz)',
    'end_undeliverable_notifications(interval, integer, timestamptz)',
    'notification_due_since(public.notification_queue, timestamptz)',
    'start_notification_run(uuid, interval, interval, integer, timestamptz)',
    'record_notification_progress(uuid, jsonb, jsonb, jsonb, jsonb, jsonb, boolean, jsonb, interval, timestamptz)',
    'settle_deliveries(jsonb, timestamptz)',
    'settle_notifications(jsonb, timestamptz)',
    'oldest_due_notification(timestamptz)',
    'finish_notification_run(uuid, jsonb, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
