-- Metrics, part 6: from the ledger to the dashboard's figures.
--
--   metric_kinds          what a figure is: the one list of them
--   derive_metrics        the figures of requests and days, from all that the ledger has
--   derive_account_days   those of every request that an account serves
--
-- Figures that are as they should be are not touched, so that deriving a day once more costs
-- little and brings back what somebody deleted or changed by hand.

-- Each figure is a sum over the day's facts times `factor`, or such a sum over another one.
-- Rules: 'sum'; 'money' is never summed across currencies; 'single' holds for one fact only.
create or replace function public.metric_kinds()
returns table (metric_type text, rule text, measure text, per text, factor numeric)
language sql
immutable
set search_path = ''
as $$
  values
    ('impressions', 'sum', 'impressions', null, 1),
    ('clicks', 'sum', 'clicks', null, 1),
    ('spend', 'money', 'spend', null, 1),
    ('reach', 'single', 'reach', null, 1),
    ('cpm', 'money', 'spend', 'impressions', 1000),
    ('cpc', 'money', 'spend', 'clicks', 1),
    ('ctr', 'sum', 'clicks', 'impressions', 100)
$$;

-- Which days of requests (by their figures) are to be left as they are: retention took facts of
-- them from the ledger, and not every account that they name was read anew.
create or replace function public.aged_days(platform text, requests uuid[], dates date[])
returns table (request_id uuid, date date)
language sql
stable
set search_path = ''
as $$
  select distinct figure.request_id, figure.date
    from public.metric_ledger ledger
   cross join unnest(requests) wanted (request_id)
   cross join lateral (
          select one.request_id, one.date, one.source_detail
            from public.performance_metrics one
           where one.request_id = wanted.request_id
             and one.platform = aged_days.platform
             and one.derived
             and one.metric_type in (select kind.metric_type from public.metric_kinds() kind)
             and one.date = any (dates)
             and one.date < ledger.whole_from
          offset 0
        ) figure
   cross join lateral jsonb_array_elements_text(figure.source_detail -> 'account_ids') account (id)
   where not exists (
           select from public.metric_days day
            where day.platform = aged_days.platform
              and day.account_id = account.id
              and day.date = figure.date
              and day.read_at is not null
         );
$$;

