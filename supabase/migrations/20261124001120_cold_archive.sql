-- Retention, part 3: archived activity on its way to the cold archive, and back.
--
--   read_archived_activity     the rows that are due, as texts to be stored
--   purge_archived_lines       deletes those that are stored and have not changed
--   restore_archived_activity  restores rows from such texts, into the table as it is by then

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The values of restored rows in columns that the table has since lost or renamed.
create table if not exists public.archived_activity_leftovers (
  row_id text primary key,
  columns jsonb not null,
  restored_at timestamptz not null
);

comment on table public.archived_activity_leftovers is
  'Of activity restored from the cold archive: the columns that archived_activity_log no longer '
  'has under that name. Kept for 30 days.';

do $$
begin
  if not (select relrowsecurity from pg_catalog.pg_class where oid = 'public.archived_activity_leftovers'::regclass) then
    alter table public.archived_activity_leftovers enable row level security;
  end if;
end
$$;
do $$
begin
  if to_regclass('public.archived_activity_leftovers_restored_at_idx') is null then
    create index archived_activity_leftovers_restored_at_idx
      on public.archived_activity_leftovers (restored_at);
  end if;
end
$$;
revoke all on public.archived_activity_leftovers from public, anon, authenticated;
grant select, insert, update, delete on public.archived_activity_leftovers to service_role;

-- The oldest rows before `cutoff`, each as the text of its JSON: not as JSON, whose numbers a
-- client might round. Of long rows only as many as fit into a request, but at least one: a row is
-- converted only once it is known that there is room for it.
create or replace function public.read_archived_activity(
  cutoff timestamptz,
  batch_size integer,
  passed_over integer default 0
)
returns jsonb
language plpgsql
stable
set search_path = ''
-- as retention_batch
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  due record;
  line text;
  lines text[] := '{}';
  characters bigint := 0;
begin
  for due in
    select archived.tableoid as home, archived.ctid as place
      from public.archived_activity_log archived
     where archived.created_at < cutoff
       -- earlier ones, including -infinity, have no day in the cold archive
       and archived.created_at >= '0001-01-02'
     order by archived.created_at, archived.tableoid, archived.ctid
    offset passed_over
     limit batch_size
  loop
    select to_jsonb(archived)::text
      into line
      from public.archived_activity_log archived
     where archived.tableoid = due.home and archived.ctid = due.place;
    lines := lines || line;
    characters := characters + length(line);
    exit when characters >= 8000000;
  end loop;
  return to_jsonb(lines);
end
$$;

-- Deletes the rows that read_archived_activity returned as these texts, if they have not changed;
-- of rows that are equal in every column, as many as there are texts. Returns what the other
-- batches return.
create or replace function public.purge_archived_lines(lines jsonb)
returns jsonb
language plpgsql
set search_path = ''
-- as retention_batch
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
as $$
declare
  found record;
  taken record;
  went bigint := 0;
  stayed jsonb := '[]';
begin
  for found in execute format(
    'with kept as materialized (
       select line.value as text, min(line.value::jsonb ->> ''id'')::%s as id, count(*) as copies
         from jsonb_array_elements_text($1) line
        group by line.value
     ),
     locked as (
       select archived.tableoid as home, archived.ctid as place, kept.text, kept.copies
         from kept
         join public.archived_activity_log archived
           on %s
        where to_jsonb(archived)::text = kept.text
          for update of archived skip locked
     )
     select numbered.home, array_agg(numbered.place) as places
       from (
         select *, row_number() over (partition by text order by home, place) as copy from locked
       ) numbered
      where numbered.copy <= numbered.copies
      group by numbered.home',
    (select format_type(id.atttypid, id.atttypmod)
       from pg_catalog.pg_attribute id
      where id.attrelid = 'public.archived_activity_log'::regclass and id.attname = 'id'),
    -- without a primary key, an id may be null, and there need not be an index on it
    case
      when exists (
        select
          from pg_catalog.pg_index index
         where index.indrelid = 'public.archived_activity_log'::regclass and index.indisprimary
      ) then 'archived.id = kept.id'
      else 'coalesce(archived.id::text, '''') = coalesce(kept.id::text, '''')'
    end
  ) using lines loop
    select * into taken
      from public.take_rows(
             'with gone as (
                delete from public.archived_activity_log archived
                 where archived.tableoid = $1 and archived.ctid = any ($2)
                returning 1
              )
              select count(*), count(*), count(*) from gone',
             null, '{}', found.home, found.places
           );
    went := went + taken.went;
    stayed := stayed || taken.stayed;
  end loop;
  return public.batch_result('public.archived_activity_log', went, stayed);
end
$$;

