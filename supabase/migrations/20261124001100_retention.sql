-- Retention: archiving and purging in pieces that fit the API's statement timeout.
--
--   list_retention_policies    what is to be kept for how long
--   count_retention            how much a policy would archive and purge
--   archive_activity_batch     activity_log -> archived_activity_log
--   purge_archived_batch, purge_notification_batch, purge_sync_log_batch
--                              what is past its time, for good
--   read_archived_activity, purge_archived_lines, restore_archived_activity
--                              the way through the cold archive and back
--   complete_retention_policies, record_retention_progress
--
-- A batch takes the oldest rows first and returns how many it took. Cutoffs are exclusive: a
-- row exactly as old as the cutoff stays, and so does one without a time. Rows that somebody
-- else has locked are left for the next batch.

create index if not exists archived_activity_log_created_at_idx
  on public.archived_activity_log (created_at, id);

create index if not exists notification_queue_created_at_idx
  on public.notification_queue (created_at);

create table if not exists public.retention_progress (
  entity_type text primary key,
  status text not null,
  archived bigint not null,
  purged bigint not null,
  verified_bytes bigint not null,
  remaining bigint,
  error text,
  updated_at timestamptz not null
);

comment on table public.retention_progress is
  'How far the last run came with each entity type.';
comment on column public.retention_progress.status is
  'complete, unfinished (the next run goes on), or failed.';
comment on column public.retention_progress.verified_bytes is
  'Written to the cold archive, read back and found to be the same.';

alter table public.retention_progress enable row level security;
revoke all on public.retention_progress from public, anon, authenticated;
grant select, insert, update on public.retention_progress to service_role;

-- All policies as they stand: {"now", "policies": [{"id", "entity_type", "active_days",
-- "archive_days"}]}; first those that were complete longest ago, so that none is left out
-- however short the runs are.
create or replace function public.list_retention_policies(as_of timestamptz default now())
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
    'now', as_of,
    'policies', coalesce(
      jsonb_agg(
        jsonb_build_object(
          'id', policy.id,
          'entity_type', policy.entity_type,
          'active_days', policy.active_retention_days,
          'archive_days', policy.archive_retention_days
        )
        order by policy.last_purged_at nulls first, policy.entity_type, policy.id
      ),
      '[]'
    )
  )
    from public.retention_policies policy;
$$;

-- Which notifications are past their time: delivered or skipped ones after `active_cutoff`, dead
-- and expired ones after `archive_cutoff`.
create or replace function public.is_notification_past_retention(
  queued public.notification_queue,
  active_cutoff timestamptz,
  archive_cutoff timestamptz
)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select greatest(queued.created_at, coalesce(queued.processed_at, queued.created_at)) <
    case
      when coalesce(queued.outcome in ('dead', 'expired'), false) then archive_cutoff
      when queued.is_processed then active_cutoff
      when coalesce(queued.attempts, 0) >= coalesce(queued.max_attempts, 5) then archive_cutoff
    end;
$$;

-- The same for sync logs: failed ones are kept as dead notifications are; one that is still
-- in progress is none that has ended.
create or replace function public.is_sync_log_past_retention(
  log public.metric_sync_logs,
  active_cutoff timestamptz,
  archive_cutoff timestamptz
)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select greatest(log.start_time, coalesce(log.end_time, log.start_time)) <
    case log.status
      when 'success' then active_cutoff
      when 'partial' then active_cutoff
      when 'failed' then archive_cutoff
    end;
$$;

