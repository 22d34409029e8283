-- The console's overview, and one run.
--
--   console_runs      the last runs of a worker
--   console_sent      notifications sent, by the minute
--   console_signs     what the alarms watch, as far as runs record it
--   console_overview  all of these, what is stalled, and retention's progress
--   console_run       one run, and the ids of the next and previous one
--
-- Each list ends with its page, so that none reads more because more has run.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Finds recent failures among any number of runs that succeeded.
do $$
begin
  if to_regclass('public.worker_runs_failed_idx') is null then
    create index worker_runs_failed_idx
      on public.worker_runs (worker, ended_at desc) where outcome = 'failed';
  end if;
end
$$;

-- [{"id", "ended_at", "seconds", "outcome", "succeeded", "error_class", "about": <the account of a
-- sync>}], newest first.
create or replace function public.console_runs(worker text, row_limit integer)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(latest) order by latest.ended_at desc, latest.id), '[]')
    from (
      select run.id, run.ended_at,
             round(extract(epoch from run.ended_at - run.started_at)::numeric, 1) as seconds,
             run.outcome, run.succeeded, run.error_class,
             nullif(
               concat_ws(' ', run.counts ->> 'platform', run.counts ->> 'account_id'), ''
             ) as about
        from public.worker_runs run
       where run.worker = console_runs.worker
       order by run.ended_at desc
       limit row_limit
    ) latest;
$$;

-- {"minutes": [{"minute", "sent"}], "is_whole"}: the notifications sent since `since`, by the
-- minute. Of the notifications that ended since then, at most the newest `row_limit` are counted.
create or replace function public.console_sent(since timestamptz, row_limit integer)
returns jsonb
language sql
stable
set search_path = ''
as $$
  with ended as materialized (
    select greatest(queued.created_at, queued.processed_at) as at, queued.outcome
      from public.notification_queue queued
     -- word for word the predicate and the key of notification_queue_delivered_idx
     where queued.is_processed and coalesce(queued.outcome, '') not in ('dead', 'expired')
       and greatest(queued.created_at, queued.processed_at) >= since
     order by greatest(queued.created_at, queued.processed_at) desc
     limit row_limit
  ),
  minutes as (
    select date_trunc('minute', ended.at) as minute, count(*) as sent
      from ended
     -- an earlier worker that runs next to this one records no outcome
     where coalesce(ended.outcome, 'sent') = 'sent'
     group by 1
  )
  select jsonb_build_object(
           'minutes', (
             select coalesce(
                      jsonb_agg(
                        jsonb_build_object('minute', minutes.minute, 'sent', minutes.sent)
                        order by minutes.minute
                      ),
                      '[]'
                    )
               from minutes
           ),
           'is_whole', (select count(*) < row_limit from ended)
         );
$$;

-- What the alarms of template.yaml watch, in their periods: {"raised", "longest_notifications",
-- "longest_sync", "dead", "refused", "syncs_failed", "retention_outcome"}. Of the last five
-- minutes, at most 1,000 runs; syncs_failed is of the last hour, counted up to 100.
create or replace function public.console_signs(as_of timestamptz default now())
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
    'raised', count(*) filter (where recent.error_class is not null),
    'longest_notifications', max(recent.seconds) filter (where recent.worker = 'notifications'),
    'longest_sync', max(recent.seconds) filter (where recent.worker = 'connection_sync'),
    'dead', coalesce(
      sum((recent.counts ->> 'dead')::integer)
        filter (where recent.worker = 'notifications'
                  and jsonb_typeof(recent.counts -> 'dead') = 'number'),
      0
    ),
    'refused', count(*) filter (
      where recent.worker = 'notifications' and recent.error_class = 'CredentialsError'
    ),
    'syncs_failed', (
      select count(*)
        from (
          select
            from public.worker_runs run
           where run.worker = 'connection_sync'
             and run.outcome = 'failed'
             and run.ended_at > as_of - interval '1 hour'
           limit 100
        ) counted
    ),
    'retention_outcome', (
      select run.outcome
        from public.worker_runs run
       where run.worker = 'retention' and run.outcome not in ('busy', 'dry_run')
       order by run.ended_at desc
       limit 1
    )
  )
    from (
      select run.worker, run.error_class, run.counts,
             extract(epoch from run.ended_at - run.started_at) as seconds
        from public.worker_runs run
       where run.ended_at > as_of - interval '5 minutes'
       order by run.ended_at desc
       limit 1000
    ) recent;
