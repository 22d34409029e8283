-- Retention, part 1: takes old rows out of their tables, in batches.
--
--   retention_steps   which rows a step takes, and the time that decides
--   take_rows         takes as many rows as possible, and says why the others stay
--   retention_batch   the oldest rows of a step
--   archive_activity_batch, purge_archived_batch, purge_notification_batch, purge_sync_log_batch
--                     the steps, by name
--
-- Rows are addressed by (tableoid, ctid), under a lock: every table has that, even one without a
-- primary key and one with partitions, which number their rows independently of each other.
--
-- A batch takes the oldest rows and returns how many went. If some could not go, it returns
-- {"went", "stayed": [{"code", "reason", "rows", "example"}]}, and the caller skips that many rows
-- in its next call: they are now the oldest. Cutoffs are exclusive: a row exactly as old as the
-- cutoff stays, and so does one without a time.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- For steps whose rows are among many that are kept longer: only expired rows are read. The
-- expressions and conditions are word for word those of retention_steps.
do $$
begin
  if to_regclass('public.archived_activity_log_created_at_idx') is null then
    create index archived_activity_log_created_at_idx
      on public.archived_activity_log (created_at);
  end if;
  if to_regclass('public.notification_queue_delivered_idx') is null then
    create index notification_queue_delivered_idx
      on public.notification_queue ((greatest(created_at, processed_at)))
      where is_processed and coalesce(outcome, '') not in ('dead', 'expired');
  end if;
  if to_regclass('public.notification_queue_undelivered_idx') is null then
    create index notification_queue_undelivered_idx
      on public.notification_queue ((greatest(created_at, processed_at)))
      where outcome in ('dead', 'expired')
         or (not coalesce(is_processed, false)
             and coalesce(attempts, 0) >= coalesce(max_attempts, 5));
  end if;
  if to_regclass('public.metric_sync_logs_succeeded_idx') is null then
    create index metric_sync_logs_succeeded_idx
      on public.metric_sync_logs ((greatest(start_time, end_time)))
      where status = 'success' or status = 'partial';
  end if;
  if to_regclass('public.metric_sync_logs_failed_idx') is null then
    create index metric_sync_logs_failed_idx
      on public.metric_sync_logs ((greatest(start_time, end_time)))
      where status = 'failed';
  end if;
end
$$;

-- A step takes the rows of `source` that meet `condition` and whose `moment` is before the cutoff:
-- the policy's active cutoff if `is_active`, otherwise its archive cutoff.
create or replace function public.retention_steps()
returns table (step text, source text, condition text, moment text, is_active boolean)
language sql
immutable
set search_path = ''
as $$
  values
    ('archive_activity', 'public.activity_log', 'true', 'created_at', true),
    ('purge_archived', 'public.archived_activity_log', 'true', 'created_at', false),
    ('purge_notifications', 'public.notification_queue',
     'is_processed and coalesce(outcome, '''') not in (''dead'', ''expired'')',
     'greatest(created_at, processed_at)', true),
    ('purge_notifications', 'public.notification_queue',
     '(outcome in (''dead'', ''expired'')
       or (not coalesce(is_processed, false)
           and coalesce(attempts, 0) >= coalesce(max_attempts, 5)))',
     'greatest(created_at, processed_at)', false),
    ('purge_sync_logs', 'public.metric_sync_logs', '(status = ''success'' or status = ''partial'')',
     'greatest(start_time, end_time)', true),
    ('purge_sync_logs', 'public.metric_sync_logs', 'status = ''failed''',
     'greatest(start_time, end_time)', false);
$$;

-- The tables, and their partitions, whose rows foreign keys delete or change along with rows of
-- `source`.
create or replace function public.cascade_tables(source regclass)
returns oid[]
language sql
stable
set search_path = ''
as $$
  select coalesce(array_agg(distinct part.relid), '{}')
    from pg_catalog.pg_constraint key
   cross join lateral (
           select key.conrelid as relid
           union
           select tree.relid from pg_partition_tree(key.conrelid) tree
         ) part
   where key.confrelid = source and key.contype = 'f' and key.conparentid = 0
     and key.confdeltype in ('c', 'n', 'd') and key.conrelid <> source;
$$;

-- How many rows of these tables this transaction has deleted or changed so far. Postgres counts
-- them per transaction, including those that are rolled back.
create or replace function public.changed_rows(tables oid[])
returns bigint
language sql
volatile
set search_path = ''
as $$
  select coalesce(
    sum(pg_stat_get_xact_tuples_deleted(one.relid) + pg_stat_get_xact_tuples_updated(one.relid)),
    0
  )::bigint
    from unnest(tables) one (relid);
