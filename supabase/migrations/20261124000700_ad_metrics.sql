-- Metrics, part 1: what the ad platforms reported, and what is needed to fetch it in turn.
--
--   ad_metrics                the ledger: one row per account, day, campaign, ad group and ad
--   metric_names              what campaigns, ad groups and ads are called now
--   metric_unnamed_ads        what no request names: a row for each ad of the look-back
--   metric_days               when a day of an account was read last, and by whom
--   metric_spend_changes      how the spend of a request's day was restated
--   metric_named_ads          what requests name or once named, ads or all of a campaign
--   metric_ad_links           which requests name what, according to requests.metadata
--   metric_unsettled_requests requests whose ads changed, until their figures reflect that
--   metric_staged_rows        rows of a day that is too large for one call
--   metric_ledger             the first day of which the ledger still has all rows, after retention
--
-- An account is identified by its platform's main name and its id in one form (metric_platform,
-- metric_account_id), whichever connections lead to it and however these spell it.
-- performance_metrics, the dashboard's table, holds the figures derived from the ledger.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Figures derived from the ledger are marked, so that their key can be unique regardless of what
-- older workers and people have entered for the same request and day.
do $$
begin
  if (
    select count(*) from pg_catalog.pg_attribute
     where attrelid = 'public.performance_metrics'::regclass and not attisdropped
       and attname in ('derived', 'is_complete')
  ) < 2 then
    alter table public.performance_metrics
      add column if not exists derived boolean,
      add column if not exists is_complete boolean;
  end if;
end
$$;

comment on column public.performance_metrics.derived is
  'True where the workers derived the row from ad_metrics; null for every other row.';
comment on column public.performance_metrics.is_complete is
  'Of a derived row: whether the day was over, in the account''s time zone, when it was read.';

do $$
begin
  if to_regclass('public.performance_metrics_derived_key') is null then
    create unique index performance_metrics_derived_key
      on public.performance_metrics (request_id, platform, metric_type, date)
      where derived;
  end if;
end
$$;

-- Rows of an older worker, which the first sync of their keys replaces.
do $$
begin
  if to_regclass('public.performance_metrics_older_api_rows_idx') is null then
    create index performance_metrics_older_api_rows_idx
      on public.performance_metrics (request_id, platform, date)
      where source = 'api_sync' and derived is not true;
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

-- Ids are compared by their bytes, which suits ids and takes a fraction of the time.
create table if not exists public.ad_metrics (
  platform text collate "C" not null,
  account_id text collate "C" not null,
  date date not null,
  campaign_id text collate "C" not null default '',
  ad_group_id text collate "C" not null default '',
  ad_id text collate "C" not null default '',
  kind text not null default 'ad',
  measures jsonb not null,
  currency text,
  time_zone text not null,
  is_complete boolean not null default true,
  attribution text,
  sync_id uuid not null,
  -- No index begins with the platform, which is not selective: with stale statistics the planner
  -- would use it instead of one that begins with the ad.
  primary key (account_id, platform, date, campaign_id, ad_group_id, ad_id)
);

comment on table public.ad_metrics is
  'The ledger: what a platform reported for one ad of one account on one day (in the account''s '
  'time zone). Only what a request names, or once named, is stored.';
comment on column public.ad_metrics.campaign_id is 'Empty where there is none, like the other ids.';
comment on column public.ad_metrics.kind is
  'What the row is about: ad, or reservation_ad; asset_group, whose id stands in ad_group_id; or '
  'campaign: what it has beyond the ads and asset groups that are reported.';
comment on column public.ad_metrics.measures is
  'Numbers by name (impressions, clicks, spend, reach), as reported; what was not reported is '
  'absent. Money is in major units of `currency`.';
comment on column public.ad_metrics.is_complete is
  'Whether the day was over, in the account''s time zone, when it was read.';
comment on column public.ad_metrics.attribution is
  'The attribution setting that its conversions were counted by; null where none were asked for.';
comment on column public.ad_metrics.sync_id is
  'The sync (metric_sync_logs.id) that changed the row last.';

do $$
begin
  if to_regclass('public.ad_metrics_ad_idx') is null then
    create index ad_metrics_ad_idx
      on public.ad_metrics (ad_id, platform, date);
  end if;
end
$$;
do $$
begin
  if to_regclass('public.ad_metrics_ad_group_idx') is null then
    create index ad_metrics_ad_group_idx
      on public.ad_metrics (ad_group_id, platform, date);
  end if;
end
$$;
do $$
begin
  if to_regclass('public.ad_metrics_campaign_idx') is null then
    create index ad_metrics_campaign_idx
      on public.ad_metrics (campaign_id, platform, date);
  end if;
end
$$;

create table if not exists public.metric_names (
  platform text collate "C" not null,
  account_id text collate "C" not null,
  level text collate "C" not null,
  id text collate "C" not null,
  name text,
  primary key (platform, account_id, level, id)
);

comment on table public.metric_names is
  'The campaigns, ad groups (asset_group, where one stands in their place) and ads of the '
  'ledger, with the names that they had when they were last read.';

create table if not exists public.metric_unnamed_ads (
  platform text collate "C" not null,
  account_id text collate "C" not null,
  campaign_id text collate "C" not null default '',
  ad_group_id text collate "C" not null default '',
  ad_id text collate "C" not null default '',
  kind text not null default 'ad',
  campaign_name text,
  ad_group_name text,
  ad_name text,
  spend numeric,
  currency text,
  first_date date not null,
  last_date date not null,
  round_started_at timestamptz not null,
  primary key (platform, account_id, campaign_id, ad_group_id, ad_id)
);

