-- The functions that data_api_probes.json calls, in the schema of a migrated database.

create function kind_of(value jsonb) returns text language sql as $$
  select coalesce(jsonb_typeof(value), 'no value')
$$;

-- One value of each type goes in and comes out.
create function same_jsonb(value jsonb) returns jsonb language sql as 'select value';
create function same_text(value text) returns text language sql as 'select value';
create function same_texts(value text[]) returns text[] language sql as 'select value';
create function same_uuids(value uuid[]) returns uuid[] language sql as 'select value';
create function same_moment(value timestamptz) returns timestamptz language sql as 'select value';
create function same_numeric(value numeric) returns numeric language sql as 'select value';
create function same_bigint(value bigint) returns bigint language sql as 'select value';
create function same_double(value double precision) returns double precision
  language sql as 'select value';
create function same_integer(value integer) returns integer language sql as 'select value';
create function same_interval(value interval) returns interval language sql as 'select value';
create function same_boolean(value boolean) returns boolean language sql as 'select value';
create function same_date(value date) returns date language sql as 'select value';

-- The digits of a number as Postgres got them.
create function numeric_digits(value numeric) returns text language sql as 'select value::text';
create function jsonb_digits(value jsonb) returns text language sql as 'select value::text';

create function numeric_nan() returns numeric language sql as $$ select 'NaN'::numeric $$;
create function double_nan() returns double precision language sql as $$ select 'NaN'::float8 $$;
create function end_of_time() returns timestamptz language sql as
  $$ select 'infinity'::timestamptz $$;

-- Arguments: defaults, overloads, names, one without a name, variadic.
create function both_optional(x integer default 5, y integer default 6) returns text
  language sql as $$ select concat(x, '/', y) $$;
create function overloaded(x integer) returns integer language sql as 'select x';
create function overloaded(x text) returns text language sql as 'select x';
create function overloaded_by_name(x integer) returns text language sql as $$ select 'x' $$;
create function overloaded_by_name(y text) returns text language sql as $$ select 'y' $$;
create function without_name(jsonb) returns text language sql as 'select $1::text';
create function with_name(data jsonb) returns text language sql as 'select data::text';
create function first_of(variadic x integer[]) returns integer language sql as 'select x[1]';

-- Results: nothing, null, one, many, with columns, without a type.
create function nothing() returns void language sql as 'select';
create function nothing_plpgsql() returns void language plpgsql as 'begin end';
create function null_text() returns text language sql as 'select null::text';
create function null_jsonb() returns jsonb language sql as 'select null::jsonb';
create function no_rows() returns setof integer language sql as 'select 1 where false';
create function one_null_row() returns setof integer language sql as 'select null::integer';
create function rows_up_to(n integer) returns table (i integer)
  language sql as 'select generate_series(1, n)';
create function numbers_up_to(n integer) returns setof integer
  language sql as 'select generate_series(1, n)';
create function one_array_up_to(n integer) returns jsonb
  language sql as 'select jsonb_agg(i) from generate_series(1, n) i';
create function many_types() returns table (
  moment timestamptz, amount numeric, document jsonb, id uuid, words text[], day date, big bigint,
  span interval
) language sql as $$
  select timestamptz '2026-01-01 08:00:00.123456+00', 1.50, jsonb '{"a": 1.50}',
         uuid 'a0000000-0000-4000-8000-000000000001', array['x', 'y'], date '2026-01-01',
         9007199254740993, interval '1 day 2:03:04.5'
$$;
create function untyped_record() returns record language sql as $$ select 1, 'a' $$;
create function two_outputs(out number integer, out word text) language sql as $$ select 1, 'a' $$;

-- Errors.
create function fail(state text, words text) returns void language plpgsql as $$
begin
  raise exception using errcode = state, message = words, detail = 'why', hint = 'do this';
end $$;
create function fail_in_its_own_form() returns void language plpgsql as $$
begin
  raise sqlstate 'PGRST' using
    message = '{"code": "123", "message": "in short", "details": "at length", "hint": "try"}',
    detail = '{"status": 418, "headers": {"X-Kettle": "on"}}';
end $$;
create function only_warns() returns integer language plpgsql as $$
begin
  raise warning 'beware';
  return 1;
end $$;
create function closed() returns integer language sql as 'select 1';
revoke all on function closed() from public, anon, authenticated, service_role;

-- The transaction and the session.
create function setting_of(name text) returns text
  language sql as 'select current_setting(name, true)';
create function who() returns text language sql as $$ select current_user || '/' || session_user $$;
create function is_read_only() returns text stable
  language sql as $$ select current_setting('transaction_read_only') $$;
create function is_read_only_volatile() returns text
  language sql as $$ select current_setting('transaction_read_only') $$;
create function its_own_isolation() returns text language sql
  set default_transaction_isolation = 'serializable'
  as $$ select current_setting('transaction_isolation') $$;
create function its_own_timeout(seconds double precision) returns void language sql
  set statement_timeout = '300ms' as 'select pg_sleep(seconds)';
create function its_own_timeout_plpgsql(seconds double precision) returns void language plpgsql
  set statement_timeout = '300ms' as $$ begin perform pg_sleep(seconds); end $$;

-- Writes.
create table probe (i integer);
grant all on probe to service_role;
create function adds_a_row() returns integer language plpgsql as $$
begin
  insert into probe values (1);
  return 1;
end $$;
create function says_stable_and_writes() returns integer stable language plpgsql as $$
begin
  return adds_a_row();
end $$;
create function empties_it() returns void language plpgsql as $$
begin
  delete from probe;
end $$;
create table thousands as select generate_series(1, 1500) as i;
grant select on thousands to service_role;

-- Tables, which the local API leaves to @supabase/lite.
create table exact_values as
  select 1.50 as amount, 9007199254740993 as big, jsonb '{"a": 1.50}' as document;
create table defaulted (a integer, b integer default 7);
create view request_seen as select current_setting('request.method', true) as method;
grant all on exact_values, defaulted, request_seen to service_role;
