-- Metrics, part 6: how the dashboard's figures are defined.
--
--   metric_kinds         the one list of them
--   metric_expressions   the list as SQL
--   facts_query          the facts that they are made of
--   stored_figures_query the figures that are stored
--   naming_requests      which requests a fact belongs to
--   differing_requests   which requests have figures that differ from the ledger

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Each figure is a sum over the day's facts, or such a sum times `factor` over another one.
-- Rules: 'sum'; 'money' is never summed across currencies; 'single' holds for one fact only.
-- The first seven are always derived, the others where a deployment chooses them. `is_attributed`
-- where it depends on the attribution setting.
create or replace function public.metric_kinds()
returns table (
  metric_type text, rule text, measure text, per text, factor numeric, is_usual boolean,
  is_attributed boolean
)
language sql
immutable
set search_path = ''
as $$
  values
    ('impressions', 'sum', 'impressions', null, null, true, false),
    ('clicks', 'sum', 'clicks', null, null, true, false),
    ('spend', 'money', 'spend', null, null, true, false),
    ('reach', 'single', 'reach', null, null, true, false),
    ('cpm', 'money', 'spend', 'impressions', 1000, true, false),
    ('cpc', 'money', 'spend', 'clicks', 1, true, false),
    ('ctr', 'sum', 'clicks', 'impressions', 100, true, false),
    ('conversions', 'sum', 'conversions', null, null, false, true),
    ('conversion_value', 'money', 'conversion_value', null, null, false, true),
    ('cost_per_conversion', 'money', 'spend', 'conversions', 1, false, true),
    ('roas', 'money', 'conversion_value', 'spend', 1, false, true),
    ('link_clicks', 'sum', 'link_clicks', null, null, false, false),
    ('video_views', 'sum', 'video_views', null, null, false, false),
    ('frequency', 'single', 'impressions', 'reach', 1, false, false)
$$;

-- The figures to derive: the usual ones and `chosen` (null: none).
create or replace function public.chosen_kinds(chosen text[])
returns setof text
language sql
immutable
set search_path = ''
as $$
  select kind.metric_type
    from public.metric_kinds() kind
   where kind.is_usual or kind.metric_type = any (chosen);
$$;

-- The list as SQL: the sums over the facts of a day, each null where a fact lacks it; the figures of
-- these, each with its name; the same as a plain list, null where there is none; the stored ones as
-- such a list over the day's rows; and those that depend on the attribution setting. LinkedIn's sums
-- have the tail of a binary fraction, which the ledger keeps and a figure does not.
create or replace function public.metric_expressions(
  chosen text[],
  out sums text,
  out figures text,
  out expected text,
  out stored text,
  out attributed text
)
language sql
immutable
set search_path = ''
as $$
  with chosen_kind as (
    select kind.*
      from public.metric_kinds() kind
     where kind.metric_type in (select public.chosen_kinds(chosen))
  )
  select (
           select string_agg(
                    format(
                      'case when count(measures -> %1$L) = count(*) '
                      'then sum((measures ->> %1$L)::numeric) end as %1$I',
                      measure.name
                    ),
                    ', '
                  )
             from (
               select kind.measure as name from chosen_kind kind
               union
               select kind.per from chosen_kind kind where kind.per is not null
             ) measure
         ),
         string_agg(format('%L, %s', figure.metric_type, figure.value), '), (')
           filter (where figure.value is not null),
         string_agg(coalesce(figure.value, 'null'), ', '),
         string_agg(format('max(value) filter (where metric_type = %L)', figure.metric_type), ', '),
         string_agg(quote_literal(figure.metric_type), ', ') filter (where figure.is_attributed)
    from (
      select kind.metric_type, kind.is_attributed,
             -- null where it is not wanted: what is stored of it is deleted
             case when is_chosen then format(
               'case when %s then trim_scale(round(%I%s, 6)) end',
               case kind.rule
                 when 'money' then 'not is_mixed'
                 when 'single' then 'facts = 1'
                 else 'true'
               end,
               kind.measure,
               ' * ' || kind.factor || ' / nullif(' || quote_ident(kind.per) || ', 0)'
             ) end as value
        from public.metric_kinds() kind
       cross join lateral (
              select kind.metric_type in (select public.chosen_kinds(chosen)) as is_chosen
            ) wanted
    ) figure;
$$;

