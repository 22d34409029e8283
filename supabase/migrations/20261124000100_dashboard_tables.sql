-- The dashboard's own tables, as far as the workers use them.
--
-- On an existing dashboard all tables exist, and this file changes nothing but the grants of
-- service_role: no column, row, policy or privilege of anyone else. On an empty project it creates
-- them as the dashboard does, closed to everyone but service_role.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

do $$
begin
  if to_regtype('public.request_status') is null then
    create type public.request_status as enum
      ('new_request', 'in_progress', 'needs_review', 'needs_edit', 'completed');
  end if;
  if to_regtype('public.request_priority') is null then
    create type public.request_priority as enum ('low', 'medium', 'high', 'urgent');
  end if;
end
$$;

-- Row-level security is enabled only if this file created the table: on an existing dashboard it
-- would empty the pages that read the table as `authenticated`.
create or replace function pg_temp.create_table(
  table_name text,
  definition text,
  index_definition text default null
)
returns void
language plpgsql
as $$
begin
  if to_regclass(format('public.%I', table_name)) is not null then
    return;
  end if;
  execute format('create table public.%I (%s)', table_name, definition);
  execute format('alter table public.%I enable row level security', table_name);
  execute format('revoke all on public.%I from anon, authenticated', table_name);
  -- an existing dashboard has the same index under its own name
  if index_definition is not null then
    execute index_definition;
  end if;
end
$$;

do $tables$
begin
perform pg_temp.create_table('profiles', $definition$
  id uuid primary key references auth.users (id) on delete cascade,
  first_name varchar(100),
  last_name varchar(100),
  role varchar(50),
  slack_id varchar(255),
  slack_access_token text,
  slack_notification_preferences jsonb,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
$definition$,
  'create unique index profiles_slack_id_key on public.profiles (slack_id)
     where slack_id is not null');

perform pg_temp.create_table('clients', $definition$
  id uuid primary key default gen_random_uuid(),
  name varchar(255) not null,
  status varchar(50),
  contact_name varchar(255),
  contact_email varchar(255),
  created_at timestamptz default now()
$definition$);

perform pg_temp.create_table('requests', $definition$
  id uuid primary key default gen_random_uuid(),
  title varchar(255) not null,
  description text,
  client_id uuid references public.clients (id),
  request_type varchar(50) not null,
  status public.request_status default 'new_request',
  priority public.request_priority default 'medium',
  due_date timestamptz,
  created_by uuid references auth.users (id),
  assigned_to uuid references auth.users (id),
  metadata jsonb,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
$definition$);

perform pg_temp.create_table('assets', $definition$
  id uuid primary key default gen_random_uuid(),
  request_id uuid references public.requests (id) on delete cascade,
  name varchar(255),
  created_at timestamptz default now()
$definition$);

perform pg_temp.create_table('notification_config', $definition$
  id uuid primary key default gen_random_uuid(),
  entity_type varchar(50) not null,
  event_type varchar(50) not null,
  channel_id varchar(255),
  user_id uuid references auth.users (id),
  is_active boolean default true,
  template text,
  created_at timestamptz default now()
$definition$);

perform pg_temp.create_table('notification_queue', $definition$
  id uuid primary key default gen_random_uuid(),
  config_id uuid references public.notification_config (id),
  entity_id uuid not null,
  entity_type varchar(50) not null,
  event_data jsonb,
  is_processed boolean default false,
  attempts integer default 0,
  max_attempts integer default 5,
  next_attempt_at timestamptz default now(),
  last_error text,
  created_at timestamptz default now(),
  processed_at timestamptz
$definition$,
  'create index notification_queue_pending_idx
     on public.notification_queue (is_processed, next_attempt_at) where is_processed = false');

perform pg_temp.create_table('slack_connected_channels', $definition$
  id uuid primary key default gen_random_uuid(),
  request_type varchar(50),
  channel_id varchar(255) not null,
  channel_name varchar(255),
  notification_types jsonb,
  created_at timestamptz default now(),
  unique (request_type, channel_id)
$definition$);

perform pg_temp.create_table('platform_connections', $definition$
  id uuid primary key default gen_random_uuid(),
  platform varchar(50) not null,
  credentials jsonb,
  account_id varchar(255),
  account_name varchar(255),
  is_active boolean default true,
  last_synced_at timestamptz,
  sync_frequency integer default 1440,
  created_at timestamptz default now(),
  created_by uuid references auth.users (id)
$definition$);

perform pg_temp.create_table('performance_metrics', $definition$
  id uuid primary key default gen_random_uuid(),
  asset_id uuid references public.assets (id),
  request_id uuid references public.requests (id) on delete cascade,
  platform varchar(50),
  metric_type varchar(50),
  value numeric,
  date date,
  source varchar(50),
  source_detail jsonb,
  sync_id uuid,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
$definition$);

perform pg_temp.create_table('metric_sync_logs', $definition$
  id uuid primary key default gen_random_uuid(),
  platform_connection_id uuid references public.platform_connections (id),
  status varchar(50),
  start_time timestamptz,
  end_time timestamptz,
  metrics_created integer,
  metrics_updated integer,
  error_message text,
  details jsonb,
  created_at timestamptz default now()
$definition$);

perform pg_temp.create_table('activity_log', $definition$
  id uuid primary key default gen_random_uuid(),
  user_id uuid references auth.users (id),
  entity_type varchar(50) not null,
  entity_id uuid not null,
  action varchar(50) not null,
  details jsonb,
  created_at timestamptz default now()
$definition$,
  'create index activity_log_created_at_idx on public.activity_log (created_at)');

perform pg_temp.create_table('archived_activity_log', $definition$
  id uuid primary key,
  user_id uuid,
  entity_type varchar(50) not null,
  entity_id uuid not null,
  action varchar(50) not null,
  details jsonb,
  created_at timestamptz,
  archived_at timestamptz default now()
$definition$);

perform pg_temp.create_table('retention_policies', $definition$
  id uuid primary key default gen_random_uuid(),
  entity_type varchar(50) not null,
  active_retention_days integer not null,
  archive_retention_days integer not null,
  last_archived_at timestamptz,
  last_purged_at timestamptz,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
$definition$);
end
$tables$;

-- The server key has these rights on every existing dashboard; new projects no longer grant them
-- by default (https://supabase.com/changelog/45329).
grant usage on schema public to service_role;
grant select, insert, update, delete on
  public.profiles,
  public.clients,
  public.requests,
  public.assets,
  public.notification_config,
  public.notification_queue,
  public.slack_connected_channels,
  public.platform_connections,
  public.performance_metrics,
  public.metric_sync_logs,
  public.activity_log,
  public.archived_activity_log,
  public.retention_policies
to service_role;
