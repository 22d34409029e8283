-- What the console shows of retention.
--
--   console_retention   the policies as they are, with what the last run did
--   console_due_days    what is due by a policy now, by day

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- {"now", "policies": [{"id", "entity_type", "active_days", "archive_days", "last_archived_at",
-- "last_purged_at", "progress": {"status", "archived", "purged", "verified_bytes", "remaining",
-- "stayed", "error", "updated_at"}, null where no run has come to it}], "whole_from": <day from
-- which on the ledger is complete; null: all of it>}.
create or replace function public.console_retention(as_of timestamptz default now())
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
                 'last_archived_at', policy.last_archived_at,
                 'last_purged_at', policy.last_purged_at,
                 'progress', to_jsonb(progress) - array['entity_type', 'batch_rows']
               )
               order by policy.entity_type, policy.id
             ),
             '[]'
           ),
           'whole_from', (select ledger.whole_from from public.metric_ledger ledger)
         )
    from public.retention_policies policy
    left join public.retention_progress progress on progress.entity_type = policy.entity_type;
$$;

-- What is due of an entity type now: [{"what": archived or deleted, "table", "is_active", "until",
-- "days": [{"day", "rows"}], "older", "oldest"}]. `is_active`: due by the shorter of the policy's
-- times; `until` is the cutoff. The days are the last `day_limit` before it, in UTC; `older` counts
-- the rows before them. Each count ends at `most`, so that what is read is bounded however much
-- there is.
create or replace function public.console_due_days(
  entity_type text,
  active_cutoff timestamptz,
  archive_cutoff timestamptz,
  day_limit integer,
  most integer
)
returns jsonb
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_custom_plan
as $$
declare
  steps record;
  cutoff timestamptz;
  counted jsonb;
  found_steps jsonb := '[]';
begin
  if entity_type = 'ad_metrics' then
    return jsonb_build_array(public.console_due_facts(archive_cutoff, day_limit));
  end if;
  for steps in
    select one.*,
           case one.step when 'archive_activity' then 'archived' else 'deleted' end as what
      from public.retention_steps() one
     where one.step = any (
             case entity_type
               when 'activity_log' then array['archive_activity', 'purge_archived']
               when 'notification_queue' then array['purge_notifications']
               when 'metric_sync_logs' then array['purge_sync_logs']
             end
           )
  loop
    cutoff := case when steps.is_active then active_cutoff else archive_cutoff end;
    execute format(
      $query$
      with bounds as materialized (
        select day at time zone 'UTC' as since,
               least((day + interval '1 day') at time zone 'UTC', $1) as until, day::date as day
          from generate_series(
                 date_trunc('day', $1 at time zone 'UTC') - make_interval(days => $2 - 1),
                 $1 at time zone 'UTC', interval '1 day'
               ) day
      ),
      counts as materialized (
        select bounds.day, due.rows
          from bounds
         cross join lateral (
                select count(*) as rows
                  from (
                    select
                      from %1$s old
                     where %2$s and %3$s >= bounds.since and %3$s < bounds.until
                     limit $3
                  ) one
                offset 0
              ) due
      )
      select jsonb_build_object(
               'days', (
                 select coalesce(
                          jsonb_agg(jsonb_build_object('day', counts.day, 'rows', counts.rows)
                            order by counts.day),
                          '[]'
                        )
                   from counts
                  where counts.rows > 0
               ),
               'older', (
                 select count(*)
                   from (
                     select
                       from %1$s old
                      where %2$s and %3$s < (select min(bounds.since) from bounds)
                      limit $3
                   ) one
               )
             )
      $query$,
      steps.source, steps.condition, steps.moment
    )
    into counted
    using cutoff, day_limit, most;
    found_steps := found_steps || (counted || jsonb_build_object(
      'what', steps.what, 'until', cutoff,
      'table', regexp_replace(steps.source, '^public\.', ''),
      'is_active', steps.is_active,
      'oldest', null
    ));
  end loop;
  return found_steps;
end
$$;

-- The same of the ledger, by what was stored of each account and day. Here `oldest` is the first
-- day before these, and `older` is null.
create or replace function public.console_due_facts(archive_cutoff timestamptz, day_limit integer)
returns jsonb
language sql
stable
set search_path = ''
as $$
  with counts as materialized (
    select day.date, sum(coalesce(day.rows_named, 0)) as rows
      from public.metric_accounts account
     cross join lateral (
            select one.date, one.rows_named
              from public.metric_days one
             where one.platform = account.platform
               and one.account_id = account.account_id
               and one.date < public.ledger_cutoff(archive_cutoff)
               and one.date >= public.ledger_cutoff(archive_cutoff) - day_limit
            offset 0
          ) day
     group by day.date
  )
  select jsonb_build_object(
           'what', 'deleted',
           'table', 'ad_metrics',
           'is_active', false,
           'until', public.ledger_cutoff(archive_cutoff),
           'older', null,
           'days', (
             select coalesce(
                      jsonb_agg(jsonb_build_object('day', counts.date, 'rows', counts.rows)
                        order by counts.date),
                      '[]'
                    )
               from counts
              where counts.rows > 0
           ),
           'oldest', (
             select min(oldest.date)
               from public.metric_accounts account
              cross join lateral (
                     select one.date
                       from public.metric_days one
                      where one.platform = account.platform
                        and one.account_id = account.account_id
                        and one.date < public.ledger_cutoff(archive_cutoff) - day_limit
                      order by one.date
                      limit 1
                   ) oldest
           )
         );
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_retention(timestamptz)',
    'console_due_days(text, timestamptz, timestamptz, integer, integer)',
    'console_due_facts(timestamptz, integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
