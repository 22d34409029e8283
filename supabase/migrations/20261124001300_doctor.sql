-- What the doctor asks the database, and how it knows that the migrations are applied.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The newest migration that is applied; each new one replaces this.
create or replace function public.workers_schema_version()
returns text
language sql
immutable
set search_path = ''
as $$
  select '20261124001300';
$$;

-- Which columns of a table a role can read, and whether it can write the table: by privilege, and
-- by row-level security, which lets nothing through without a policy, or with one that says false.
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
             select
               from pg_catalog.pg_policy policy
              cross join lateral (
                     select coalesce(
                              pg_get_expr(
                                case when command.code = 'a'
                                  then coalesce(policy.polwithcheck, policy.polqual)
                                  else policy.polqual
                                end,
                                policy.polrelid
                              ),
                              'true'
                            ) as what
                   ) says
              where policy.polrelid = subject.oid
                and policy.polcmd in ('*', command.code)
                and (0::oid = any (policy.polroles)
                     or (select role.oid from pg_catalog.pg_roles role
                          where role.rolname = role_name) = any (policy.polroles))
             -- a restrictive policy that says false overrides all others
             having bool_or(policy.polpermissive and says.what <> 'false')
                and bool_and(policy.polpermissive or says.what <> 'false')
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

-- Views that read a column and that a role may read, directly or through others:
-- [{"view", "role"}]. A view with security_invoker checks the role's own rights on the table.
create or replace function public.views_of_column(table_name text, column_name text)
returns jsonb
language sql
stable
set search_path = ''
as $$
  with recursive reading as (
    select rule.ev_class as view
      from pg_catalog.pg_attribute attribute
      join pg_catalog.pg_depend depend
        on depend.refclassid = 'pg_catalog.pg_class'::regclass
       and depend.refobjid = attribute.attrelid
       and depend.refobjsubid = attribute.attnum
       and depend.classid = 'pg_catalog.pg_rewrite'::regclass
      join pg_catalog.pg_rewrite rule on rule.oid = depend.objid
     where attribute.attrelid = to_regclass(format('public.%I', table_name))
       and attribute.attname = column_name
    union
    select rule.ev_class
      from reading
      join pg_catalog.pg_depend depend
        on depend.refclassid = 'pg_catalog.pg_class'::regclass
       and depend.refobjid = reading.view
       and depend.classid = 'pg_catalog.pg_rewrite'::regclass
      join pg_catalog.pg_rewrite rule on rule.oid = depend.objid
     where rule.ev_class <> reading.view
  )
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'view', regexp_replace(view.oid::regclass::text, '^public\.', ''), 'role', role.name
      )
      order by view.oid::regclass::text, role.name
    ),
    '[]'
  )
    from reading
    join pg_catalog.pg_class view on view.oid = reading.view and view.relkind in ('v', 'm')
   cross join unnest(array['anon', 'authenticated']) role (name)
   where has_schema_privilege(role.name, view.relnamespace, 'USAGE')
     and has_any_column_privilege(role.name, view.oid, 'SELECT')
     and not coalesce('security_invoker=true' = any (view.reloptions)
                      or 'security_invoker=on' = any (view.reloptions), false);
$$;

-- For the days that could not be read: few, of all that are kept.
do $$
begin
  if to_regclass('public.metric_days_failing_idx') is null then
    create index metric_days_failing_idx
      on public.metric_days (platform, account_id, date) where failures > 0;
  end if;
end
$$;

