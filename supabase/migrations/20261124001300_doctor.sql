-- What the doctor asks of the database, and by what it knows that the migrations are applied.

-- The newest migration that is applied; each new one replaces this.
create or replace function public.workers_schema_version()
returns text
language sql
immutable
set search_path = ''
as $$
  select '20261124001300';
$$;

-- Which of a table's columns a role can read, and whether it can write the table: by privilege,
-- and by row-level security, which lets nothing through without a policy.
create or replace function public.table_access(table_name text, role_name text)
returns jsonb
language sql
stable
set search_path = ''
as $$
  with subject as (
    select class.oid, class.relrowsecurity
      from pg_catalog.pg_class class
     where class.oid = to_regclass(format('public.%I', table_name))
  ),
  passes as (
    select command.name,
           not subject.relrowsecurity or exists (
             select from pg_catalog.pg_policy policy
              where policy.polrelid = subject.oid
                and policy.polpermissive
                and policy.polcmd in ('*', command.code)
                and (0::oid = any (policy.polroles)
                     or (select role.oid from pg_catalog.pg_roles role
                          where role.rolname = role_name) = any (policy.polroles))
           ) as passes
      from subject
     cross join (
           values ('SELECT', 'r'::"char"), ('INSERT', 'a'), ('UPDATE', 'w'), ('DELETE', 'd')
         ) command (name, code)
  )
  select jsonb_build_object(
    'columns', coalesce(
      (
        select jsonb_agg(attribute.attname order by attribute.attnum)
          from subject
          join pg_catalog.pg_attribute attribute
            on attribute.attrelid = subject.oid
           and attribute.attnum > 0
           and not attribute.attisdropped
         where has_column_privilege(role_name, subject.oid, attribute.attnum, 'SELECT')
           and (select passes.passes from passes where passes.name = 'SELECT')
      ),
      '[]'
    ),
    'writes', coalesce(
      (
        select jsonb_agg(passes.name order by passes.name)
          from subject
          join passes on passes.name <> 'SELECT' and passes.passes
         where case passes.name
                 when 'DELETE' then has_table_privilege(role_name, subject.oid, passes.name)
                 else has_any_column_privilege(role_name, subject.oid, passes.name)
               end
      ),
      '[]'
    )
  );
$$;

