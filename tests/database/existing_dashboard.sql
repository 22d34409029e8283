-- An installation of the dashboard as it stood before the workers: its tables with rows of
-- every age and state, its two functions in their first form, its access rules.

create type public.request_status as enum
  ('new_request', 'in_progress', 'needs_review', 'needs_edit', 'completed');
create type public.request_priority as enum ('low', 'medium', 'high', 'urgent');

-- the defaults of projects made before 2026: everything open to every role
alter default privileges in schema public
  grant all on tables to anon, authenticated, service_role;

create table public.profiles (
  id uuid primary key references auth.users (id) on delete cascade,
  first_name varchar(100),
  last_name varchar(100),
  role varchar(50),
  slack_id varchar(255),
  slack_access_token text,
  slack_notification_preferences jsonb,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);
create unique index profiles_slack_id_unique on public.profiles (slack_id)
  where slack_id is not null;

create table public.clients (
  id uuid primary key default gen_random_uuid(),
  name varchar(255) not null,
  status varchar(50) default 'active',
  email varchar(255),
  created_at timestamptz default now()
);

create table public.requests (
  id uuid primary key default gen_random_uuid(),
  title varchar(255) not null,
  description text,
  client_id uuid references public.clients (id),
  request_type varchar(50) not null,
  status public.request_status default 'new_request',
  priority public.request_priority default 'medium',
  due_date date,
  created_by uuid references auth.users (id),
  assigned_to uuid references auth.users (id),
  metadata jsonb,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.assets (
  id uuid primary key default gen_random_uuid(),
  request_id uuid references public.requests (id) on delete cascade,
  file_name varchar(255),
  created_at timestamptz default now()
);

create table public.comments (
  id uuid primary key default gen_random_uuid(),
  request_id uuid references public.requests (id) on delete cascade,
  content text,
  created_at timestamptz default now()
);

create table public.project_tasks (
  id uuid primary key default gen_random_uuid(),
  request_id uuid references public.requests (id) on delete cascade,
  title varchar(255),
  created_at timestamptz default now()
);

create table public.notification_config (
  id uuid primary key default gen_random_uuid(),
  entity_type varchar(50) not null,
  event_type varchar(50) not null,
  channel_id varchar(255),
  user_id uuid references auth.users (id),
  is_active boolean default true,
  template text,
  created_at timestamptz default now()
);

create table public.notification_queue (
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
);
create index idx_notification_queue_pending
  on public.notification_queue (is_processed, next_attempt_at) where is_processed = false;

create table public.slack_connected_channels (
  id uuid primary key default gen_random_uuid(),
  request_type varchar(50),
  channel_id varchar(255) not null,
  channel_name varchar(255),
  notification_types jsonb,
  created_at timestamptz default now(),
  unique (request_type, channel_id)
);

create table public.platform_connections (
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
);

create table public.performance_metrics (
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
);

create table public.metric_sync_logs (
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
);

create table public.activity_log (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references auth.users (id),
  entity_type varchar(50) not null,
  entity_id uuid not null,
  action varchar(50) not null,
  details jsonb,
  created_at timestamptz default now()
);
create index idx_activity_log_created_at on public.activity_log (created_at);

create table public.archived_activity_log (
  id uuid primary key,
  user_id uuid,
  entity_type varchar(50) not null,
  entity_id uuid not null,
  action varchar(50) not null,
  details jsonb,
  created_at timestamptz,
  archived_at timestamptz default now()
);

create table public.retention_policies (
  id uuid primary key default gen_random_uuid(),
  entity_type varchar(50) not null,
  active_retention_days integer not null,
  archive_retention_days integer not null,
  last_archived_at timestamptz,
  last_purged_at timestamptz,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create function public.lock_and_get_notifications(batch_size integer)
returns table (
  id uuid, config_id uuid, entity_id uuid, entity_type varchar, event_data jsonb, attempts integer
)
language plpgsql
security definer
as $$
begin
  return query
    select n.id, n.config_id, n.entity_id, n.entity_type, n.event_data, n.attempts
      from public.notification_queue n
     where n.is_processed = false
       and n.attempts < n.max_attempts
       and n.next_attempt_at <= now()
     order by n.created_at
     limit batch_size
       for update skip locked;
end
$$;

create function public.archive_old_activities(days_to_keep integer)
returns integer
language plpgsql
security definer
as $$
declare
  archived_count integer;
begin
  insert into public.archived_activity_log
    (id, user_id, entity_type, entity_id, action, details, created_at)
  select id, user_id, entity_type, entity_id, action, details, created_at
    from public.activity_log
   where created_at < now() - (days_to_keep || ' days')::interval;
  get diagnostics archived_count = row_count;
  delete from public.activity_log
   where created_at < now() - (days_to_keep || ' days')::interval;
  return archived_count;
end
$$;

create function public.queue_status_change()
returns trigger
language plpgsql
security definer
as $$
begin
  if new.status is distinct from old.status then
    insert into public.notification_queue (config_id, entity_id, entity_type, event_data)
    select config.id, new.id, 'request',
           jsonb_build_object(
             'old_status', old.status, 'new_status', new.status, 'request_id', new.id,
             'request_title', new.title, 'changed_by', new.assigned_to,
             'client_id', new.client_id
           )
      from public.notification_config config
     where config.entity_type = 'request'
       and config.event_type = 'status_change'
       and config.is_active;
  end if;
  return new;
end
$$;
create trigger request_status_change after update on public.requests
  for each row execute function public.queue_status_change();

alter table public.profiles enable row level security;
alter table public.requests enable row level security;
alter table public.assets enable row level security;
alter table public.comments enable row level security;
alter table public.project_tasks enable row level security;
create policy "Members read profiles" on public.profiles for select to authenticated using (true);
create policy "Members work on requests" on public.requests to authenticated
  using (true) with check (true);
create policy "Members read assets" on public.assets for select to authenticated using (true);

insert into auth.users (id) values
  ('a0000000-0000-4000-8000-000000000001'),
  ('a0000000-0000-4000-8000-000000000002');
insert into public.profiles (id, first_name, last_name, role, slack_id) values
  ('a0000000-0000-4000-8000-000000000001', 'Ava', 'Lindqvist', 'admin', 'U0AVA00000'),
  ('a0000000-0000-4000-8000-000000000002', 'Ben', 'Okafor', 'member', null);
insert into public.clients (id, name) values
  ('c0000000-0000-4000-8000-000000000001', 'Nordlys Outdoor');
insert into public.requests (id, title, client_id, request_type, status, metadata) values
  ('e0000000-0000-4000-8000-000000000001', 'Spring launch',
   'c0000000-0000-4000-8000-000000000001', 'creative', 'in_progress',
   '{"meta_ad_id": "23851000000000001"}'),
  ('e0000000-0000-4000-8000-000000000002', 'Retargeting Q4', null, 'performance',
   'new_request', null);

insert into public.notification_config (id, entity_type, event_type, template) values
  ('f0000000-0000-4000-8000-000000000001', 'request', 'status_change',
   '{{request_title}}: {{old_status}} to {{new_status}}'),
  ('f0000000-0000-4000-8000-000000000002', 'comment', 'comment_added',
   'New comment on {{request_title}}'),
  ('f0000000-0000-4000-8000-000000000003', 'asset', 'asset_uploaded', null);

insert into public.notification_queue
  (id, config_id, entity_id, entity_type, event_data, is_processed, attempts, max_attempts,
   next_attempt_at, last_error, created_at, processed_at)
values
  -- processed
  ('d0000000-0000-4000-8000-000000000001', 'f0000000-0000-4000-8000-000000000001',
   'e0000000-0000-4000-8000-000000000001', 'request', '{"request_title": "Spring launch"}',
   true, 1, 5, now() - interval '40 days', null, now() - interval '40 days',
   now() - interval '40 days'),
  -- failed for good
  ('d0000000-0000-4000-8000-000000000002', 'f0000000-0000-4000-8000-000000000001',
   'e0000000-0000-4000-8000-000000000001', 'request', '{}',
   false, 5, 5, now() - interval '35 days', 'channel_not_found', now() - interval '35 days', null),
  -- waiting since last month
  ('d0000000-0000-4000-8000-000000000003', 'f0000000-0000-4000-8000-000000000001',
   'e0000000-0000-4000-8000-000000000001', 'request', '{"request_title": "Spring launch"}',
   false, 2, 5, now() - interval '31 days', 'timeout', now() - interval '31 days', null),
  -- waiting since a minute ago
  ('d0000000-0000-4000-8000-000000000004', 'f0000000-0000-4000-8000-000000000001',
   'e0000000-0000-4000-8000-000000000001', 'request',
   '{"request_title": "Spring launch", "request_id": "e0000000-0000-4000-8000-000000000001"}',
   false, 0, 5, now() - interval '1 minute', null, now() - interval '1 minute', null),
  -- of no config
  ('d0000000-0000-4000-8000-000000000005', null,
   'e0000000-0000-4000-8000-000000000001', 'request', '{}',
   false, 0, 5, now() - interval '2 minutes', null, now() - interval '2 minutes', null),
  -- without data, without a birthday
  ('d0000000-0000-4000-8000-000000000006', 'f0000000-0000-4000-8000-000000000002',
   'e0000000-0000-4000-8000-000000000001', 'comment', null,
   false, 0, 5, now() - interval '3 minutes', null, null, null),
  -- without a maximum, a due time, a processed flag or a count
  ('d0000000-0000-4000-8000-000000000007', 'f0000000-0000-4000-8000-000000000003',
   'e0000000-0000-4000-8000-000000000001', 'asset', '[1, 2]',
   null, null, null, null, null, now() - interval '4 minutes', null);

insert into public.slack_connected_channels (request_type, channel_id, notification_types) values
  ('creative', 'C0CREATIVE0', '["status_change"]');

insert into public.platform_connections (id, platform, credentials, account_id) values
  ('b0000000-0000-4000-8000-000000000001', 'meta', '{"access_token": "EAA-test"}', 'act_1');
insert into public.performance_metrics
  (request_id, platform, metric_type, value, date, source)
values
  ('e0000000-0000-4000-8000-000000000001', 'meta', 'clicks', 5, '2026-01-01', 'api_sync'),
  ('e0000000-0000-4000-8000-000000000001', 'meta', 'clicks', 7, '2026-01-01', 'api_sync'),
  ('e0000000-0000-4000-8000-000000000001', 'meta', 'clicks', 9, '2026-01-01', 'manual_entry'),
  (null, 'meta', 'clicks', 1, '2026-01-01', 'api_sync');
insert into public.metric_sync_logs (platform_connection_id, status, start_time) values
  ('b0000000-0000-4000-8000-000000000001', 'in_progress', now() - interval '9 days');
insert into public.activity_log (entity_type, entity_id, action, created_at) values
  ('request', 'e0000000-0000-4000-8000-000000000001', 'created', now() - interval '400 days'),
  ('request', 'e0000000-0000-4000-8000-000000000001', 'updated', now()),
  ('request', 'e0000000-0000-4000-8000-000000000001', 'updated', null);
insert into public.archived_activity_log (id, entity_type, entity_id, action, created_at) values
  (gen_random_uuid(), 'request', 'e0000000-0000-4000-8000-000000000001', 'created',
   now() - interval '500 days');
insert into public.retention_policies
  (entity_type, active_retention_days, archive_retention_days)
values ('activity_log', 90, 365), ('notification_queue', 30, 90);
