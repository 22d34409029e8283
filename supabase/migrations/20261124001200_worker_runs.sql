-- Every run of every worker leaves a row, and health is read from these.
--
--   record_worker_run  one row, at the end of a run
--   worker_health      when each worker last did its work, and what is waiting
--   purge_worker_runs  old rows, by retention

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
  'The worker''s own word for how it ended; failed when it raised.';
comment on column public.worker_runs.succeeded is
  'Whether it did its work: not so when it failed, or left it to another run.';

create index if not exists worker_runs_worker_idx
  on public.worker_runs (worker, ended_at desc);
create index if not exists worker_runs_ended_at_idx
  on public.worker_runs (ended_at);

alter table public.worker_runs enable row level security;
revoke all on public.worker_runs from public, anon, authenticated;
grant select, insert, delete on public.worker_runs to service_role;

-- `seconds` is how long the run took: its own clock is compared with nothing.
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
--  "oldest_due_seconds", "due", "dead", "parked_configs", "parked_connections",
--  "failing_connections"}; due and dead are counted up to 10,000. No names, no texts of people.
create or replace function public.worker_health(as_of timestamptz default now())
returns jsonb
language sql
stable
set search_path = ''
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
          select
            from public.notification_queue queued
           -- these two word for word the predicate of notification_queue_due_idx
           where coalesce(queued.is_processed, false) = false
             and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
             and (queued.next_attempt_at is null or queued.next_attempt_at <= as_of)
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
    'parked_configs', (
      select count(*)
        from public.notification_pauses pause
       where pause.config_id is not null and pause.ended_at is null
    ),
    'parked_connections', (
      select count(*)
        from public.metric_connections(null, null, as_of) way
       where way.is_active and way.is_parked
    ),
    'failing_connections', (
      select count(*)
        from public.metric_connections(null, null, as_of) way
        join public.metric_accounts account
          on account.platform = way.platform and account.account_id = way.account_id
       where way.is_active and account.failures > 0
    )
  );
$$;

create or replace function public.purge_worker_runs(
  keep interval,
  batch_size integer,
  as_of timestamptz default now()
)
returns integer
language sql
set search_path = ''
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
  )
  select count(*)::integer from gone;
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'record_worker_run(text, text, boolean, double precision, jsonb, text, text, timestamptz)',
    'worker_health(timestamptz)',
    'purge_worker_runs(interval, integer, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