-- All that the doctor looks at in one answer: {"now", "version", "access": {<table>: {<role>:
-- table_access}}, "configs", "channels", "connections", "policies", "health"}. It holds
-- credentials: for the workers' key alone, as platform_connections itself.
create or replace function public.doctor_report(as_of timestamptz default now())
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
    'now', as_of,
    'version', public.workers_schema_version(),
    'access', (
      select jsonb_object_agg(
               looked_at.name,
               jsonb_build_object(
                 'anon', public.table_access(looked_at.name, 'anon'),
                 'authenticated', public.table_access(looked_at.name, 'authenticated')
               )
             )
        from unnest(array[
               'platform_connections', 'profiles', 'notification_queue', 'notification_config',
               'slack_connected_channels', 'retention_policies'
             ]) looked_at (name)
    ),
    'configs', coalesce(
      (
        select jsonb_agg(
                 jsonb_build_object(
                   'id', config.id,
                   'event_type', config.event_type,
                   'channel_id', nullif(btrim(config.channel_id), ''),
                   'user_id', config.user_id,
                   'slack_id', nullif(btrim(profile.slack_id), ''),
                   'has_route', exists (
                     select
                       from public.slack_connected_channels connected
                      where btrim(connected.channel_id) <> ''
                        and (coalesce(jsonb_typeof(connected.notification_types), 'null') = 'null'
                             or connected.notification_types ? config.event_type)
                   ),
                   'parked', (
                     select pause.reason
                       from public.notification_pauses pause
                      where pause.config_id = config.id and pause.ended_at is null
                   )
                 )
                 order by config.created_at, config.id
               )
          from public.notification_config config
          left join public.profiles profile on profile.id = config.user_id
         where coalesce(config.is_active, true)
      ),
      '[]'
    ),
    'channels', coalesce(
      (
        select jsonb_agg(distinct btrim(connected.channel_id))
          from public.slack_connected_channels connected
         where btrim(connected.channel_id) <> ''
      ),
      '[]'
    ),
    'connections', coalesce(
      (
        select jsonb_agg(
                 jsonb_build_object(
                   'id', connection.id,
                   'platform', connection.platform,
                   'account_id', connection.account_id,
                   'account_name', connection.account_name,
                   'credentials', connection.credentials,
                   'sync_frequency', coalesce(connection.sync_frequency, 1440),
                   'parked', case
                     when state.parked_credentials =
                          public.credentials_digest(connection.credentials)
                     then state.parked_reason
                   end,
                   'last_status', last.status,
                   'last_error', last.error_message,
                   'requests', last.details -> 'requests',
                   'unread_days', (
                     select jsonb_object_agg(day.date, day.problem)
                       from public.metric_days day
                      where day.platform = account.platform
                        and day.account_id = account.account_id
                        and day.failures > 0
                   )
                 )
                 order by connection.platform, connection.account_name, connection.id
               )
          from public.platform_connections connection
          left join public.metric_connection_states state
            on state.connection_id = connection.id
          left join public.metric_accounts account
            on account.platform = public.metric_platform(connection.platform)
           and account.account_id = public.metric_account_id(connection.account_id)
          left join lateral (
                 select log.status, log.error_message, log.details
                   from public.metric_sync_logs log
                  where log.platform_connection_id = connection.id or log.id = account.sync_id
                  order by log.start_time desc nulls last
                  limit 1
               ) last on true
         where connection.is_active
      ),
      '[]'
    ),
    'policies', public.list_retention_policies(as_of) -> 'policies',
    'health', public.worker_health(as_of)
  );
$$;

-- What requests.metadata has under the mapping keys that no ad can match (`problem` is no_id), and
-- numbers that JavaScript cannot hold exactly (rounded): {"count", "examples"}, twenty of these.
create or replace function public.odd_ad_mappings(mapping_keys text[])
returns jsonb
language sql
stable
set search_path = ''
as $$
  with named as (
    select request.id as request_id, mapping_key, one.value
      from unnest(odd_ad_mappings.mapping_keys) mapping_key
      join public.requests request on request.metadata ? mapping_key
     cross join lateral jsonb_array_elements(
             case jsonb_typeof(request.metadata -> mapping_key)
               when 'array' then request.metadata -> mapping_key
               else jsonb_build_array(request.metadata -> mapping_key)
             end
           ) one (value)
     where one.value not in ('null', '""')
  ),
  odd as (
    select named.*,
           case
             -- 2^53: from there on, neighbours become one number
             when jsonb_typeof(value) = 'number' and value >= to_jsonb(9007199254740992) then 'rounded'
             when jsonb_typeof(value) in ('string', 'number') and not exists (
                    select from public.ad_ids_in(value) ids (ad_id)
                     where ids.ad_id !~ '^[0-9]+$'
                  ) then null
             else 'no_id'
           end as problem
      from named
  ),
  found as (
    select * from odd where problem is not null
  )
  select jsonb_build_object(
    'count', (select count(*) from found),
    'examples', coalesce(
      (
        select jsonb_agg(to_jsonb(example) order by example.request_id, example.mapping_key)
          from (
            select request_id, mapping_key, left(value #>> '{}', 80) as value, problem
              from found
             order by request_id, mapping_key
             limit 20
          ) example
      ),
      '[]'
    )
  );
$$;

-- As many rows as asked for: how many come says where the data API cuts results.
create or replace function public.generated_rows(wanted integer)
returns setof integer
language sql
immutable
set search_path = ''
as $$
  select generate_series(1, least(wanted, 10000));
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'workers_schema_version()',
    'table_access(text, text)',
    'doctor_report(timestamptz)',
    'odd_ad_mappings(text[])',
    'generated_rows(integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
