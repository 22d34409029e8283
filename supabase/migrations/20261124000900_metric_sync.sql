-- Metrics, part 3: from a platform's rows to the dashboard's figures.
--
--   load_ad_links         which ads are ours, after reading requests.metadata anew
--   store_ad_metrics      rows of a window into the ledger, as they come
--   finish_metric_window  a window read completely: its figures, in bounded pieces
--   settle_ad_links       figures of requests whose ads changed, over the whole ledger
--
-- What writes for a connection takes the sync's token; it does nothing and returns null once
-- somebody else has the connection.
--
-- All four are planned anew at each call: in a connection that is kept open, a plan from when
-- the tables were empty would read them row by row while one sync fills them.

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The ids of the ads that requests name under `mapping_key`, in order, at most `most` after
-- `after`. With `after` null the links are brought up to date first.
create or replace function public.load_ad_links(
  platform text,
  mapping_key text,
  after text default null,
  most integer default 20000,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
begin
  if load_ad_links.after is null then
    perform public.refresh_ad_links(load_ad_links.platform, load_ad_links.mapping_key);
  end if;
  return coalesce(
    (
      select jsonb_agg(page.ad_id order by page.ad_id)
        from (
          select distinct link.ad_id
            from public.metric_ad_links link
           where link.platform = load_ad_links.platform
             and link.is_current
             and (load_ad_links.after is null or link.ad_id > load_ad_links.after)
           order by link.ad_id
           limit load_ad_links.most
        ) page
    ),
    '[]'
  );
end
$$;

-- The ads that requests.metadata names under a key. A value is a string, a number or a list of
-- them.
create or replace function public.named_ads(mapping_key text)
returns table (request_id uuid, ad_id text)
language sql
stable
set search_path = ''
as $$
  select distinct request.id, btrim(named.value #>> '{}')
    from public.requests request
   cross join lateral jsonb_array_elements(
           case jsonb_typeof(request.metadata -> named_ads.mapping_key)
             when 'array' then request.metadata -> named_ads.mapping_key
             else jsonb_build_array(request.metadata -> named_ads.mapping_key)
           end
         ) named
   where request.metadata ? named_ads.mapping_key
     and jsonb_typeof(named.value) in ('string', 'number')
     and btrim(named.value #>> '{}') <> '';
$$;

-- What metric_ad_links lacks (is_named) and what it has too much, as requests.metadata is now.
create or replace function public.changed_ad_links(platform text, mapping_key text)
returns table (request_id uuid, ad_id text, is_named boolean)
language sql
stable
set search_path = ''
as $$
  with named as materialized (
    select * from public.named_ads(changed_ad_links.mapping_key)
  ),
  known as materialized (
    select link.request_id, link.ad_id
      from public.metric_ad_links link
     where link.platform = changed_ad_links.platform and link.is_current
  )
  select arrived.*, true from (select * from named except select * from known) arrived
  union all
  select departed.*, false from (select * from known except select * from named) departed;
$$;

-- Makes metric_ad_links what requests.metadata says now. What the ledger already has of a new
-- or departed ad still has to be settled.
create or replace function public.refresh_ad_links(platform text, mapping_key text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- mostly nothing has changed: then no sync waits for another, and no row is touched
  if not exists (select from public.changed_ad_links(platform, mapping_key)) then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('refresh_ad_links ' || platform, 0));

  insert into public.metric_ad_links as link (platform, request_id, ad_id, is_settled)
  select refresh_ad_links.platform, changed.request_id, changed.ad_id,
         not exists (
           select from public.ad_metrics fact
            where fact.platform = refresh_ad_links.platform and fact.ad_id = changed.ad_id
           offset 0 -- looked up ad by ad: the ledger is never read as a whole
         )
    from public.changed_ad_links(platform, mapping_key) changed
   where changed.is_named
   order by changed.request_id, changed.ad_id
  on conflict on constraint metric_ad_links_pkey do update
    set is_current = true, is_settled = false
    where not link.is_current;

  with departed as (
    select link.request_id, link.ad_id
      from public.changed_ad_links(platform, mapping_key) changed
      join public.metric_ad_links link
        on link.platform = refresh_ad_links.platform
       and link.request_id = changed.request_id
       and link.ad_id = changed.ad_id
     where not changed.is_named
     order by link.request_id, link.ad_id
       for update of link
  )
  update public.metric_ad_links link
     set is_current = false, is_settled = false
    from departed
   where link.platform = refresh_ad_links.platform
     and link.request_id = departed.request_id
     and link.ad_id = departed.ad_id;
end
$$;

-- Puts rows as reported into the ledger; returns how many. `account` is
-- {"platform", "account_id", "currency", "time_zone"}. The figures follow once the window is
-- complete, so that a request never shows half of its ads.
create or replace function public.store_ad_metrics(
  connection_id uuid,
  token uuid,
  account jsonb,
  rows jsonb,
  lease interval,
  as_of timestamptz default now()
)
returns integer
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  sync constant uuid := public.hold_connection(connection_id, token, lease, as_of);
  stored integer;
begin
  if sync is null then
    return null;
  end if;
  insert into public.ad_metrics as held (
    connection_id, date, ad_id, ad_group_id, platform, account_id, ad_name,
    impressions, clicks, spend, reach, currency, time_zone, sync_id, read_at
  )
  select store_ad_metrics.connection_id, reported.date, reported.ad_id, reported.ad_group_id,
         account ->> 'platform', account ->> 'account_id', reported.ad_name,
         reported.impressions, reported.clicks, reported.spend, reported.reach,
         coalesce(reported.currency, account ->> 'currency'), account ->> 'time_zone',
         sync, as_of
    from jsonb_to_recordset(rows) as reported (
           date date, ad_id text, ad_group_id text, ad_name text,
           impressions bigint, clicks bigint, spend numeric, reach bigint, currency text
         )
  on conflict on constraint ad_metrics_pkey do update
    set ad_name = excluded.ad_name,
        platform = excluded.platform,
        account_id = excluded.account_id,
        impressions = excluded.impressions,
        clicks = excluded.clicks,
        spend = excluded.spend,
        reach = excluded.reach,
        currency = excluded.currency,
        time_zone = excluded.time_zone,
        sync_id = excluded.sync_id,
        read_at = excluded.read_at,
        is_gone = false,
        is_pending = held.is_pending or held.is_gone or (
          held.ad_name, held.platform, held.account_id, held.impressions, held.clicks, held.spend,
          held.reach, held.currency, held.time_zone
        ) is distinct from (
          excluded.ad_name, excluded.platform, excluded.account_id, excluded.impressions,
          excluded.clicks, excluded.spend, excluded.reach, excluded.currency, excluded.time_zone
        );
  get diagnostics stored = row_count;
  return stored;
end
$$;

-- One step after a window was read completely, over at most `most` ledger rows. Returns
--   {"is_finished", "created", "updated", "deleted", "mixed_currency_days"}
-- and is to be called until is_finished; after that the days count as read.
create or replace function public.finish_metric_window(
  connection_id uuid,
  token uuid,
  platform text,
  since date,
  until date,
  most integer,
  lease interval,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  sync constant uuid := public.hold_connection(connection_id, token, lease, as_of);
  pending_ads text[];
  pending_dates date[];
  requests uuid[];
  dates date[];
  counts jsonb;
  is_finished boolean;
begin
  if sync is null then
    return null;
  end if;
  update public.ad_metrics fact
     set is_gone = true, is_pending = true
   where fact.connection_id = finish_metric_window.connection_id
     and fact.date between since and until
     and fact.sync_id <> sync
     and not fact.is_gone;

  select array_agg(pending.ad_id), array_agg(pending.date)
    into pending_ads, pending_dates
    from (
      select fact.ad_id, fact.date
        from public.ad_metrics fact
       where fact.connection_id = finish_metric_window.connection_id
         and fact.is_pending
         and fact.date between since and until
       order by fact.ad_id, fact.date
       limit most
    ) pending;

  select array_agg(figure.request_id), array_agg(figure.date)
    into requests, dates
    from (
      select distinct link.request_id, pending.date
        from unnest(pending_ads, pending_dates) as pending (ad_id, date)
        join public.metric_ad_links link
          on link.platform = finish_metric_window.platform
         and link.ad_id = pending.ad_id
         and link.is_current
    ) figure;
  counts := public.derive_metrics(
    finish_metric_window.platform, requests, dates, connection_id, sync, as_of
  );

  -- the window and is_pending say nothing new, but keep all other days from being looked at
  delete from public.ad_metrics fact
   using unnest(pending_ads, pending_dates) as done (ad_id, date)
   where fact.connection_id = finish_metric_window.connection_id
     and fact.date between since and until
     and fact.is_pending
     and fact.date = done.date
     and fact.ad_id = done.ad_id
     and fact.is_gone;
  update public.ad_metrics fact
     set is_pending = false, derived_at = coalesce(fact.derived_at, as_of)
    from unnest(pending_ads, pending_dates) as done (ad_id, date)
   where fact.connection_id = finish_metric_window.connection_id
     and fact.date between since and until
     and fact.is_pending
     and fact.date = done.date
     and fact.ad_id = done.ad_id;

  is_finished := coalesce(cardinality(pending_ads), 0) < most;
  if is_finished then
    is_finished := public.replace_older_figures(
      connection_id, finish_metric_window.platform, since, until, most * 5
    );
  end if;
  if is_finished then
    insert into public.metric_days as day (connection_id, date, read_at, sync_id)
    select finish_metric_window.connection_id, one::date, as_of, sync
      from generate_series(since::timestamp, until::timestamp, interval '1 day') one
    on conflict on constraint metric_days_pkey do update
      set read_at = excluded.read_at, sync_id = excluded.sync_id;
  end if;
  return counts || jsonb_build_object('is_finished', is_finished);
end
$$;

-- The figures of requests whose ads changed hands, over all days that the ledger has of these
-- ads; at most `most` days of requests a call. Returns as finish_metric_window does.
create or replace function public.settle_ad_links(
  connection_id uuid,
  token uuid,
  platform text,
  most integer,
  lease interval,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  sync constant uuid := public.hold_connection(connection_id, token, lease, as_of);
  unsettled uuid;
  requests uuid[];
  dates date[];
  counts jsonb;
  total jsonb := '{"created": 0, "updated": 0, "deleted": 0, "mixed_currency_days": 0}';
  days integer := 0;
begin
  if sync is null then
    return null;
  end if;
  while days < most loop
    select link.request_id into unsettled
      from public.metric_ad_links link
     where link.platform = settle_ad_links.platform
       and not link.is_settled
     order by link.request_id
     limit 1;
    exit when not found;

    perform 1
       from public.metric_ad_links link
      where link.platform = settle_ad_links.platform and link.request_id = unsettled
      order by link.ad_id
        for update;
    -- a day whose last ad left has nothing to be derived from, but a figure to be deleted
    select array_agg(unsettled), array_agg(day.date)
      into requests, dates
      from (
        select fact.date
          from public.metric_ad_links link
          join public.ad_metrics fact
            on fact.platform = link.platform and fact.ad_id = link.ad_id
         where link.platform = settle_ad_links.platform and link.request_id = unsettled
        union
        select figure.date
          from public.performance_metrics figure
         where figure.request_id = unsettled
           and figure.platform = settle_ad_links.platform
           and figure.derived
      ) day;
    -- of this connection too only what was read completely
    counts := public.derive_metrics(
      settle_ad_links.platform, requests, dates, null, sync, as_of
    );
    delete from public.metric_ad_links link
     where link.platform = settle_ad_links.platform
       and link.request_id = unsettled
       and not link.is_current;
    update public.metric_ad_links link
       set is_settled = true
     where link.platform = settle_ad_links.platform
       and link.request_id = unsettled;
    days := days + greatest(coalesce(cardinality(dates), 0), 1);
    select jsonb_object_agg(sum.key, sum.value::integer + (counts ->> sum.key)::integer)
      into total
      from jsonb_each_text(total) sum;
  end loop;
  return total || jsonb_build_object('is_finished', days < most);
end
$$;

-- Figures of the given requests and days (two arrays of one length) from all that the ledger
-- has of their ads: impressions, clicks and spend are summed, cpm, cpc and ctr computed from
-- the sums, reach taken where a single ad makes up the day. What an ad lacks, the sum lacks;
-- money in two currencies is not summed. No row stands for an unknown value.
-- Of `connection_id` all rows count; of others (of all, when it is null) those whose window was
-- read completely.
create or replace function public.derive_metrics(
  platform text,
  requests uuid[],
  dates date[],
  connection_id uuid,
  sync_id uuid,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column -- an index cannot be named with its columns qualified
declare
  kinds constant text[] := array['impressions', 'clicks', 'spend', 'reach', 'cpm', 'cpc', 'ctr'];
  counts jsonb;
begin
  -- two connections that serve one request take turns, so that the later one sees both
  perform 1
     from public.metric_ad_links link
    where link.platform = derive_metrics.platform
      and link.request_id = any (requests)
    order by link.request_id, link.ad_id
      for update;

  -- Lateral and "offset 0" make every lookup one by its index. Left to itself, the planner joins
  -- whole tables while their statistics are old, which is what they are where much is written.
  with wanted as (
    select * from unnest(requests, dates) as wanted (request_id, date)
  ),
  facts as (
    -- two connections to one account report the same; the later reading counts
    select distinct on (wanted.request_id, wanted.date, fact.account_id, fact.ad_id,
                        fact.ad_group_id)
           wanted.request_id, wanted.date, fact.connection_id, fact.account_id, fact.ad_id,
           fact.ad_name, fact.impressions, fact.clicks, fact.spend, fact.reach, fact.currency,
           fact.time_zone
      from wanted
      -- a day without facts stays, with nulls
      left join lateral (
             select reported.*
               from public.metric_ad_links link
              cross join lateral (
                      select *
                        from public.ad_metrics row
                       where row.platform = derive_metrics.platform
                         and row.ad_id = link.ad_id
                         and row.date = wanted.date
                         and not row.is_gone
                         and (row.derived_at is not null
                              or row.connection_id = derive_metrics.connection_id)
                      offset 0
                    ) reported
              where link.platform = derive_metrics.platform
                and link.request_id = wanted.request_id
                and link.is_current
             offset 0
           ) fact on true
     order by wanted.request_id, wanted.date, fact.account_id, fact.ad_id, fact.ad_group_id,
              fact.read_at desc, fact.connection_id
  ),
  totals as (
    select request_id, date,
           case when bool_and(impressions is not null) then sum(impressions) end as impressions,
           case when bool_and(clicks is not null) then sum(clicks) end as clicks,
           case
             when bool_and(spend is not null) and count(distinct coalesce(currency, '')) = 1
               then sum(spend)
           end as spend,
           case when count(*) = 1 then max(reach) end as reach,
           count(distinct coalesce(currency, '')) > 1 as is_mixed,
           jsonb_strip_nulls(jsonb_build_object(
             'ad_ids', jsonb_agg(distinct ad_id),
             'ad_names', jsonb_agg(distinct ad_name) filter (where ad_name is not null),
             'ad_id', case when count(distinct ad_id) = 1 then min(ad_id) end,
             'ad_name', case when count(distinct ad_id) = 1 then min(ad_name) end,
             'currency', case when count(distinct currency) = 1 then min(currency) end,
             'currencies',
               case when count(distinct currency) > 1 then jsonb_agg(distinct currency) end,
             'time_zones', jsonb_agg(distinct time_zone),
             'account_ids', jsonb_agg(distinct account_id),
             'connection_ids', jsonb_agg(distinct facts.connection_id)
           )) as source_detail
      from facts
     group by request_id, date
  ),
  figures as materialized (
    select totals.request_id, totals.date, metric.type as metric_type, metric.value,
           totals.source_detail, totals.is_mixed
      from totals
     cross join lateral (
        values
          ('impressions', totals.impressions),
          ('clicks', totals.clicks),
          -- LinkedIn's sums have the tail of a binary fraction: the ledger keeps it
          ('spend', trim_scale(round(totals.spend, 6))),
          ('reach', totals.reach),
          ('cpm', round(totals.spend * 1000 / nullif(totals.impressions, 0), 6)),
          ('cpc', round(totals.spend / nullif(totals.clicks, 0), 6)),
          ('ctr', round(totals.clicks * 100 / nullif(totals.impressions, 0), 6))
     ) as metric (type, value)
  ),
  written as (
    insert into public.performance_metrics as figure (
      request_id, platform, metric_type, value, date, source, source_detail, sync_id, derived,
      created_at, updated_at
    )
    select figures.request_id, derive_metrics.platform, figures.metric_type, figures.value,
           figures.date, 'api_sync', figures.source_detail, derive_metrics.sync_id, true,
           as_of, as_of
      from figures
     where figures.value is not null
    on conflict (request_id, platform, metric_type, date) where derived do update
      set value = excluded.value,
          source_detail = excluded.source_detail,
          sync_id = excluded.sync_id,
          updated_at = excluded.updated_at
      where figure.value is distinct from excluded.value
         or figure.source_detail is distinct from excluded.source_detail
    -- xmax is 0 in a row that this statement inserted
    returning figure.xmax = 0 as is_new
  ),
  -- what the ledger no longer supports, and what an older worker left on the same keys
  removed as (
    delete from public.performance_metrics
     where id = any (array(
             select unsupported.id
               from figures
              cross join lateral (
                      select figure.id
                        from public.performance_metrics figure
                       where figure.request_id = figures.request_id
                         and figure.platform = derive_metrics.platform
                         and figure.metric_type = figures.metric_type
                         and figure.date = figures.date
                         and figure.source = 'api_sync'
                         and figure.derived
                      offset 0
                    ) unsupported
              where figures.value is null
             union all
             select older.id
               from wanted
              cross join lateral (
                      select figure.id
                        from public.performance_metrics figure
                       where figure.request_id = wanted.request_id
                         and figure.platform = derive_metrics.platform
                         and figure.date = wanted.date
                         and figure.metric_type = any (kinds)
                         and figure.source = 'api_sync'
                         and figure.derived is not true
                      offset 0
                    ) older
           ))
    returning 1
  )
  select jsonb_build_object(
           'created', (select count(*) from written where is_new),
           'updated', (select count(*) from written where not is_new),
           'deleted', (select count(*) from removed),
           'mixed_currency_days', (select count(*) from totals where is_mixed)
         )
    into counts;
  return counts;
end
$$;

-- Deletes what an older worker left for requests that the connection serves, on days of the
-- window on which the platform reports nothing; at most `most` rows. True when none is left.
create or replace function public.replace_older_figures(
  connection_id uuid,
  platform text,
  since date,
  until date,
  most integer
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  deleted integer;
begin
  delete from public.performance_metrics older
   where older.id = any (array(
           select figure.id
             from public.performance_metrics figure
            where figure.source = 'api_sync'
              and figure.derived is not true
              and figure.platform = replace_older_figures.platform
              and figure.date between since and until
              and figure.metric_type in
                  ('impressions', 'clicks', 'spend', 'reach', 'cpm', 'cpc', 'ctr')
              and exists (
                    select
                      from public.metric_ad_links link
                      join public.ad_metrics fact
                        on fact.platform = link.platform
                       and fact.ad_id = link.ad_id
                     where link.request_id = figure.request_id
                       and link.platform = replace_older_figures.platform
                       and link.is_current
                       and fact.connection_id = replace_older_figures.connection_id
                  )
            limit most
         ));
  get diagnostics deleted = row_count;
  return deleted < most;
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'load_ad_links(text, text, text, integer, timestamptz)',
    'named_ads(text)',
    'changed_ad_links(text, text)',
    'refresh_ad_links(text, text)',
    'store_ad_metrics(uuid, uuid, jsonb, jsonb, interval, timestamptz)',
    'finish_metric_window(uuid, uuid, text, date, date, integer, interval, timestamptz)',
    'settle_ad_links(uuid, uuid, text, integer, interval, timestamptz)',
    'derive_metrics(text, uuid[], date[], uuid, uuid, timestamptz)',
    'replace_older_figures(uuid, text, date, date, integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
