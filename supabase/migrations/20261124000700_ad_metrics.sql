-- Metrics, part 1: what the ad platforms reported, and what is needed to fetch it in turn.
--
--   ad_metrics                the ledger: one row per connection, ad and day, as reported
--   metric_ad_links           which requests an ad belongs to, as read from requests.metadata
--   metric_days               which days of a connection were read completely, and when
--   metric_connection_states  whose turn a connection is, until when; parked, or not before
--   metric_platform_pauses    platforms that asked all of us to wait
--   metric_backfills          ranges in the past that somebody asked for
--
-- performance_metrics, the dashboard's table, holds the figures derived from the ledger.

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Figures derived from the ledger are marked, so that their key can be unique whatever older
-- workers and people have entered for the same request and day.
do $$
begin
  if (
    select count(*) from pg_catalog.pg_attribute
     where attrelid = 'public.performance_metrics'::regclass and not attisdropped
       and attname in ('derived')
  ) < 1 then
    alter table public.performance_metrics add column if not exists derived boolean;
  end if;
end
$$;

comment on column public.performance_metrics.derived is
  'True where the workers derived the row from ad_metrics; null for every other row.';

do $$
begin
  if to_regclass('public.performance_metrics_derived_key') is null then
    create unique index performance_metrics_derived_key
      on public.performance_metrics (request_id, platform, metric_type, date)
      where derived;
  end if;
end
$$;

-- Rows of an earlier worker, which the first sync of their keys replaces.
do $$
begin
  if to_regclass('public.performance_metrics_older_api_rows_idx') is null then
    create index performance_metrics_older_api_rows_idx
      on public.performance_metrics (request_id, platform, date)
      where source = 'api_sync' and derived is not true;
  end if;
end
$$;

-- Serves the question which requests name an ad of a platform.
do $$
begin
  if to_regclass('public.requests_metadata_idx') is null then
    create index requests_metadata_idx
      on public.requests using gin (metadata);
  end if;
end
$$;

do $$
begin
  if to_regclass('public.metric_sync_logs_in_progress_idx') is null then
    create index metric_sync_logs_in_progress_idx
      on public.metric_sync_logs (platform_connection_id)
      where status = 'in_progress';
  end if;
end
$$;

do $$
begin
  if to_regclass('public.metric_sync_logs_start_time_idx') is null then
    create index metric_sync_logs_start_time_idx
      on public.metric_sync_logs (start_time);
  end if;
end
$$;

create table if not exists public.ad_metrics (
  connection_id uuid not null references public.platform_connections (id) on delete cascade,
  date date not null,
  ad_id text not null,
  ad_group_id text not null default '',
  platform varchar(50) not null,
  account_id text not null,
  ad_name text,
  impressions bigint,
  clicks bigint,
  spend numeric,
  reach bigint,
  currency text,
  time_zone text not null,
  sync_id uuid not null,
  is_pending boolean not null default true,
  is_gone boolean not null default false,
  derived_at timestamptz,
  read_at timestamptz not null,
  primary key (connection_id, date, ad_id, ad_group_id)
);

comment on table public.ad_metrics is
  'The ledger: what a platform reported for one ad of one connection on one day (in the '
  'account''s time zone). Only ads that a request names are kept.';
comment on column public.ad_metrics.ad_group_id is
  'Where one ad can run in several groups at once (Google Ads), each has a row; else empty.';
comment on column public.ad_metrics.spend is 'In major units of `currency`, as reported.';
comment on column public.ad_metrics.sync_id is
  'The sync (metric_sync_logs.id) that confirmed the row last.';
comment on column public.ad_metrics.is_pending is
  'The figures of its requests and day do not reflect the row yet.';
comment on column public.ad_metrics.is_gone is
  'A complete reading of the day no longer had it; deleted once the figures reflect that.';
comment on column public.ad_metrics.derived_at is
  'When figures first reflected the row; null until its window was read completely.';

do $$
begin
  if to_regclass('public.ad_metrics_ad_idx') is null then
    create index ad_metrics_ad_idx
      on public.ad_metrics (platform, ad_id, date);
  end if;
end
$$;
do $$
begin
  if to_regclass('public.ad_metrics_pending_idx') is null then
    create index ad_metrics_pending_idx
      on public.ad_metrics (connection_id, ad_id, date)
      where is_pending;
  end if;