comment on table public.metric_unnamed_ads is
  'What was reported within the look-back although no request names it: a row for each ad in each '
  'of its ad groups, and for each asset group or campaign without ads.';
comment on column public.metric_unnamed_ads.round_started_at is
  'The reading of the look-back in which it was found.';

create table if not exists public.metric_days (
  platform text collate "C" not null,
  account_id text collate "C" not null,
  date date not null,
  read_at timestamptz,
  sync_id uuid,
  connection_id uuid,
  rows_read integer,
  rows_named integer,
  spend_read numeric,
  spend_named numeric,
  spend_total numeric,
  impressions_read numeric,
  clicks_read numeric,
  digest text,
  failures integer not null default 0,
  try_after timestamptz,
  problem text,
  primary key (platform, account_id, date)
);

comment on table public.metric_days is
  'Days of an account: as of when (read_at) the ledger has them completely, and by which sync '
  'and connection; or why a day could not be read.';
comment on column public.metric_days.rows_named is
  'The part of rows_read whose ads a request names or once named, as spend_named is of spend_read.';
comment on column public.metric_days.spend_total is
  'What the platform reports for the account as a whole; null where it was not asked or did not '
  'say.';
comment on column public.metric_days.impressions_read is
  'The sum over rows_read, like clicks_read; null where no row has it.';
comment on column public.metric_days.digest is
  'A digest of all that was stored for the day: a day that has not changed is not sent again.';
comment on column public.metric_days.failures is
  'How often it could not be read since it was last read; `problem` says why, and it is not '
  'tried again before try_after.';

do $$
begin
  if to_regclass('public.metric_days_left_out_idx') is null then
    create index metric_days_left_out_idx
      on public.metric_days (account_id, platform, date)
      where failures > 0;
  end if;
end
$$;

create table if not exists public.metric_spend_changes (
  platform text collate "C" not null,
  account_id text collate "C" not null,
  request_id uuid not null references public.requests (id) on delete cascade,
  date date not null,
  number integer not null,
  sync_id uuid not null,
  old_spend numeric not null,
  new_spend numeric not null,
  changed_at timestamptz not null,
  primary key (platform, account_id, date, request_id, number)
);

comment on table public.metric_spend_changes is
  'The history of restatements, per account, request and day: old_spend of number 1 is the first '
  'value read. From number 30 on, only the latest change is kept.';

do $$
begin
  if to_regclass('public.metric_spend_changes_request_idx') is null then
    create index metric_spend_changes_request_idx
      on public.metric_spend_changes (request_id, date);
  end if;
end
$$;

create table if not exists public.metric_named_ads (
  platform text collate "C" not null,
  level text collate "C" not null,
  id text collate "C" not null,
  named_at timestamptz not null,
  primary key (platform, level, id)
);

comment on table public.metric_named_ads is
  'What is stored: the ads, ad groups, asset groups and campaigns that a request names, or once '
  'named, so that one that is named again has no gap.';

create table if not exists public.metric_ad_links (
  platform text collate "C" not null,
  request_id uuid not null references public.requests (id) on delete cascade,
  level text collate "C" not null,
  id text collate "C" not null,
  is_current boolean not null default true,
  -- the request first, as in ad_metrics
  primary key (request_id, platform, level, id)
);

comment on table public.metric_ad_links is
  'What requests.metadata names: a row for each id of an ad, an ad group, an asset group or a '
  'campaign, which stands for all of its ads.';
comment on column public.metric_ad_links.is_current is
  'False once the request no longer names it; deleted when its figures reflect that.';

do $$
begin
  if to_regclass('public.metric_ad_links_ad_idx') is null then
    create index metric_ad_links_ad_idx
      on public.metric_ad_links (id, level, platform);
  end if;
end
$$;

create table if not exists public.metric_unsettled_requests (
  platform text collate "C" not null,
  request_id uuid not null references public.requests (id) on delete cascade,
  before date not null default 'infinity',
  primary key (platform, request_id)
);

comment on table public.metric_unsettled_requests is
  'Requests whose ads changed: their figures are derived again from the newest day back; those '
  'from `before` on are done.';

-- Losing it costs nothing: the next sync stages the rows again.
create unlogged table if not exists public.metric_staged_rows (
  token uuid not null,
  part integer not null,
  rows jsonb not null,
  primary key (token, part)
);

comment on table public.metric_staged_rows is
  'Rows of a day that is too large for one call, until all of them are there.';

create table if not exists public.metric_ledger (
  is_one boolean primary key default true check (is_one),
  whole_from date not null
);

comment on table public.metric_ledger is
  'Retention has removed rows of earlier days from the ledger: figures of such days stay as they '
  'are, unless the day is read again.';

do $$
declare
  table_name text;
begin
  foreach table_name in array array[
    'ad_metrics', 'metric_names', 'metric_unnamed_ads', 'metric_days', 'metric_spend_changes',
    'metric_named_ads', 'metric_ad_links', 'metric_unsettled_requests', 'metric_staged_rows',
    'metric_ledger'
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

grant select, insert on public.metric_named_ads to service_role;
grant select, insert, update on public.metric_names, public.metric_ledger to service_role;
grant select, insert, update, delete on
  public.ad_metrics,
  public.metric_unnamed_ads,
  public.metric_days,
  public.metric_spend_changes,
  public.metric_ad_links,
  public.metric_unsettled_requests,
  public.metric_staged_rows
to service_role;

notify pgrst, 'reload schema';
