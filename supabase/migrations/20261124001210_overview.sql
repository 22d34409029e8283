-- What an operator asks first: what ran, what was synced, what waits. Each list has the newest or
-- next first, and at most `row_limit` rows.
--
--   list_worker_runs     the runs of the workers
--   list_syncs           the syncs of ad accounts
--   list_waiting_notifications
--                        what is to be delivered, and when it is tried next

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

create or replace function public.list_worker_runs(row_limit integer, worker text default null)
returns jsonb
language sql
stable
set search_path = ''
-- also with statistics from when the tables were small: a list reads what it shows
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
  select coalesce(jsonb_agg(to_jsonb(latest) order by latest.ended_at desc), '[]')
    from (
      select run.worker, run.ended_at,
             round(extract(epoch from run.ended_at - run.started_at)::numeric, 1) as seconds,
             run.outcome, run.succeeded, run.error_class, run.error
        from (
          (
            select *
              from public.worker_runs of_all
             where list_worker_runs.worker is null
             order by of_all.ended_at desc
             limit row_limit
          )
          union all
          (
            select *
              from public.worker_runs own
             where own.worker = list_worker_runs.worker
             order by own.ended_at desc
             limit row_limit
          )
        ) run
    ) latest;
$$;

create or replace function public.list_syncs(row_limit integer, only_status text default null)
returns jsonb
language sql
stable
set search_path = ''
-- also with statistics from when the tables were small: a list reads what it shows
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
  select coalesce(jsonb_agg(to_jsonb(latest) order by latest.start_time desc), '[]')
    from (
      select log.start_time, connection.platform,
             coalesce(connection.account_name, connection.account_id) as account,
             log.status,
             round(extract(epoch from log.end_time - log.start_time)::numeric, 1) as seconds,
             log.metrics_created as created, log.metrics_updated as updated,
             log.error_message as error
        from (
          (
            select *
              from public.metric_sync_logs of_all
             where only_status is null and of_all.start_time is not null
             order by of_all.start_time desc
             limit row_limit
          )
          union all
          (
            select *
              from public.metric_sync_logs own
             where own.status = only_status and own.start_time is not null
             order by own.start_time desc
             limit row_limit
          )
        ) log
        left join public.platform_connections connection
          on connection.id = log.platform_connection_id
    ) latest;
$$;

do $$
begin
  if to_regclass('public.metric_sync_logs_status_idx') is null then
    create index metric_sync_logs_status_idx
      on public.metric_sync_logs (status, start_time);
  end if;
end
$$;

create or replace function public.list_waiting_notifications(row_limit integer)
returns jsonb
language sql
stable
set search_path = ''
-- also with statistics from when the tables were small: a list reads what it shows
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
  select coalesce(jsonb_agg(to_jsonb(waiting) order by waiting.created_at, waiting.id), '[]')
    from (
      select queued.id, config.event_type, queued.created_at, queued.next_attempt_at,
             queued.attempts, queued.claimed_until, queued.last_error as error
        from public.notification_queue queued
        left join public.notification_config config on config.id = queued.config_id
       -- word for word the predicate of notification_queue_waiting_idx
       where coalesce(queued.is_processed, false) = false
         and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
       order by queued.created_at, queued.id
       limit row_limit
    ) waiting;
$$;

do $$
begin
  if to_regclass('public.notification_queue_waiting_idx') is null then
    create index notification_queue_waiting_idx
      on public.notification_queue (created_at, id)
      where coalesce(is_processed, false) = false
        and coalesce(attempts, 0) < coalesce(max_attempts, 5);
  end if;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'list_worker_runs(integer, text)',
    'list_syncs(integer, text)',
    'list_waiting_notifications(integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