-- Restores rows from the texts of the cold archive into the columns that the table has by now: new
-- columns get their defaults, generated ones are computed, and the values of lost or renamed ones
-- are kept in archived_activity_leftovers. Existing rows are not changed; without a primary key,
-- those are the rows that are equal in every column.
--
-- {"restored", "leftovers": {<column>: rows}, "refused": [{"code", "reason", "rows", "example"}]}
create or replace function public.restore_archived_activity(
  lines jsonb,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  alike record;
  line jsonb;
  restored bigint := 0;
  refused jsonb := '[]';
  leftovers jsonb := '{}';
begin
  -- rows from different times may have different columns
  for alike in
    select array(select jsonb_object_keys(text.value::jsonb) order by 1) as columns,
           jsonb_agg(text.value::jsonb) as rows
      from jsonb_array_elements_text(lines) text
     group by 1
  loop
    begin
      restored := restored + public.restore_alike(alike.columns, alike.rows, as_of);
    exception when others then
      if sqlstate ~ '^(08|25|28|40|42|53|55|57|58|XX)' then
        raise;
      end if;
      for line in select value from jsonb_array_elements(alike.rows) loop
        begin
          restored := restored
            + public.restore_alike(alike.columns, jsonb_build_array(line), as_of);
        exception when others then
          if sqlstate ~ '^(08|25|28|40|42|53|55|57|58|XX)' then
            raise;
          end if;
          refused := refused || jsonb_build_object(
            'code', sqlstate, 'reason', left(regexp_replace(sqlerrm, ': ".*', ''), 300),
            'example', line ->> 'id'
          );
        end;
      end loop;
    end;
    leftovers := leftovers || (
      select coalesce(
               jsonb_object_agg(
                 gone.name,
                 coalesce((leftovers ->> gone.name)::bigint, 0) + jsonb_array_length(alike.rows)
               ),
               '{}'
             )
        from unnest(public.leftover_columns(alike.columns)) gone (name)
    );
  end loop;
  return jsonb_build_object(
    'restored', restored,
    'leftovers', leftovers,
    'refused', (
      select coalesce(jsonb_agg(to_jsonb(grouped)), '[]')
        from (
          select one.code, one.reason, count(*) as rows, min(one.example) as example
            from jsonb_to_recordset(refused) one (code text, reason text, example text)
           group by one.code, one.reason
        ) grouped
    )
  );
end
$$;

-- Those columns that archived_activity_log does not have.
create or replace function public.leftover_columns(columns text[])
returns text[]
language sql
stable
set search_path = ''
as $$
  select coalesce(array_agg(named.name order by named.name), '{}')
    from unnest(columns) named (name)
   where not exists (
           select
             from pg_catalog.pg_attribute has
            where has.attrelid = 'public.archived_activity_log'::regclass
              and has.attname = named.name and has.attnum > 0 and not has.attisdropped
         );
$$;

-- Restores rows with the same columns; returns how many did not exist yet.
create or replace function public.restore_alike(columns text[], rows jsonb, as_of timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  kept text[];
  has_key boolean;
  restored bigint;
begin
  select array_agg(format('%I', has.attname) order by has.attnum),
         exists (
           select
             from pg_catalog.pg_index index
            where index.indrelid = 'public.archived_activity_log'::regclass and index.indisprimary
         )
    into kept, has_key
    from pg_catalog.pg_attribute has
   where has.attrelid = 'public.archived_activity_log'::regclass
     and has.attnum > 0 and not has.attisdropped and has.attgenerated = ''
     and has.attname = any (columns);
  execute format(
    'with stored as (
       insert into public.archived_activity_log (%1$s) overriding system value
       select %1$s
         from jsonb_populate_recordset(null::public.archived_activity_log, $1) line
        where %2$s
       on conflict do nothing
       returning 1
     )
     select count(*) from stored',
    array_to_string(kept, ', '),
    case
      when has_key then 'true'
      else format(
        'not exists (
           select from public.archived_activity_log held
            where held.created_at is not distinct from line.created_at
              and (%s)::text = (%s)::text
         )',
        'held.' || array_to_string(kept, ', held.'),
        'line.' || array_to_string(kept, ', line.')
      )
    end
  ) into restored using rows;
  insert into public.archived_activity_leftovers as known (row_id, columns, restored_at)
  select distinct on (line.value ->> 'id')
         line.value ->> 'id',
         (select jsonb_object_agg(gone.name, line.value -> gone.name)
            from unnest(public.leftover_columns(restore_alike.columns)) gone (name)),
         as_of
    from jsonb_array_elements(rows) line
   where cardinality(public.leftover_columns(restore_alike.columns)) > 0
     and line.value ->> 'id' is not null
  on conflict on constraint archived_activity_leftovers_pkey do update
    set columns = known.columns || excluded.columns,
        restored_at = excluded.restored_at;
  return restored;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'read_archived_activity(timestamptz, integer, integer)',
    'purge_archived_lines(jsonb)',
    'restore_archived_activity(jsonb, timestamptz)',
    'leftover_columns(text[])',
    'restore_alike(text[], jsonb, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