$$;

-- The start of a statement for take_rows: it locks the rows that no one else has locked and that
-- are still due, because another row may be in that place by now. `is true` keeps the planner from
-- searching all due rows by an index on their time.
create or replace function public.locking(source text, due text)
returns text
language sql
immutable
set search_path = ''
as $$
  select format(
    'locked as materialized (
       select old.ctid from %s old
        where old.tableoid = $1 and old.ctid = any ($2) and (%s) is true
          for update skip locked
     )',
    source, due
  );
$$;

-- Runs `statement` on the rows of one table `home` (a partition, or the whole table) at `places`.
-- The statement is passed both, and returns how many rows it locked, how many of these went, and
-- how many of those arrived. If it fails, or not all rows went and arrived, it is rolled back and
-- repeated with halves, down to the single rows that cannot go: `stayed`, each with its place.
-- `settling` is tried with a single row whose key already exists where it goes.
--
-- A row also stays if rows of the `untouched` tables would be deleted or changed along with it.
create or replace function public.take_rows(
  statement text,
  settling text,
  untouched oid[],
  home oid,
  places tid[],
  out went bigint,
  out stayed jsonb
)
language plpgsql
set search_path = ''
as $$
declare
  waiting int4range[] := array[int4range(1, cardinality(places) + 1)];
  first integer;
  past integer;
  held bigint;
  gone bigint;
  arrived bigint;
  in_use bigint := 0;
  before bigint;
  failure text;
  reason text;
begin
  set constraints all immediate;
  went := 0;
  stayed := '[]';
  while cardinality(waiting) > 0 loop
    first := lower(waiting[1]);
    past := upper(waiting[1]);
    waiting := waiting[2:];
    begin
      before := public.changed_rows(untouched);
      execute statement into held, gone, arrived using home, places[first:past - 1];
      if gone < held then
        raise exception 'a trigger keeps it' using errcode = '27000';
      elsif arrived < gone then
        raise exception 'a trigger or the column type of the archive changes it'
          using errcode = '27000';
      elsif public.changed_rows(untouched) > before then
        raise exception 'rows of other tables would be deleted or changed along with it'
          using errcode = '23503';
      end if;
      failure := null;
    exception when others then
      failure := sqlstate;
      reason := sqlerrm;
      -- not about single rows: the connection, resources, locks, rights, the schema
      if failure ~ '^(08|25|28|40|42|53|55|57|58|XX)' then
        raise;
      end if;
    end;
    if failure = '23505' and past - first = 1 and settling is not null then
      execute settling into held, gone, arrived using home, places[first:first];
      failure := case when gone = 0 then failure end;
    end if;
    if failure is null then
      went := went + gone;
      in_use := in_use + (past - first - held);
    elsif past - first > 1 then
      waiting := array[
        int4range(first, (first + past) / 2), int4range((first + past) / 2, past)
      ] || waiting;
    else
      stayed := stayed || jsonb_build_object(
        'code', failure,
        -- without the row's values, which some messages quote
        'reason', left(regexp_replace(reason, ': ".*', ''), 300),
        'home', home,
        'place', places[first]
      );
    end if;
  end loop;
  if in_use > 0 then
    stayed := stayed || jsonb_build_object('code', '55P03', 'reason', 'in use', 'rows', in_use);
  end if;
end
$$;

-- Takes the oldest rows of a step, skipping those that the caller knows cannot go. Rows that
-- someone else has locked stay, and are not waited for.
create or replace function public.retention_batch(
  step text,
  active_cutoff timestamptz,
  archive_cutoff timestamptz,
  batch_size integer,
  passed_over integer
)
returns jsonb
language plpgsql
set search_path = ''
-- also with statistics from when the tables were small: each batch reads what it takes
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
as $$
declare
  source text;
  due text;
  oldest text;
  statement text;
  settling text;
  untouched oid[] := '{}';
  found record;
  taken record;
  went bigint := 0;
  stayed jsonb := '[]';
