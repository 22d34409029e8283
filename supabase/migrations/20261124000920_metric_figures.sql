-- Metrics, part 7: from the ledger to the dashboard's figures.
--
--   derive_metrics   the figures of requests and days, from all that the ledger has
--
-- Correct figures are not touched, so that deriving a day again costs little and restores what
-- someone deleted or changed manually.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Which days of requests (by their figures) are to be left as they are: retention removed their
-- facts from the ledger, and not every account that they name has been read again.
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
             -- as its index compares
             and one.platform = aged_days.platform collate "default"
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

-- The figures of the requests on the days. A sum is unknown where one of its ads lacks the measure,
-- and an unknown value has no row. Correct figures are not touched; deleted are rows that an older
-- worker left on the same keys, and figures that are no longer `chosen` (null: none beyond the
-- usual). Returns {"created", "updated", "deleted", "mixed_currency_days"}.
create or replace function public.derive_metrics(
  platform text,
  requests uuid[],
  dates date[],
  chosen text[],
  sync_id uuid,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set enable_nestloop = off
set enable_mergejoin = off
set work_mem = '16MB'
as $$
declare
  of constant record := public.metric_expressions(chosen);
  aged_requests uuid[];
  aged_dates date[];
  counts jsonb;
begin
  if cardinality(requests) = 0 then
    return '{"created": 0, "updated": 0, "deleted": 0, "mixed_currency_days": 0}';
  end if;
  -- deleting a request locks its row before its links, so this does too
  perform 1
     from (select one.id from unnest(requests) one (id) order by one.id) wanted
    cross join lateral (
           select from public.requests request where request.id = wanted.id for key share
         ) locked;
  -- two accounts that serve one request take turns, so that the later one sees both
  perform 1
     from (select one.id from unnest(requests) one (id) order by one.id) wanted
    cross join lateral (
           select
             from public.metric_ad_links link
            where link.platform = derive_metrics.platform
              and link.request_id = wanted.id
            order by link.level, link.id
              for update
         ) locked;
  if exists (
    select from public.metric_ledger ledger where ledger.whole_from > any (dates)
  ) then
    select array_agg(aged.request_id), array_agg(aged.date)
      into aged_requests, aged_dates
      from public.aged_days(derive_metrics.platform, requests, dates) aged;
  end if;

  execute format(
    $query$
    with facts as materialized (%1$s),
    aged as materialized (select * from unnest($6, $7) aged (request_id, date)),
    totals as materialized (
      select request_id, date, count(*) as facts,
             min(coalesce(currency, '')) <> max(coalesce(currency, '')) as is_mixed,
             max(ad_id) as ad_id, min(account_id) as account_id, min(currency) as currency,
             min(time_zone) as time_zone, bool_and(is_complete) as is_complete,
             min(attribution) as attribution,
             min(ad_id) = ''
               or (min(ad_id), min(account_id), min(coalesce(currency, '')), min(time_zone),
                   min(coalesce(attribution, '')))
               <> (max(ad_id), max(account_id), max(coalesce(currency, '')), max(time_zone),
                   max(coalesce(attribution, '')))
               as is_of_several,
             %2$s
        from facts
       group by request_id, date
    ),
    several as materialized (
      select facts.request_id, facts.date,
             count(distinct facts.ad_id) filter (where facts.ad_id <> '') as ads,
             jsonb_agg(
               distinct jsonb_build_object('campaign_id', facts.campaign_id)
                 || case when facts.ad_group_id <> ''
                      then jsonb_build_object('asset_group_id', facts.ad_group_id) else '{}'
                    end
             ) filter (where facts.ad_id = '') as without_ads,
             jsonb_agg(distinct facts.attribution) as attributions,
             jsonb_agg(distinct facts.account_id) as accounts,
             jsonb_agg(distinct facts.currency) as currencies,
             jsonb_agg(distinct facts.time_zone) as time_zones
        from facts
        join totals
          on totals.request_id = facts.request_id
         and totals.date = facts.date
         and totals.is_of_several
       group by facts.request_id, facts.date
    ),
    described as materialized (
      select totals.*,
             jsonb_strip_nulls(jsonb_build_object(
               'ads', coalesce(several.ads, 1),
               'ad_id', case when coalesce(several.ads, 1) = 1 then totals.ad_id end,
               'ad_name', name.name,
               'without_ads', several.without_ads,
               'currency', case when not totals.is_mixed then totals.currency end,
               'currencies', case when totals.is_mixed then several.currencies end,
               'time_zones', coalesce(several.time_zones, jsonb_build_array(totals.time_zone)),
               'account_ids', coalesce(several.accounts, jsonb_build_array(totals.account_id))
             )) as source_detail,
             case when totals.attribution is not null then jsonb_build_object(
               'attribution', coalesce(several.attributions, jsonb_build_array(totals.attribution))
             ) end as attribution_detail
        from totals
        left join several
          on several.request_id = totals.request_id and several.date = totals.date
        left join lateral (
               select one.name
                 from public.metric_names one
                where one.platform = $1
                  and one.account_id = totals.account_id
                  and one.level = 'ad'
                  and one.id = totals.ad_id
                  and coalesce(several.ads, 1) = 1
               offset 0
             ) name on true
       where (totals.request_id, totals.date) not in (select * from aged)
    ),
    expected as materialized (
      select described.request_id, described.date, described.is_complete, figure.metric_type,
             figure.value,
             case when figure.metric_type in (%5$s) and attribution_detail is not null
               then described.source_detail || attribution_detail
               else described.source_detail
             end as source_detail
        from described
       cross join lateral (values (%3$s)) figure (metric_type, value)
    ),
    stored as materialized (
      select * from (%4$s) one where (one.request_id, one.date) not in (select * from aged)
    ),
    differing as materialized (
      select expected.*, stored.id
        from expected
        left join stored
          on stored.request_id = expected.request_id
         and stored.date = expected.date
         and stored.metric_type = expected.metric_type
       where expected.value is not null
         and (stored.id is null
              or stored.value is distinct from expected.value
              or stored.is_complete is distinct from expected.is_complete
              or stored.source_detail is distinct from expected.source_detail)
    ),
    -- no one else derives these requests now: a key that is free stays free
    inserted as (
      insert into public.performance_metrics (
        request_id, platform, metric_type, value, date, is_complete, source, source_detail,
        sync_id, derived, created_at, updated_at
      )
      select request_id, $1, metric_type, value, date, is_complete, 'api_sync', source_detail, $4,
             true, $5, $5
        from differing
       where id is null
      returning 1
    ),
    updated as (
      update public.performance_metrics figure
         set value = differing.value,
             is_complete = differing.is_complete,
             source = 'api_sync',
             source_detail = differing.source_detail,
             sync_id = coalesce($4, figure.sync_id),
             updated_at = $5
        from differing
       where differing.id = figure.id
         -- by their keys instead of scanning the dashboard's whole table
         and figure.id = any (array(select id from differing where id is not null))
      returning 1
    ),
    -- what the ledger no longer supports, and what an older worker left on the same keys
    removed as (
      delete from public.performance_metrics
       where id = any (array(
               select stored.id
                 from stored
                 left join expected
                   on expected.request_id = stored.request_id
                  and expected.date = stored.date
                  and expected.metric_type = stored.metric_type
                where expected.value is null
               union all
               select older.id
                 from unnest($2) wanted (request_id)
                cross join lateral (
                        select figure.id, figure.request_id, figure.date
                          from public.performance_metrics figure
                         where figure.request_id = wanted.request_id
                           and figure.platform = $1
                           and figure.date = any ($3)
                           and figure.metric_type in (select public.chosen_kinds($8))
                           and figure.source = 'api_sync'
                           and figure.derived is not true
                        offset 0
                      ) older
                where (older.request_id, older.date) not in (select * from aged)
             ))
      returning 1
    )
    select jsonb_build_object(
             'created', (select count(*) from inserted),
             'updated', (select count(*) from updated),
             'deleted', (select count(*) from removed),
             'mixed_currency_days', (select count(*) from totals where is_mixed)
           )
    $query$,
    public.facts_query(), of.sums, of.figures, public.stored_figures_query(), of.attributed
  )
  into counts
  using platform, requests, dates, sync_id, as_of, aged_requests, aged_dates, chosen;
  return counts;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'aged_days(text, uuid[], date[])',
    'derive_metrics(text, uuid[], date[], text[], uuid, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