-- {"to_archive", "to_purge"} of an entity type, each counted up to `most`.
create or replace function public.count_retention(
  entity_type text,
  active_cutoff timestamptz,
  archive_cutoff timestamptz,
  most integer
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  to_archive bigint := 0;
  to_purge bigint;
begin
  case entity_type
    when 'activity_log' then
      select count(*) into to_archive
        from (
          select from public.activity_log activity
           where activity.created_at < active_cutoff
           limit most
        ) counted;
      -- what this run archives may be past both times
      select count(*) into to_purge
        from (
          select from public.archived_activity_log archived
           where archived.created_at < archive_cutoff
          union all
          select from public.activity_log activity
           where activity.created_at < least(active_cutoff, archive_cutoff)
           limit most
        ) counted;
    when 'notification_queue' then
      select count(*) into to_purge
        from (
          select from public.notification_queue queued
           where queued.created_at < greatest(active_cutoff, archive_cutoff)
             and public.is_notification_past_retention(queued, active_cutoff, archive_cutoff)
           limit most
        ) counted;
    when 'metric_sync_logs' then
      select count(*) into to_purge
        from (
          select from public.metric_sync_logs log
           where log.start_time < greatest(active_cutoff, archive_cutoff)
             and public.is_sync_log_past_retention(log, active_cutoff, archive_cutoff)
           limit most
        ) counted;
    when 'ad_metrics' then
      to_purge := public.count_aged_facts(archive_cutoff, most);
    else
      raise exception 'there is no retention for %', entity_type using errcode = '22023';
  end case;
  return jsonb_build_object('to_archive', to_archive, 'to_purge', to_purge);
end
$$;

-- Moving is one statement: what the delete returns is what the insert stores.
create or replace function public.archive_activity_batch(cutoff timestamptz, batch_size integer)
returns integer
language sql
set search_path = ''
as $$
  with gone as (
    delete from public.activity_log activity
     -- an array, and not a join, keeps the planner from reading the whole table
     where activity.ctid = any (array(
             select due.ctid
               from public.activity_log due
              where due.created_at < cutoff
              order by due.created_at
              limit batch_size
                for update skip locked
           ))
    returning activity.id, activity.user_id, activity.entity_type, activity.entity_id,
              activity.action, activity.details, activity.created_at
  ),
  stored as (
    insert into public.archived_activity_log
      (id, user_id, entity_type, entity_id, action, details, created_at)
    select id, user_id, entity_type, entity_id, action, details, created_at
      from gone
    on conflict do nothing
  )
  select count(*)::integer from gone;
$$;

create or replace function public.purge_archived_batch(cutoff timestamptz, batch_size integer)
returns integer
language sql
set search_path = ''
as $$
  with gone as (
    delete from public.archived_activity_log archived
     where archived.ctid = any (array(
             select due.ctid
               from public.archived_activity_log due
              where due.created_at < cutoff
              order by due.created_at
              limit batch_size
                for update skip locked
           ))
    returning 1
  )
  select count(*)::integer from gone;
$$;

create or replace function public.purge_notification_batch(
  active_cutoff timestamptz,
  archive_cutoff timestamptz,
  batch_size integer
)
returns integer
language sql
set search_path = ''
as $$
  with gone as (
    delete from public.notification_queue queued
     where queued.id = any (array(
             select due.id
               from public.notification_queue due
              where due.created_at < greatest(active_cutoff, archive_cutoff)
                and public.is_notification_past_retention(due, active_cutoff, archive_cutoff)
              order by due.created_at
              limit batch_size
                for update skip locked
           ))
    returning 1
  )
  select count(*)::integer from gone;
$$;

create or replace function public.purge_sync_log_batch(
  active_cutoff timestamptz,
  archive_cutoff timestamptz,
  batch_size integer
)
returns integer
language sql
set search_path = ''
as $$
  with gone as (
    delete from public.metric_sync_logs log
     where log.id = any (array(
             select due.id
               from public.metric_sync_logs due
              where due.start_time < greatest(active_cutoff, archive_cutoff)
                and public.is_sync_log_past_retention(due, active_cutoff, archive_cutoff)
              order by due.start_time
              limit batch_size
                for update skip locked
           ))
    returning 1
  )
  select count(*)::integer from gone;
$$;

-- The oldest rows past `cutoff`, each as the text of its JSON: not as JSON, whose numbers a
-- client might round. Of long ones as many as a request holds, and at least one.
create or replace function public.read_archived_activity(cutoff timestamptz, batch_size integer)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(due.line order by due.created_at, due.id), '[]')
    from (
      select oldest.*,
             sum(length(oldest.line)) over (order by oldest.created_at, oldest.id)
               - length(oldest.line) as before
        from (
          select archived.created_at, archived.id, to_jsonb(archived)::text as line
            from public.archived_activity_log archived
           where archived.created_at < cutoff
             -- earlier ones, -infinity among them, have no day to be filed under
             and archived.created_at >= '0001-01-02'
           order by archived.created_at, archived.id
           limit batch_size
        ) oldest
    ) due
   where due.before < 8000000;