$$;

-- {"now", "runs": {<worker>: console_runs}, "in_progress": [<worker>], "sent": console_sent,
-- "delayed", "next_attempt_at", "stalled": console_stalled (up to `stalled_limit` of a kind),
-- "accounts": console_account_counts, "signs": console_signs, "retention":
-- [{"entity_type", "status", "archived", "purged", "remaining", "stayed": <rows>, "verified_bytes",
-- "error", "updated_at", "last_purged_at", "active_days", "archive_days"}]}. `delayed` counts up to
-- 10,000.
create or replace function public.console_overview(
  row_limit integer,
  stalled_limit integer,
  sent_since interval,
  slack interval,
  as_of timestamptz default now()
)
returns jsonb
language sql
stable
set search_path = ''
-- Also by a plan made when nearly nothing was there.
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
  select jsonb_build_object(
    'now', as_of,
    'runs', (
      select jsonb_object_agg(known.name, public.console_runs(known.name, row_limit))
        from unnest(
               array['notifications', 'metrics_sync', 'connection_sync', 'retention']
             ) known (name)
    ),
    'in_progress', (
      select coalesce(jsonb_agg(lease.name), '[]')
        from public.worker_leases lease
       where lease.expires_at > as_of
         and lease.holder <> '00000000-0000-0000-0000-000000000000'
    ),
    'sent', public.console_sent(as_of - sent_since, 5000),
    'delayed', (
      select count(*)
        from (
          select
            from public.notification_deliveries delivery
           -- word for word the predicate of notification_deliveries_delayed_idx
           where delivery.state in ('pending', 'unknown')
             and delivery.next_attempt_at is not null
             and delivery.next_attempt_at > as_of
           limit 10000
        ) counted
    ),
    'next_attempt_at', (
      select min(delivery.next_attempt_at)
        from public.notification_deliveries delivery
       where delivery.state in ('pending', 'unknown')
         and delivery.next_attempt_at is not null
         and delivery.next_attempt_at > as_of
    ),
    'stalled', public.console_stalled(stalled_limit),
    'accounts', public.console_account_counts(slack, as_of),
    'signs', public.console_signs(as_of),
    'retention', (
      select coalesce(
               jsonb_agg(
                 jsonb_build_object(
                   'entity_type', policy.entity_type,
                   'status', progress.status,
                   'archived', progress.archived,
                   'purged', progress.purged,
                   'remaining', progress.remaining,
                   'stayed', (
                     select coalesce(sum((kept.value ->> 'rows')::bigint), 0)
                       from jsonb_array_elements(progress.stayed) kept (value)
                   ),
                   'verified_bytes', progress.verified_bytes,
                   'error', progress.error,
                   'updated_at', progress.updated_at,
                   'last_purged_at', policy.last_purged_at,
                   'active_days', policy.active_retention_days,
                   'archive_days', policy.archive_retention_days
                 )
                 order by policy.entity_type, policy.id
               ),
               '[]'
             )
        from public.retention_policies policy
        left join public.retention_progress progress on progress.entity_type = policy.entity_type
    )
  );
$$;

-- {"run": <the row, with "seconds">, "newer", "older": <ids of the worker's next and previous
-- run>}; null where there is no such run.
create or replace function public.console_run(run_id uuid)
returns jsonb
language sql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
  select jsonb_build_object(
           'run', to_jsonb(run) || jsonb_build_object(
             'seconds', round(extract(epoch from run.ended_at - run.started_at)::numeric, 1)
           ),
           'newer', (
             select other.id
               from public.worker_runs other
              where other.worker = run.worker and other.ended_at > run.ended_at
              order by other.ended_at
              limit 1
           ),
           'older', (
             select other.id
               from public.worker_runs other
              where other.worker = run.worker and other.ended_at < run.ended_at
              order by other.ended_at desc
              limit 1
           )
         )
    from public.worker_runs run
   where run.id = run_id;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_runs(text, integer)',
    'console_sent(timestamptz, integer)',
    'console_signs(timestamptz)',
    'console_overview(integer, integer, interval, interval, timestamptz)',
    'console_run(uuid)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