end
$$;

create table if not exists public.metric_ad_links (
  platform varchar(50) not null,
  request_id uuid not null references public.requests (id) on delete cascade,
  ad_id text not null,
  is_current boolean not null default true,
  is_settled boolean not null,
  primary key (platform, request_id, ad_id)
);

comment on table public.metric_ad_links is
  'The ads that requests.metadata names, one row per platform, request and ad.';
comment on column public.metric_ad_links.is_current is
  'False once the request names the ad no more; deleted when its figures reflect that.';
comment on column public.metric_ad_links.is_settled is
  'Whether the request''s figures reflect all that the ledger has of the ad.';

do $$
begin
  if to_regclass('public.metric_ad_links_ad_idx') is null then
    create index metric_ad_links_ad_idx
      on public.metric_ad_links (platform, ad_id);
  end if;
end
$$;
do $$
begin
  if to_regclass('public.metric_ad_links_request_idx') is null then
    create index metric_ad_links_request_idx
      on public.metric_ad_links (request_id);
  end if;
end
$$;
do $$
begin
  if to_regclass('public.metric_ad_links_unsettled_idx') is null then
    create index metric_ad_links_unsettled_idx
      on public.metric_ad_links (platform, request_id)
      where not is_settled;
  end if;
end
$$;

create table if not exists public.metric_days (
  connection_id uuid not null references public.platform_connections (id) on delete cascade,
  date date not null,
  read_at timestamptz not null,
  sync_id uuid not null,
  primary key (connection_id, date)
);

comment on table public.metric_days is
  'Days of a connection that were read completely: until read_at the figures are as reported.';

create table if not exists public.metric_connection_states (
  connection_id uuid primary key references public.platform_connections (id) on delete cascade,
  token uuid,
  leased_until timestamptz,
  sync_id uuid,
  attempted_at timestamptz,
  round_started_at timestamptz,
  window_days integer,
  failures integer not null default 0,
  not_before timestamptz,
  tried_credentials text,
  parked_at timestamptz,
  parked_reason text,
  parked_credentials text
);

comment on table public.metric_connection_states is
  'How far the syncs of a connection are, and who may work on it now.';
comment on column public.metric_connection_states.token is
  'The fencing token: the plan''s while a message is under way, then the sync''s own. Nothing '
  'is written for a connection with any other.';
comment on column public.metric_connection_states.round_started_at is
  'Start of the first of the syncs that together read the range; null after a success.';
comment on column public.metric_connection_states.window_days is
  'How many days are read at once; learnt from the account''s size and speed.';
comment on column public.metric_connection_states.tried_credentials is
  'Digest of the credentials that the newest sync was given.';
comment on column public.metric_connection_states.parked_credentials is
  'Digest of the credentials that were refused; the connection is tried again with others.';

create table if not exists public.metric_platform_pauses (
  platform varchar(50) primary key,
  paused_until timestamptz not null,
  reason text not null
);

comment on table public.metric_platform_pauses is
  'Platforms that limit our app as a whole: none of their connections is planned until then.';

create table if not exists public.metric_backfills (
  connection_id uuid not null references public.platform_connections (id) on delete cascade,
  since date not null,
  until date not null,
  started_at timestamptz not null,
  finished_at timestamptz,
  primary key (connection_id, since, until)
);

comment on table public.metric_backfills is
  'Ranges that somebody asked for by command; one without finished_at goes on where it stopped.';

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'ad_metrics', 'metric_ad_links', 'metric_days', 'metric_connection_states',
    'metric_platform_pauses', 'metric_backfills'
  ]
  loop
    if not (select relrowsecurity from pg_catalog.pg_class
             where oid = format('public.%I', brought)::regclass) then
      execute format('alter table public.%I enable row level security', brought);
    end if;
    execute format('revoke all on public.%I from public, anon, authenticated', brought);
  end loop;
end
$$;

grant select, insert, update, delete on public.ad_metrics, public.metric_ad_links to service_role;
grant select, insert, update on
  public.metric_days,
  public.metric_connection_states,
  public.metric_platform_pauses,
  public.metric_backfills
to service_role;

notify pgrst, 'reload schema';