$$;

-- Deletes the rows that read_archived_activity gave as these texts, and that are still so.
create or replace function public.purge_archived_lines(lines jsonb)
returns integer
language sql
set search_path = ''
as $$
  with kept as materialized (
    select line.value as text, (line.value::jsonb ->> 'id')::uuid as id
      from jsonb_array_elements_text(lines) line
  ),
  gone as (
    delete from public.archived_activity_log archived
     using kept
     where archived.id = kept.id
       and to_jsonb(archived)::text = kept.text
    returning 1
  )
  select count(*)::integer from gone;
$$;

-- Puts rows back that the cold archive holds as texts; those that stand already stay as they are.
create or replace function public.restore_archived_activity(lines jsonb)
returns integer
language sql
set search_path = ''
as $$
  with restored as (
    insert into public.archived_activity_log
    select archived.*
      from jsonb_array_elements_text(lines) line
     cross join lateral jsonb_populate_record(
             null::public.archived_activity_log, line.value::jsonb
           ) archived
    on conflict do nothing
    returning 1
  )
  select count(*)::integer from restored;
$$;

create or replace function public.complete_retention_policies(
  ids uuid[],
  as_of timestamptz default now()
)
returns void
language sql
set search_path = ''
as $$
  update public.retention_policies policy
     set last_archived_at = as_of,
         last_purged_at = as_of
   where policy.id = any (ids);
$$;

create or replace function public.record_retention_progress(
  progress jsonb,
  as_of timestamptz default now()
)
returns void
language sql
set search_path = ''
as $$
  insert into public.retention_progress as known
    (entity_type, status, archived, purged, verified_bytes, remaining, error, updated_at)
  select reported.entity_type, reported.status, reported.archived, reported.purged,
         reported.verified_bytes, reported.remaining, reported.error, as_of
    from jsonb_to_record(progress) as reported (
           entity_type text, status text, archived bigint, purged bigint,
           verified_bytes bigint, remaining bigint, error text
         )
  on conflict on constraint retention_progress_pkey do update
    set status = excluded.status,
        archived = excluded.archived,
        purged = excluded.purged,
        verified_bytes = excluded.verified_bytes,
        remaining = excluded.remaining,
        error = excluded.error,
        updated_at = excluded.updated_at;
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'list_retention_policies(timestamptz)',
    'is_notification_past_retention(public.notification_queue, timestamptz, timestamptz)',
    'is_sync_log_past_retention(public.metric_sync_logs, timestamptz, timestamptz)',
    'count_retention(text, timestamptz, timestamptz, integer)',
    'archive_activity_batch(timestamptz, integer)',
    'purge_archived_batch(timestamptz, integer)',
    'purge_notification_batch(timestamptz, timestamptz, integer)',
    'purge_sync_log_batch(timestamptz, timestamptz, integer)',
    'read_archived_activity(timestamptz, integer)',
    'purge_archived_lines(jsonb)',
    'restore_archived_activity(jsonb)',
    'complete_retention_policies(uuid[], timestamptz)',
    'record_retention_progress(jsonb, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