begin
  select min(steps.source),
         string_agg(format('(%s and %s < %L)', steps.condition, steps.moment, cutoff.at), ' or '),
         string_agg(
           format(
             '(select old.tableoid, old.ctid, %2$s as moment from %1$s old
                where %3$s and %2$s < %4$L
                order by %2$s, old.tableoid, old.ctid limit %5$s)',
             steps.source, steps.moment, steps.condition, cutoff.at, passed_over + batch_size
           ),
           ' union all '
         )
    into source, due, oldest
    from public.retention_steps() steps
   cross join lateral (
           select case when steps.is_active then active_cutoff else archive_cutoff end as at
         ) cutoff
   where steps.step = retention_batch.step;
  if step = 'archive_activity' then
    select moving_statements.moving, moving_statements.settling
      into statement, settling
      from public.moving_statements(due);
    -- a moved row still exists, so nothing may follow it
    untouched := public.cascade_tables(source::regclass);
  else
    statement := format(
      'with %2$s,
       gone as (
         delete from %1$s old
          where old.tableoid = $1 and old.ctid = any (array(select locked.ctid from locked))
         returning %3$s
       )%4$s
       select (select count(*) from locked), count(*), count(*) from gone',
      source, public.locking(source, due),
      case step when 'purge_notifications' then 'old.id' else '1' end,
      -- The cascade would delete them one by one, at several times the cost of everything else.
      case step when 'purge_notifications' then ',
        deliveries as (
          delete from public.notification_deliveries delivery
           where delivery.notification_id = any (array(select gone.id from gone))
        )'
      end
    );
  end if;
  for found in execute format(
    'select oldest.tableoid as home, array_agg(oldest.ctid) as places
       from (select * from (%s) either order by moment, tableoid, ctid offset %s limit %s) oldest
      group by oldest.tableoid',
    oldest, passed_over, batch_size
  ) loop
    select * into taken
      from public.take_rows(statement, settling, untouched, found.home, found.places);
    went := went + taken.went;
    stayed := stayed || taken.stayed;
  end loop;
  return public.batch_result(source::regclass, went, stayed);
end
$$;

-- What a batch returns: a number if all rows went, otherwise how many stayed and why, with the id
-- of one.
create or replace function public.batch_result(source regclass, went bigint, stayed jsonb)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  reasons jsonb := '[]';
  reason record;
  example text;
begin
  if stayed = '[]' then
    return to_jsonb(went);
  end if;
  for reason in
    select one.code, one.reason, sum(coalesce(one.rows, 1))::bigint as rows,
           min(one.home) as home, min(one.place) as place
      from jsonb_to_recordset(stayed) one (code text, reason text, rows bigint, home oid, place tid)
     group by one.code, one.reason
     order by 3 desc
  loop
    execute format(
      'select to_jsonb(old) ->> ''id'' from %s old where old.tableoid = $1 and old.ctid = $2', source
    ) into example using reason.home, reason.place;
    reasons := reasons || jsonb_build_object(
      'code', reason.code, 'reason', reason.reason, 'rows', reason.rows, 'example', example
    );
  end loop;
  return jsonb_build_object('went', went, 'stayed', reasons);
end
$$;

create or replace function public.archive_activity_batch(
  cutoff timestamptz,
  batch_size integer,
  passed_over integer default 0
)
returns jsonb
language sql
set search_path = ''
as $$
  select public.retention_batch('archive_activity', cutoff, null, batch_size, passed_over);
$$;

create or replace function public.purge_archived_batch(
  cutoff timestamptz,
  batch_size integer,
  passed_over integer default 0
)
returns jsonb
language sql
set search_path = ''
as $$
  select public.retention_batch('purge_archived', null, cutoff, batch_size, passed_over);
$$;

-- Threads without a message for as long as notifications are kept at most go as well.
create or replace function public.purge_notification_batch(
  active_cutoff timestamptz,
  archive_cutoff timestamptz,
  batch_size integer,
  passed_over integer default 0
)
returns jsonb
language sql
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
as $$
  delete from public.slack_threads thread
   where (thread.destination, thread.request_id) in (
           select old.destination, old.request_id
             from public.slack_threads old
            where old.last_post_at < archive_cutoff
            order by old.last_post_at
            limit batch_size
         );
  select public.retention_batch(
    'purge_notifications', active_cutoff, archive_cutoff, batch_size, passed_over
  );
$$;

create or replace function public.purge_sync_log_batch(
  active_cutoff timestamptz,
  archive_cutoff timestamptz,
  batch_size integer,
  passed_over integer default 0
)
returns jsonb
language sql
set search_path = ''
as $$
  select public.retention_batch(
    'purge_sync_logs', active_cutoff, archive_cutoff, batch_size, passed_over
  );
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'retention_steps()',
    'cascade_tables(regclass)',
    'changed_rows(oid[])',
    'locking(text, text)',
    'take_rows(text, text, oid[], oid, tid[])',
    'retention_batch(text, timestamptz, timestamptz, integer, integer)',
    'batch_result(regclass, bigint, jsonb)',
    'archive_activity_batch(timestamptz, integer, integer)',
    'purge_archived_batch(timestamptz, integer, integer)',
    'purge_notification_batch(timestamptz, timestamptz, integer, integer)',
    'purge_sync_log_batch(timestamptz, timestamptz, integer, integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
