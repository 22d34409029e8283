-- Every run of every worker leaves a row; health is read from these.
--
--   record_worker_run  one row, at the end of a run
--   worker_health      when each worker last succeeded, and what is waiting
--   purge_worker_runs  deletes old rows, leftovers of restores, and the console's old records

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

create table if not exists public.worker_runs (
  id uuid primary key default gen_random_uuid(),
  worker text not null,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  outcome text not null,
  succeeded boolean not null,
  counts jsonb not null default '{}',
  error_class text,
  error text
);

comment on table public.worker_runs is 'One row per run of a worker.';
comment on column public.worker_runs.outcome is
  'How it ended, in the worker''s own words; failed if it raised an error.';
comment on column public.worker_runs.succeeded is
  'Whether it did its work: not if it failed, or left it to another run.';

do $$
begin
  if to_regclass('public.worker_runs_worker_idx') is null then
    create index worker_runs_worker_idx
      on public.worker_runs (worker, ended_at desc);
  end if;
end
$$;
-- For the last success, however many runs have failed since.
do $$
begin
  if to_regclass('public.worker_runs_success_idx') is null then
    create index worker_runs_success_idx
      on public.worker_runs (worker, ended_at desc) where succeeded;
  end if;
end
$$;
do $$
begin
  if to_regclass('public.worker_runs_ended_at_idx') is null then
    create index worker_runs_ended_at_idx
      on public.worker_runs (ended_at);
  end if;
end
$$;

-- For counting the dead: notification_queue_ended_idx also has every expired one.
do $$
begin
  if to_regclass('public.notification_queue_dead_idx') is null then
    create index notification_queue_dead_idx
      on public.notification_queue (id)
      where coalesce(is_processed, false) = false
        and coalesce(attempts, 0) >= coalesce(max_attempts, 5);
  end if;
end
$$;

do $$
begin
  if not (select relrowsecurity from pg_catalog.pg_class where oid = 'public.worker_runs'::regclass) then
    alter table public.worker_runs enable row level security;
  end if;
end
$$;
revoke all on public.worker_runs from public, anon, authenticated;
grant select, insert, delete on public.worker_runs to service_role;

-- `seconds` is how long the run took: its clock is not compared with the database's.
create or replace function public.record_worker_run(
  worker text,
  outcome text,
  succeeded boolean,
  seconds double precision,
  counts jsonb default '{}',
  error_class text default null,
  error text default null,
  as_of timestamptz default now()
)
returns void
language sql
set search_path = ''
as $$
  insert into public.worker_runs
    (worker, started_at, ended_at, outcome, succeeded, counts, error_class, error)
  values (
    record_worker_run.worker,
    as_of - make_interval(secs => record_worker_run.seconds),
    as_of,
    record_worker_run.outcome,
    record_worker_run.succeeded,
    record_worker_run.counts,
    record_worker_run.error_class,
    record_worker_run.error
  );
$$;

-- {"now", "first_run_at", "workers": {<name>: {"last_success_at", "last_outcome", "last_error"}},
--  "oldest_due_seconds", "due", "dead", "parked", "unrouted", "parked_connections",
--  "failing_connections"}; due and dead are counted up to 10,000. No names, and no texts of users.
create or replace function public.worker_health(as_of timestamptz default now())
returns jsonb
language sql
stable
set search_path = ''
-- Also for a plan made when nearly nothing had ended yet.
set enable_seqscan = off
set jit = off
as $$
  select jsonb_build_object(
    'now', as_of,
    'first_run_at', (select min(run.ended_at) from public.worker_runs run),
    'workers', (
      select jsonb_object_agg(
               known.name,
               jsonb_build_object(
                 'last_success_at', (
                   select max(run.ended_at)
                     from public.worker_runs run
                    where run.worker = known.name and run.succeeded
                 ),
                 'last_outcome', last.outcome,
                 'last_error', last.error_class
               )
             )
        from unnest(
               array['notifications', 'metrics_sync', 'connection_sync', 'retention']
             ) known (name)
        left join lateral (
          select run.outcome, run.error_class
            from public.worker_runs run
           where run.worker = known.name
           order by run.ended_at desc
           limit 1
        ) last on true
    ),
    'oldest_due_seconds', public.oldest_due_notification(as_of),
    'due', (
      select count(*)
        from (
          (
            select
              from public.notification_queue queued
             -- word for word the predicate and the key of notification_queue_unrouted_idx
             where coalesce(queued.is_processed, false) = false
               and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
               and queued.routed_at is null
               and coalesce(queued.next_attempt_at, '-infinity'::timestamptz) <= as_of
             limit 10000
          )
          union all
          (
            select
              from public.notification_deliveries delivery
             -- word for word the predicate of notification_deliveries_ready_idx
             where delivery.state in ('pending', 'unknown')
               and delivery.claim_token is null
               and delivery.next_attempt_at is null
             limit 10000
          )
          limit 10000
        ) counted
    ),
    'dead', (
      select count(*)
        from (
          select
            from public.notification_queue queued
           -- word for word the predicate of notification_queue_dead_idx
           where coalesce(queued.is_processed, false) = false
             and coalesce(queued.attempts, 0) >= coalesce(queued.max_attempts, 5)
           limit 10000
        ) counted
    ),
    'parked', (
      select count(*) from public.slack_destinations known where known.parked_at is not null
    ),
    'unrouted', (
      select count(*)
        from (select from public.notification_unrouted waiting limit 10000) counted
    ),
    'parked_connections', connections.parked,
    'failing_connections', connections.failing
  )
    from (
      select count(*) filter (where connection.is_parked) as parked,
             count(*) filter (where account.failures > 0) as failing
        from public.metric_connections(null, null, as_of) connection
        left join public.metric_accounts account
          on account.platform = connection.platform and account.account_id = connection.account_id
       where connection.is_active
    ) connections;
$$;

create or replace function public.purge_worker_runs(
  keep interval,
  batch_size integer,
  as_of timestamptz default now()
)
returns integer
language sql
set search_path = ''
-- as retention_batch
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
  with gone as (
    delete from public.worker_runs run
     where run.id = any (array(
             select due.id
               from public.worker_runs due
              where due.ended_at < as_of - keep
              order by due.ended_at
              limit batch_size
           ))
    returning 1
  ),
  leftovers as (
    delete from public.archived_activity_leftovers leftover
     where leftover.row_id = any (array(
             select old.row_id
               from public.archived_activity_leftovers old
              where old.restored_at < as_of - keep
              order by old.restored_at
              limit batch_size
           ))
    returning 1
  ),
  acted as (
    delete from public.console_actions action
     where action.id = any (array(
             select old.id
               from public.console_actions old
              where old.began_at < as_of - interval '1 year'
              order by old.began_at
              limit batch_size
           ))
  )
  select greatest((select count(*) from gone), (select count(*) from leftovers))::integer;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'record_worker_run(text, text, boolean, double precision, jsonb, text, text, timestamptz)',
    'worker_health(timestamptz)',
    'purge_worker_runs(interval, integer, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