-- The figures of the requests on the days. What an ad lacks, the sum lacks; no row stands for an
-- unknown value. Rows that an older worker left on the same keys go. Returns
--   {"created", "updated", "deleted", "mixed_currency_days"}.
create or replace function public.derive_metrics(
  platform text,
  requests uuid[],
  dates date[],
  sync_id uuid,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_nestloop = off
as $$
#variable_conflict use_column -- an index cannot be named with its columns qualified
declare
  kinds constant text[] := array(select kind.metric_type from public.metric_kinds() kind);
  first_day constant date := (select min(day) from unnest(dates) day);
  last_day constant date := (select max(day) from unnest(dates) day);
  aged_requests uuid[];
  aged_dates date[];
  counts jsonb;
begin
  -- whoever deletes a request has its row before its links, and so have we
  perform 1 from public.requests request
    where request.id = any (requests)
    order by request.id
      for key share;
  -- two accounts that serve one request take turns, so that the later one sees both
  perform 1
     from public.metric_ad_links link
    where link.platform = derive_metrics.platform
      and link.request_id = any (requests)
    order by link.request_id, link.ad_id
      for update;
  if exists (select from public.metric_ledger ledger where ledger.whole_from > first_day) then
    select array_agg(aged.request_id), array_agg(aged.date)
      into aged_requests, aged_dates
      from public.aged_days(derive_metrics.platform, requests, dates) aged;
  end if;

  -- Lateral and "offset 0" make every lookup one by its index. Left to itself, the planner joins
  -- whole tables while their statistics are old, which is what they are where much is written.
  with aged as materialized (
    select * from unnest(aged_requests, aged_dates) aged (request_id, date)
  ),
  facts as materialized (
    select link.request_id, fact.*
      from unnest(requests) wanted (request_id)
     cross join lateral (
            select one.request_id, one.ad_id
              from public.metric_ad_links one
             where one.platform = derive_metrics.platform
               and one.request_id = wanted.request_id
               and one.is_current
            offset 0
          ) link
     cross join lateral (
            select row.date, row.account_id, row.ad_id, row.measures, row.currency, row.time_zone
              from public.ad_metrics row
             where row.platform = derive_metrics.platform
               and row.ad_id = link.ad_id
               and row.date between first_day and last_day
               and row.date = any (dates)
            offset 0
          ) fact
  ),
  days as materialized (
    select request_id, date,
           count(*) as facts,
           count(distinct coalesce(currency, '')) > 1 as is_mixed,
           jsonb_strip_nulls(jsonb_build_object(
             'ads', count(distinct ad_id),
             'ad_id', case when min(ad_id) = max(ad_id) then min(ad_id) end,
             'ad_name', case when min(ad_id) = max(ad_id) then (
               select name.name
                 from public.metric_names name
                where name.platform = derive_metrics.platform
                  and name.account_id = min(facts.account_id)
                  and name.level = 'ad'
                  and name.id = min(facts.ad_id)
             ) end,
             'currency', case when min(currency) = max(currency) then min(currency) end,
             'currencies',
               case when min(currency) <> max(currency) then jsonb_agg(distinct currency) end,
             'time_zones', jsonb_agg(distinct time_zone),
             'account_ids', jsonb_agg(distinct account_id)
           )) as source_detail
      from facts
     group by request_id, date
  ),
  sums as (
    select request_id, date, measure.key, sum(measure.value::numeric) as total, count(*) as told
      from facts
     cross join lateral jsonb_each_text(facts.measures) measure
     group by request_id, date, measure.key
  ),
  totals as (
    select sums.request_id, sums.date, days.facts, days.is_mixed, days.source_detail,
           jsonb_object_agg(sums.key, sums.total) as of
      from sums
      join days on days.request_id = sums.request_id and days.date = sums.date
     where sums.told = days.facts
     group by sums.request_id, sums.date, days.facts, days.is_mixed, days.source_detail
  ),
  expected as materialized (
    select totals.request_id, totals.date, kind.metric_type, totals.source_detail,
           -- LinkedIn's sums have the tail of a binary fraction: the ledger keeps it
           trim_scale(round(
             (totals.of -> kind.measure)::numeric * kind.factor
             / case when kind.per is null then 1
                    else nullif((totals.of -> kind.per)::numeric, 0) end,
             6
           )) as value
      from totals
     cross join public.metric_kinds() kind
     where not (kind.rule = 'money' and totals.is_mixed)
       and not (kind.rule = 'single' and totals.facts > 1)
  ),
  standing as materialized (
    select figure.*
      from unnest(requests) wanted (request_id)
     cross join lateral (
            select one.id, one.request_id, one.date, one.metric_type, one.value, one.source_detail
              from public.performance_metrics one
             where one.request_id = wanted.request_id
               and one.platform = derive_metrics.platform
               and one.metric_type = any (kinds)
               and one.date between first_day and last_day
               and one.derived
            offset 0
          ) figure
     where figure.date = any (dates)
  ),
  written as (
    insert into public.performance_metrics as figure (
      request_id, platform, metric_type, value, date, source, source_detail, sync_id, derived,
      created_at, updated_at
    )
    select expected.request_id, derive_metrics.platform, expected.metric_type, expected.value,
           expected.date, 'api_sync', expected.source_detail, derive_metrics.sync_id, true,
           as_of, as_of
      from expected
      left join standing
        on standing.request_id = expected.request_id
       and standing.date = expected.date
       and standing.metric_type = expected.metric_type
     where expected.value is not null
       and (standing.id is null
            or standing.value is distinct from expected.value
            or standing.source_detail is distinct from expected.source_detail)
       and (expected.request_id, expected.date) not in (select request_id, date from aged)
    on conflict (request_id, platform, metric_type, date) where derived do update
      set value = excluded.value,
          source = excluded.source,
          source_detail = excluded.source_detail,
          sync_id = coalesce(excluded.sync_id, figure.sync_id),
          updated_at = excluded.updated_at
    -- xmax is 0 in a row that this statement inserted
    returning figure.xmax = 0 as is_new
  ),
  -- what the ledger no longer supports, and what an older worker left on the same keys
  removed as (
    delete from public.performance_metrics
     where id = any (array(
             select standing.id
               from standing
               left join expected
                 on expected.request_id = standing.request_id
                and expected.date = standing.date
                and expected.metric_type = standing.metric_type
              where expected.value is null
                and (standing.request_id, standing.date) not in (select request_id, date from aged)
             union all
             select older.id
               from unnest(requests) wanted (request_id)
              cross join lateral (
                      select figure.id, figure.request_id, figure.date
                        from public.performance_metrics figure
                       where figure.request_id = wanted.request_id
                         and figure.platform = derive_metrics.platform
                         and figure.date = any (dates)
                         and figure.metric_type = any (kinds)
                         and figure.source = 'api_sync'
                         and figure.derived is not true
                      offset 0
                    ) older
              where (older.request_id, older.date) not in (select request_id, date from aged)
           ))
    returning 1
  )
  select jsonb_build_object(
           'created', (select count(*) from written where is_new),
           'updated', (select count(*) from written where not is_new),
           'deleted', (select count(*) from removed),
           'mixed_currency_days', (select count(*) from days where is_mixed)
         )
    into counts;
  return counts;
end
$$;

-- A step over the requests that the account serves, in order, at most `most` after `after`.
-- Returns what derive_metrics does and "after", from where to go on; null when all are done.
create or replace function public.derive_account_days(
  token uuid,
  days date[],
  after uuid,
  most integer,
  lease interval,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_nestloop = off
as $$
declare
  account public.metric_accounts;
  requests uuid[];
begin
  select * into account from public.hold_account(token, lease, as_of);
  if not found then
    return null;
  end if;
  requests := array(
    select distinct link.request_id
      from public.metric_names ad
      join public.metric_ad_links link
        on link.platform = account.platform
       and link.ad_id = ad.id
       and link.is_current
     where ad.platform = account.platform
       and ad.account_id = account.account_id
       and ad.level = 'ad'
       and (derive_account_days.after is null or link.request_id > derive_account_days.after)
     order by link.request_id
     limit most
  );
  return public.derive_metrics(account.platform, requests, days, account.sync_id, as_of)
    || jsonb_build_object(
         'after', case when cardinality(requests) = most then requests[most] end
       );
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'metric_kinds()',
    'aged_days(text, uuid[], date[])',
    'derive_metrics(text, uuid[], date[], uuid, timestamptz)',
    'derive_account_days(uuid, date[], uuid, integer, interval, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
