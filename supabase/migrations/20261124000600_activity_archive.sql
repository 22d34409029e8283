-- The activity archive: which columns activity moves with, and the statement that moves it.
--
--   unarchived_columns, archived_columns
--                           what the archive cannot hold, and what moves: all that there is
--   moving_statement        for take_rows, which runs it
--   archive_old_activities  the dashboard's own call, kept by name and signature

-- What activity_log has and archived_activity_log cannot hold, as "name type". A generated column
-- is not among it: it is made of the others.
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

-- The columns that activity moves with, quoted: all that it has. Raises where the archive lacks one.
create or replace function public.archived_columns()
returns text[]
language plpgsql
stable
set search_path = ''
as $$
declare
  lacking text[] := public.unarchived_columns();
begin
  if cardinality(lacking) > 0 then
    raise exception 'archived_activity_log cannot hold what activity_log has: add % to it',
      array_to_string(lacking, ', ');
  end if;
  return (
    select array_agg(format('%I', has.attname) order by has.attnum)
      from pg_catalog.pg_attribute has
     where has.attrelid = 'public.activity_log'::regclass
       and has.attnum > 0 and not has.attisdropped and has.attgenerated = ''
  );
end
$$;

-- The statement that moves activity for take_rows. What the archive holds already, the same to the
-- last column, is not written twice; what it changes on its way has not arrived.
create or replace function public.moving_statement()
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  columns text[] := public.archived_columns();
  same_key text;
begin
  select string_agg(format('held.%1$I = gone.%1$I', key.attname), ' and ')
    into same_key
    from pg_catalog.pg_index index
    join pg_catalog.pg_attribute key
      on key.attrelid = index.indrelid and key.attnum = any (index.indkey)
   where index.indrelid = 'public.archived_activity_log'::regclass and index.indisprimary
  having bool_and(format('%I', key.attname) = any (columns));
  return format(
    'with gone as (
       delete from public.activity_log gone
        where gone.tableoid = $1 and gone.ctid = any ($2)
       returning %1$s
     ),
     stored as (
       insert into public.archived_activity_log (%1$s) overriding system value
       select %1$s from gone
        where not exists (
                select from public.archived_activity_log held
                 where %2$s and (%3$s)::text = (%4$s)::text
              )
       returning %1$s
     ),
     missing as (
       select gone::text from gone
        where not exists (
                select from public.archived_activity_log held
                 where %2$s and (%3$s)::text = (%4$s)::text
              )
       except all
       select stored::text from stored
     )
     select count(*), count(*) - (select count(*) from missing) from gone',
    array_to_string(columns, ', '),
    coalesce(same_key, 'false'),
    'held.' || array_to_string(columns, ', held.'),
    'gone.' || array_to_string(columns, ', gone.')
  );
end
$$;

-- All that is due, in one call and so in one transaction.
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
  brought text;
begin
  foreach brought in array array[
    'unarchived_columns()',
    'archived_columns()',
    'moving_statement()',
    'archive_old_activities(integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