-- The facts of requests (those of what they name, on these days), as a query with parameters:
-- $1 platform, $2 requests, $3 days. Each fact comes once for a request, however many of the ids
-- that it names match: by the narrowest. Lateral and "offset 0" make every lookup use its index.
-- Otherwise the planner joins whole tables while their statistics are stale, as they are where much
-- is written.
create or replace function public.facts_query()
returns text
language sql
immutable
set search_path = ''
as $query$
  select $$
    select link.request_id, fact.*
      from unnest($2) wanted (request_id)
     cross join lateral (
            select one.request_id, one.level, one.id
              from public.metric_ad_links one
             where one.platform = $1 and one.request_id = wanted.request_id and one.is_current
            offset 0
          ) link
     cross join lateral (
            select row.*
              from public.ad_metrics row
             where link.level = 'ad'
               and row.platform = $1 and row.ad_id = link.id and row.date = any ($3)
            union all
            select row.*
              from public.ad_metrics row
             where link.level in ('ad_group', 'asset_group')
               and row.platform = $1 and row.ad_group_id = link.id and row.date = any ($3)
               and (row.kind = 'asset_group') = (link.level = 'asset_group')
               and not exists (
                     select from public.metric_ad_links narrower
                      where narrower.platform = $1
                        and narrower.request_id = link.request_id
                        and narrower.level = 'ad' and narrower.id = row.ad_id
                        and narrower.is_current
                     offset 0
                   )
            union all
            select row.*
              from public.ad_metrics row
             where link.level = 'campaign'
               and row.platform = $1 and row.campaign_id = link.id and row.date = any ($3)
               and not exists (
                     select from public.metric_ad_links narrower
                      where narrower.platform = $1
                        and narrower.request_id = link.request_id
                        and (narrower.level = 'ad' and narrower.id = row.ad_id
                             or narrower.level = case row.kind
                                  when 'asset_group' then 'asset_group' else 'ad_group'
                                end
                                and narrower.id = row.ad_group_id)
                        and narrower.is_current
                     offset 0
                   )
            offset 0
          ) fact
  $$;
$query$;

-- The requests that name an ad, its ad group (or asset group, as `kind` says) or its campaign.
create or replace function public.naming_requests(
  platform text,
  kind text,
  campaign_id text,
  ad_group_id text,
  ad_id text
)
returns setof uuid
language sql
stable
set search_path = ''
as $$
  select distinct link.request_id
    from (
      values
        ('ad', naming_requests.ad_id),
        (case kind when 'asset_group' then 'asset_group' else 'ad_group' end,
         naming_requests.ad_group_id),
        ('campaign', naming_requests.campaign_id)
    ) named (level, id)
   cross join lateral (
          select one.request_id
            from public.metric_ad_links one
           where one.platform = naming_requests.platform
             and one.level = named.level
             and one.id = named.id
             and one.is_current
          offset 0
        ) link
   where named.id <> '';
$$;

-- The stored figures of requests and days, with the same parameters.
create or replace function public.stored_figures_query()
returns text
language sql
immutable
set search_path = ''
as $query$
  select format($$
    select figure.*
      from unnest($2) wanted (request_id)
     cross join lateral (
            select one.id, one.request_id, one.date, one.metric_type, one.value, one.source_detail,
                   one.is_complete
              from public.performance_metrics one
             where one.request_id = wanted.request_id
               and one.platform = $1
               and one.metric_type in (%s)
               and one.date = any ($3)
               and one.derived
            offset 0
          ) figure
  $$, (select string_agg(quote_literal(kind.metric_type), ', ') from public.metric_kinds() kind));
$query$;

-- Those of the requests whose figures on these days differ from what the ledger gives: a fraction
-- of the cost of deriving them.
create or replace function public.differing_requests(
  platform text,
  requests uuid[],
  dates date[],
  chosen text[]
)
returns uuid[]
language plpgsql
stable
set search_path = ''
set enable_nestloop = off
set enable_mergejoin = off
set work_mem = '16MB'
as $$
declare
  of constant record := public.metric_expressions(chosen);
  differing uuid[];
begin
  execute format(
    $query$
    with totals as (
      select request_id, date, count(*) as facts,
             min(coalesce(currency, '')) <> max(coalesce(currency, '')) as is_mixed,
             %2$s
        from (%1$s) facts
       group by request_id, date
    ),
    expected as (select request_id, date, array[%3$s] as figures from totals),
    stored as (
      select request_id, date, array[%5$s] as figures from (%4$s) figure group by request_id, date
    )
    select array_agg(distinct request_id)
      from expected
      full join stored using (request_id, date)
     where coalesce(expected.figures, $4) is distinct from coalesce(stored.figures, $4)
    $query$,
    public.facts_query(), of.sums, of.expected, public.stored_figures_query(), of.stored
  )
  into differing
  using platform, requests, dates,
        array_fill(null::numeric, array[(select count(*)::integer from public.metric_kinds())]);
  return coalesce(differing, '{}');
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'metric_kinds()',
    'chosen_kinds(text[])',
    'metric_expressions(text[])',
    'facts_query()',
    'naming_requests(text, text, text, text, text)',
    'stored_figures_query()',
    'differing_requests(text, uuid[], date[], text[])'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
