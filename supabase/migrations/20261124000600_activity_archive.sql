-- The activity archive: the columns that activity moves with, and the statement that moves it.
--
--   unarchived_columns, demanded_columns, archived_columns
--                           what the archive cannot hold, what it requires, and what moves: all
--   moving_statements       for take_rows, which runs them
--   archive_old_activities  the dashboard's own function, with its name and signature

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The columns of activity_log that archived_activity_log lacks, as "name type". Not generated ones,
-- which are computed from the others.
create or replace function public.unarchived_columns()
returns text[]
language sql
stable
set search_path = ''
as $$
  select coalesce(
    array_agg(
      format('%I %s', has.attname, format_type(has.atttypid, has.atttypmod)) order by has.attnum
    ),
    '{}'
  )
    from pg_catalog.pg_attribute has
   where has.attrelid = 'public.activity_log'::regclass
     and has.attnum > 0 and not has.attisdropped and has.attgenerated = ''
     and not exists (
       select
         from pg_catalog.pg_attribute holds
        where holds.attrelid = 'public.archived_activity_log'::regclass
          and holds.attname = has.attname
          and holds.attnum > 0 and not holds.attisdropped and holds.attgenerated = ''
     );
$$;

-- The columns that archived_activity_log requires and activity_log does not have.
create or replace function public.demanded_columns()
returns text[]
language sql
stable
set search_path = ''
as $$
  select coalesce(array_agg(format('%I', demands.attname) order by demands.attnum), '{}')
    from pg_catalog.pg_attribute demands
   where demands.attrelid = 'public.archived_activity_log'::regclass
     and demands.attnum > 0 and not demands.attisdropped
     and demands.attnotnull and not demands.atthasdef and demands.attidentity = ''
     and not exists (
       select
         from pg_catalog.pg_attribute has
        where has.attrelid = 'public.activity_log'::regclass
          and has.attname = demands.attname and has.attnum > 0 and not has.attisdropped
     );
$$;

-- The columns that activity moves with, quoted: all of them. Raises if the archive lacks one, or
-- requires another.
create or replace function public.archived_columns()
returns text[]
language plpgsql
stable
set search_path = ''
as $$
declare
  lacking text[] := public.unarchived_columns();
  demanded text[] := public.demanded_columns();
begin
  if cardinality(lacking) > 0 then
    raise exception 'archived_activity_log lacks columns of activity_log: add % to it',
      array_to_string(lacking, ', ');
  elsif cardinality(demanded) > 0 then
    raise exception 'archived_activity_log requires %, which activity_log does not have: give it a '
      'default', array_to_string(demanded, ', ');
  end if;
  return (
    select array_agg(format('%I', has.attname) order by has.attnum)
      from pg_catalog.pg_attribute has
     where has.attrelid = 'public.activity_log'::regclass
       and has.attnum > 0 and not has.attisdropped and has.attgenerated = ''
  );
end
$$;

-- The statements that move activity that is `due`, for take_rows. `moving` counts the rows that it
-- locked, that went, and that arrived unchanged; they are compared only if the archive could change
-- them, by a trigger or a type of its own. `settling` is for a row whose key is already in the
-- archive: it goes if that is the same row, in every column.
create or replace function public.moving_statements(
  due text,
  out moving text,
  out settling text
)
language plpgsql
stable
set search_path = ''
as $$
declare
  columns text[] := public.archived_columns();
  listed text := array_to_string(columns, ', ');
  may_change boolean;
  same_key text;
begin
  select exists (
           select
             from pg_catalog.pg_trigger trigger
            where not trigger.tgisinternal
              and (trigger.tgrelid = 'public.archived_activity_log'::regclass
                   or trigger.tgrelid in (
                        select part.relid from pg_partition_tree('public.archived_activity_log') part
                      ))
         )
         or exists (
           select
             from pg_catalog.pg_attribute has
             join pg_catalog.pg_attribute holds
               on holds.attname = has.attname and holds.attnum > 0
              and holds.attrelid = 'public.archived_activity_log'::regclass
            where has.attrelid = 'public.activity_log'::regclass and has.attnum > 0
              and (has.atttypid, has.atttypmod) <> (holds.atttypid, holds.atttypmod)
         )
    into may_change;
  moving := format(
    'with %3$s,
     gone as (
       delete from public.activity_log activity
        where activity.tableoid = $1
          and activity.ctid = any (array(select locked.ctid from locked))
       returning %1$s
     ),
     stored as (
       insert into public.archived_activity_log (%1$s) overriding system value
       select %1$s from gone
       returning %1$s
     )
     select (select count(*) from locked), (select count(*) from gone), %2$s',
    listed,
    case when may_change
      then '(select count(*) from (select gone::text from gone
                                   intersect all
                                   select stored::text from stored) same)'
      else '(select count(*) from stored)'
    end,
    public.locking('public.activity_log', due)
  );
  select string_agg(format('held.%1$I = activity.%1$I', key.attname), ' and ')
    into same_key
    from pg_catalog.pg_index index
    join pg_catalog.pg_attribute key
      on key.attrelid = index.indrelid and key.attnum = any (index.indkey)
   where index.indrelid = 'public.archived_activity_log'::regclass and index.indisprimary
  having bool_and(format('%I', key.attname) = any (columns));
  settling := format(
    'with gone as (
       delete from public.activity_log activity
        using public.archived_activity_log held
        where activity.tableoid = $1 and activity.ctid = any ($2)
          and %s and (%s)::text = (%s)::text
       returning 1
     )
     select 1, count(*), count(*) from gone',
    same_key,
    'held.' || array_to_string(columns, ', held.'),
    'activity.' || array_to_string(columns, ', activity.')
  );
end
$$;

-- Everything that is due, in one call and so in one transaction.
create or replace function public.archive_old_activities(days_to_keep integer)
returns integer
language plpgsql
set search_path = ''
as $$
begin
  if days_to_keep is null or days_to_keep < 1 then
    raise exception 'days_to_keep must be at least 1, not %', coalesce(days_to_keep::text, 'null')
      using errcode = '22023';
  end if;
  return (
    select coalesce(result.value ->> 'went', result.value #>> '{}')::integer
      from public.archive_activity_batch(
             now() - make_interval(days => days_to_keep), 2147483647
           ) result (value)
  );
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'unarchived_columns()',
    'demanded_columns()',
    'archived_columns()',
    'moving_statements(text)',
    'archive_old_activities(integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
