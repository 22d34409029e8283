-- Retention, part 2: how long what is kept, and what the runs report.
--
--   list_retention_policies    the policies, with what the last run learned
--   count_retention            how much a policy would archive and purge
--   retention_hazards          constraints and triggers that take or keep further rows
--   complete_retention_policies, record_retention_progress

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

create table if not exists public.retention_progress (
  entity_type text primary key,
  status text not null,
  archived bigint not null,
  purged bigint not null,
  verified_bytes bigint not null,
  remaining bigint,
  stayed jsonb not null default '[]',
  batch_rows jsonb not null default '{}',
  error text,
  updated_at timestamptz not null
);

comment on table public.retention_progress is
  'How far the last run got with each entity type.';
comment on column public.retention_progress.status is
  'complete, unfinished (the next run goes on), incomplete (some rows cannot go), or failed.';
comment on column public.retention_progress.verified_bytes is
  'Written to the cold archive, read back and verified.';
comment on column public.retention_progress.stayed is
  'Rows that could not go: [{step, code, reason, rows, example}].';
comment on column public.retention_progress.batch_rows is
  'How many rows at once each step managed; the next run starts with that.';

do $$
begin
  if not (select relrowsecurity from pg_catalog.pg_class where oid = 'public.retention_progress'::regclass) then
    alter table public.retention_progress enable row level security;
  end if;
end
$$;
revoke all on public.retention_progress from public, anon, authenticated;
grant select, insert, update on public.retention_progress to service_role;

-- All policies: {"now", "policies": [{"id", "entity_type", "active_days", "archive_days",
-- "batch_rows"}]}; first those that were completed longest ago, so that each has its turn, however
-- short the runs are.
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
          'archive_days', policy.archive_retention_days,
          'batch_rows', coalesce(progress.batch_rows, '{}')
        )
        order by policy.last_purged_at nulls first, policy.entity_type, policy.id
      ),
      '[]'
    )
  )
    from public.retention_policies policy
    left join public.retention_progress progress on progress.entity_type = policy.entity_type;
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
  step text := case entity_type
    when 'activity_log' then 'archive_activity'
    when 'notification_queue' then 'purge_notifications'
    when 'metric_sync_logs' then 'purge_sync_logs'
  end;
  due bigint;
begin
  if entity_type = 'ad_metrics' then
    return jsonb_build_object(
      'to_archive', 0, 'to_purge', public.count_aged_facts(archive_cutoff, most)
    );
  end if;
  if step is null then
    raise exception 'there is no retention for %', entity_type using errcode = '22023';
  end if;
  due := public.count_due(step, active_cutoff, archive_cutoff, most);
  if step <> 'archive_activity' then
    return jsonb_build_object('to_archive', 0, 'to_purge', due);
  end if;
  return jsonb_build_object(
    'to_archive', due,
    -- rows that are archived first may be past both cutoffs
    'to_purge', least(
      public.count_due('purge_archived', null, archive_cutoff, most)
      + public.count_due(step, least(active_cutoff, archive_cutoff), null, most),
      most
    )
  );
end
$$;

-- The rows that a step would take now, counted up to `most`.
create or replace function public.count_due(
  step text,
  active_cutoff timestamptz,
  archive_cutoff timestamptz,
  most integer
)
returns bigint
language plpgsql
stable
set search_path = ''
as $$
declare
  due text;
  counted bigint;
begin
  select string_agg(
           format('(select from %s where %s and %s < %L limit %s)', steps.source, steps.condition,
                  steps.moment, case when steps.is_active then active_cutoff else archive_cutoff end,
                  most),
           ' union all '
         )
    into due
    from public.retention_steps() steps
   where steps.step = count_due.step;
  execute format('select count(*) from (select from (%s) either limit %s) counted', due, most)
    into counted;
  return counted;
end
$$;

-- What constraints and triggers of the dashboard's own tables do when retention takes rows, for
-- people to know beforehand: [{"table", "kind", "what", "name"}]. Kinds: column (the archive lacks
-- it), demand (the archive requires it), cascade (a foreign key deletes or changes rows of `what`),
-- refusal (a foreign key keeps referenced rows), unindexed (a foreign key that searches all of
-- `what` for each row), trigger.
create or replace function public.retention_hazards()
returns jsonb
language sql
stable
set search_path = ''
as $$
  with touched as (
    select distinct class.oid, class.relname
      from pg_catalog.pg_class class
     where class.relnamespace = 'public'::regnamespace
       and class.relname in
           ('activity_log', 'archived_activity_log', 'notification_queue', 'metric_sync_logs')
  ),
  keys as (
    select touched.relname, key.conname, key.confdeltype,
           regexp_replace(key.conrelid::regclass::text, '^public\.', '') as referring,
           exists (
             select
               from pg_catalog.pg_index index
              where index.indrelid = key.conrelid and index.indpred is null
                and index.indkey[0] = any (key.conkey)
           ) as is_indexed
      from touched
      join pg_catalog.pg_constraint key
        on key.confrelid = touched.oid and key.contype = 'f' and key.conparentid = 0
     where key.conrelid <> touched.oid
       and key.conrelid <> to_regclass('public.notification_deliveries')
       and key.conrelid <> to_regclass('public.notification_unrouted')
  ),
  hazards as (
    select 'activity_log' as "table", 'column' as kind, lacking.name as what, null as name
      from unnest(public.unarchived_columns()) lacking (name)
    union all
    select 'activity_log', 'demand', demanded.name, null
      from unnest(public.demanded_columns()) demanded (name)
    union all
    select relname,
           case when confdeltype in ('a', 'r') then 'refusal' else 'cascade' end,
           referring,
           conname
      from keys
    union all
    select relname, 'unindexed', referring, conname from keys where not is_indexed
    union all
    select touched.relname, 'trigger', null, trigger.tgname
      from touched
      join pg_catalog.pg_trigger trigger
        on trigger.tgrelid = touched.oid
       and not trigger.tgisinternal and trigger.tgenabled in ('O', 'A')
     -- on delete; into the archive also on insert
     where trigger.tgtype & 8 <> 0
        or (trigger.tgtype & 4 <> 0 and touched.relname = 'archived_activity_log')
  )
  select coalesce(jsonb_agg(to_jsonb(hazards) order by "table", kind, what, name), '[]')
    from hazards;
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
    (entity_type, status, archived, purged, verified_bytes, remaining, stayed, batch_rows, error,
     updated_at)
  select reported.entity_type, reported.status, reported.archived, reported.purged,
         reported.verified_bytes, reported.remaining, coalesce(reported.stayed, '[]'),
         coalesce(reported.batch_rows, '{}'), reported.error, as_of
    from jsonb_to_record(progress) as reported (
           entity_type text, status text, archived bigint, purged bigint, verified_bytes bigint,
           remaining bigint, stayed jsonb, batch_rows jsonb, error text
         )
  on conflict on constraint retention_progress_pkey do update
    set status = excluded.status,
        archived = excluded.archived,
        purged = excluded.purged,
        verified_bytes = excluded.verified_bytes,
        remaining = excluded.remaining,
        stayed = excluded.stayed,
        batch_rows = known.batch_rows || excluded.batch_rows,
        error = excluded.error,
        updated_at = excluded.updated_at;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'list_retention_policies(timestamptz)',
    'count_retention(text, timestamptz, timestamptz, integer)',
    'count_due(text, timestamptz, timestamptz, integer)',
    'retention_hazards()',
    'complete_retention_policies(uuid[], timestamptz)',
    'record_retention_progress(jsonb, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
