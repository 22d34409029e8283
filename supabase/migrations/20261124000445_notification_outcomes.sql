-- Notifications, part 10: the outcomes of deliveries.
--
--   settle_deliveries  writes outcomes to deliveries, threads and destinations

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Writes outcomes to deliveries whose claim is still valid, and to their destinations. Returns the
-- ids of those that were written.
create or replace function public.settle_deliveries(outcomes jsonb, as_of timestamptz)
returns uuid[]
language plpgsql
set search_path = ''
as $$
declare
  settled uuid[];
  reached text[];
begin
  with outcome as materialized (
    select result.*, coalesce(queued.max_attempts, 5) as max_attempts
      from jsonb_to_recordset(outcomes) as result (
             id uuid,
             token uuid,
             result text,
             attempts integer,
             retry_in double precision,
             conversation_id text,
             message_ts text,
             parent_ts text,
             thread uuid,
             request_id text,
             error_code text,
             error text,
             possible_duplicate boolean,
             in_doubt boolean,
             looked_down_to text,
             looking boolean,
             posted_ago double precision,
             hold_in double precision
           )
      join public.notification_deliveries delivery
        on delivery.id = result.id
       and delivery.claim_token = result.token
      join public.notification_queue queued on queued.id = delivery.notification_id
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
           next_attempt_at = case
             when outcome.result in ('sent', 'dead') then null
             when outcome.result = 'retry' and outcome.attempts >= outcome.max_attempts then null
             else as_of + make_interval(secs => outcome.retry_in)
           end,
           claimed_by = null,
           claim_token = null,
           conversation_id = coalesce(outcome.conversation_id, delivery.conversation_id),
           message_ts = coalesce(outcome.message_ts, delivery.message_ts),
           parent_ts = case
             when outcome.result <> 'sent' then delivery.parent_ts
             when outcome.thread is null then outcome.parent_ts
             else coalesce(outcome.parent_ts, outcome.message_ts)
           end,
           request_id = coalesce(outcome.request_id, delivery.request_id),
           error_code = outcome.error_code,
           error = outcome.error,
           tries = case
             when outcome.error_code is null then delivery.tries
             else case
                    when jsonb_array_length(delivery.tries) < 50 then delivery.tries
                    else delivery.tries - 0
                  end || jsonb_build_object(
                    'at', as_of,
                    'result',
                    case when outcome.looking then 'looking' else outcome.result end,
                    'code', outcome.error_code,
                    'error', outcome.error
                  )
           end,
           in_doubt = case
             when outcome.result = 'sent' then false
             when outcome.result = 'unknown' then true
             else coalesce(outcome.in_doubt, false)
           end,
           looked_since = case when outcome.looking then coalesce(delivery.looked_since, as_of) end,
           looked_down_to = outcome.looked_down_to,
           possible_duplicate =
             delivery.possible_duplicate or coalesce(outcome.possible_duplicate, false),
           settled_at = as_of
      from outcome
     where delivery.id = outcome.id
    returning delivery.id, delivery.destination, outcome.result, outcome.conversation_id,
              outcome.posted_ago, outcome.hold_in, outcome.thread, delivery.parent_ts
  ),
  threaded as (
    -- the newest message that began a thread: what is found late does not replace it
    insert into public.slack_threads as begun (destination, request_id, parent_ts, last_post_at)
    select written.destination, written.thread, max(written.parent_ts collate "C"), as_of
      from written
     where written.result = 'sent' and written.thread is not null
     group by written.destination, written.thread
     order by written.destination, written.thread
    on conflict on constraint slack_threads_pkey do update
      set parent_ts = greatest(begun.parent_ts collate "C", excluded.parent_ts collate "C"),
          last_post_at = as_of
  ),
  known as (
    insert into public.slack_destinations as stored
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
      set conversation_id = coalesce(excluded.conversation_id, stored.conversation_id),
          last_post_at = greatest(excluded.last_post_at, stored.last_post_at),
          not_before = greatest(excluded.not_before, stored.not_before)
  )
  select coalesce(array_agg(written.id), '{}'),
         -- a message found in the history does not show that posting works now
         coalesce(
           array_agg(distinct written.destination)
             filter (where written.result = 'sent' and written.posted_ago is not null),
           '{}'
         )
    into settled, reached
    from written;

  -- a successful post ends a park and a stop
  if cardinality(reached) > 0 then
    perform public.release_destinations(reached, as_of);
    perform public.resume_delivery(as_of);
  end if;
  return settled;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'settle_deliveries(jsonb, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
