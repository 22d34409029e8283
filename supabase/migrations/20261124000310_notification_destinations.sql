-- Notifications, part 2: what the workers store about each destination, its threads, and all of
-- Slack.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

create table if not exists public.slack_destinations (
  destination text primary key,
  conversation_id text,
  last_post_at timestamptz,
  not_before timestamptz,
  parked_at timestamptz,
  park_code text,
  park_reason text,
  probes integer not null default 0,
  probe_at timestamptz,
  paused_since timestamptz,
  paused_for interval not null default '0',
  paused_from timestamptz,
  paused_to timestamptz
);

comment on table public.slack_destinations is
  'What is kept about a destination between runs: the opened direct message, the pace, the wait '
  'that Slack asked for, and whether it is parked: Slack refuses everything posted there.';
comment on column public.slack_destinations.probe_at is
  'When one message is next tried while it is parked; a successful post ends the park.';
comment on column public.slack_destinations.paused_since is
  'When its clock was paused, by the clock of all delivery; null while it runs.';
comment on column public.slack_destinations.paused_for is
  'How long its clock was paused in total, before paused_since; paused_from and paused_to are the '
  'last time.';

do $$
begin
  if to_regclass('public.slack_destinations_parked_idx') is null then
    create index slack_destinations_parked_idx
      on public.slack_destinations (probe_at)
      where parked_at is not null;
  end if;
end
$$;

create table if not exists public.slack_threads (
  destination text not null,
  request_id uuid not null,
  parent_ts text not null,
  last_post_at timestamptz not null,
  constraint slack_threads_pkey primary key (destination, request_id)
);

comment on table public.slack_threads is
  'Where threads are wanted: the thread for the next message about a request.';
comment on column public.slack_threads.request_id is
  'The dashboard''s request, which may no longer exist.';
comment on column public.slack_threads.parent_ts is
  'The newest message about it that is in the channel itself and began a thread.';

do $$
begin
  if to_regclass('public.slack_threads_last_post_idx') is null then
    create index slack_threads_last_post_idx on public.slack_threads (last_post_at);
  end if;
end
$$;

create table if not exists public.slack_workspace (
  only_one boolean primary key default true check (only_one),
  stopped_at timestamptz,
  stop_code text,
  stop_reason text,
  paused_for interval not null default '0',
  paused_from timestamptz,
  paused_to timestamptz
);

comment on table public.slack_workspace is
  'Whether all delivery is stopped, because Slack refuses the token, and the clock by which '
  'notifications age. One row.';

do $$
declare
  table_name text;
begin
  foreach table_name in array array[
    'slack_destinations', 'slack_threads', 'slack_workspace'
  ]
  loop
    if not (select relrowsecurity from pg_catalog.pg_class
             where oid = format('public.%I', table_name)::regclass) then
      execute format('alter table public.%I enable row level security', table_name);
    end if;
    execute format('revoke all on public.%I from public, anon, authenticated', table_name);
  end loop;
end
$$;
grant select, insert, update, delete on public.slack_threads to service_role;
grant select, insert, update on public.slack_destinations, public.slack_workspace to service_role;