-- Everything that the doctor checks, in one answer: {"now", "version", "access": {<table>: {<role>:
-- table_access}}, "views": {<table>: views_of_column}, "hazards": retention_hazards, "configs",
-- "parked", "channels", "connections", "policies", "health"}. It holds
-- credentials: for the workers' key alone, as platform_connections itself.
create or replace function public.doctor_report(as_of timestamptz default now())
returns jsonb
language sql
stable
set search_path = ''
-- also with statistics from when the tables were small
set enable_seqscan = off
set jit = off
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
    'views', jsonb_build_object(
      'platform_connections', public.views_of_column('platform_connections', 'credentials'),
      'profiles', public.views_of_column('profiles', 'slack_access_token')
    ),
    'hazards', public.retention_hazards(),
    'configs', coalesce(
      (
        select jsonb_agg(
                 jsonb_build_object(
                   'id', config.id,
                   'event_type', config.event_type,
                   'channel_id', public.trim_invisible(config.channel_id),
                   'user_id', config.user_id,
                   'slack_id', public.trim_invisible(profile.slack_id),
                   'has_route', exists (
                     select
                       from public.slack_connected_channels connected
                      where public.trim_invisible(connected.channel_id) is not null
                        and (coalesce(jsonb_typeof(connected.notification_types), 'null') = 'null'
                             or connected.notification_types ? config.event_type)
                   ),
                   'unrouted', (
                     select waiting.reason
                       from public.notification_unrouted waiting
                      where waiting.config_id = config.id
                      order by waiting.due_at, waiting.queued_at
                      limit 1
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
    'parked', public.list_parked(),
    'channels', coalesce(
      (
        select jsonb_agg(distinct public.trim_invisible(connected.channel_id))
          from public.slack_connected_channels connected
         where public.trim_invisible(connected.channel_id) is not null
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
                   'spend_total', last.details -> 'spend_total',
                   'total_difference', last.details -> 'total_difference',
                   'days_that_differ', last.details -> 'days_that_differ',
                   'reports_left_out', last.details -> 'reports_left_out',
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
          left join lateral public.last_sync_log(connection.id, account.sync_id) last on true
         where connection.is_active
      ),
      '[]'
    ),
    'policies', public.list_retention_policies(as_of) -> 'policies',
    'health', public.worker_health(as_of)
  );
$$;

-- The templates of active configs, and what their newest events carry:
-- [{id, entity_type, event_type, template, events, carried: {<key>: <its JSON type>}}], where an
-- object's keys follow it as <key>.<key>. Of each config, five events in each of three states are
-- read; `events` is how many there were.
create or replace function public.config_templates()
returns jsonb
language sql
stable
set search_path = ''
set enable_seqscan = off
set enable_sort = off
as $$
  select coalesce(
           jsonb_agg(
             jsonb_build_object(
               'id', config.id,
               'entity_type', config.entity_type,
               'event_type', config.event_type,
               'template', left(config.template, 12000),
               'digest', md5(config.template),
               'events', coalesce(newest.events, 0),
               'carried', coalesce(newest.carried, '{}')
             )
             order by config.created_at, config.id
           ),
           '[]'
         )
    from (
      select *
        from public.notification_config active
       where coalesce(active.is_active, true)
         and active.template ~ '\S'
       limit 200
    ) config
    left join lateral (
           select count(distinct sample.id) as events,
                  jsonb_object_agg(key.path, key.type) filter (where key.path is not null)
                    as carried
             from unnest('{waiting,sent,dead}'::text[]) looked_at (state)
            cross join lateral (
                    select queued.id, public.carried_value(queued.event_data) as data
                      from public.notification_queue queued
                     where queued.config_id = config.id
                       and (case
                              when coalesce(is_processed, false) then coalesce(outcome, 'done')
                              when coalesce(attempts, 0) >= coalesce(max_attempts, 5) then 'dead'
                              else 'waiting'
                            end) = looked_at.state
                       -- as notification_queue_config_state_idx has it
                       and coalesce(created_at, '-infinity'::timestamptz)
                           >= '-infinity'::timestamptz
                       and jsonb_typeof(queued.event_data) = 'object'
                     order by (coalesce(created_at, '-infinity'::timestamptz)) desc, id desc
                     limit 5
                  ) sample
             left join lateral (
                    select own.key as path, jsonb_typeof(own.value) as type
                      from jsonb_each(sample.data) own
                     union all
                    select concat(own.key, '.', below.key), jsonb_typeof(below.value)
                      from jsonb_each(sample.data) own
                     cross join lateral jsonb_each(
                             case jsonb_typeof(own.value) when 'object' then own.value else '{}' end
                           ) below
                  ) key on true
         ) newest on true;
$$;

-- What requests.metadata has under the mapping keys that no ad can match (`problem` is no_id), and
-- numbers that JavaScript cannot represent exactly (rounded): {"count", "examples"}, at most
-- twenty.
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
             -- 2^53: from there on, neighbouring numbers coincide
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

-- As many rows as wanted: how many arrive shows where the data API truncates results.
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
  signature text;
begin
  foreach signature in array array[
    'workers_schema_version()',
    'table_access(text, text)',
    'views_of_column(text, text)',
    'doctor_report(timestamptz)',
    'config_templates()',
    'odd_ad_mappings(text[])',
    'generated_rows(integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
