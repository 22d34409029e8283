-- Metrics, part 6: what the dashboard's figures are.
--
--   metric_kinds         the one list of them
--   metric_expressions   the list as SQL
--   facts_query, standing_query
--                        what they are made of, and what stands
--   differing_requests   which requests have figures that are not as the ledger has them

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Each figure is a sum over the day's facts, or such a sum times `factor` over another one.
-- Rules: 'sum'; 'money' is never summed across currencies; 'single' holds for one fact only.
create or replace function public.metric_kinds()
returns table (metric_type text, rule text, measure text, per text, factor numeric)
language sql
immutable
set search_path = ''
as $$
  values
    ('impressions', 'sum', 'impressions', null, null),
    ('clicks', 'sum', 'clicks', null, null),
    ('spend', 'money', 'spend', null, null),
    ('reach', 'single', 'reach', null, null),
    ('cpm', 'money', 'spend', 'impressions', 1000),
    ('cpc', 'money', 'spend', 'clicks', 1),
    ('ctr', 'sum', 'clicks', 'impressions', 100)
$$;

-- The list as SQL: the sums over the facts of a day, each null where a fact lacks it; the figures of
-- these, each with its name, null where there is none, and as a mere list; and what stands of them,
-- as such a list over the day's rows. LinkedIn's sums have the tail of a binary fraction, which the
-- ledger keeps and a figure does not.
create or replace function public.metric_expressions(
  out sums text,
  out figures text,
  out expected text,
  out standing text
)
language sql
immutable
set search_path = ''
as $$
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
               select kind.measure as name from public.metric_kinds() kind
               union
               select kind.per from public.metric_kinds() kind where kind.per is not null
             ) measure
         ),
         string_agg(format('%L, %s', figure.metric_type, figure.value), '), ('),
         string_agg(figure.value, ', '),
         string_agg(format('max(value) filter (where metric_type = %L)', figure.metric_type), ', ')
    from (
      select kind.metric_type,
             format(
               'case when %s then trim_scale(round(%I%s, 6)) end',
               case kind.rule
                 when 'money' then 'not is_mixed'
                 when 'single' then 'facts = 1'
                 else 'true'
               end,
               kind.measure,
               ' * ' || kind.factor || ' / nullif(' || quote_ident(kind.per) || ', 0)'
             ) as value
        from public.metric_kinds() kind
    ) figure;
$$;

-- The facts of requests (those that their ads have on these days), as a query with parameters:
-- $1 platform, $2 requests, $3 days. Lateral and "offset 0" make every lookup one by its index.
-- Left to itself, the planner joins whole tables while their statistics are old, which is what
-- they are where much is written.
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
            select one.request_id, one.ad_id
              from public.metric_ad_links one
             where one.platform = $1 and one.request_id = wanted.request_id and one.is_current
            offset 0
          ) link
     cross join lateral (
            select row.date, row.account_id, row.ad_id, row.measures, row.currency, row.time_zone
              from public.ad_metrics row
             where row.platform = $1 and row.ad_id = link.ad_id and row.date = any ($3)
            offset 0
          ) fact
  $$;
$query$;

-- The figures that stand for requests and days, with the same parameters.
create or replace function public.standing_query()
returns text
language sql
immutable
set search_path = ''
as $query$
  select format($$
    select figure.*
      from unnest($2) wanted (request_id)
     cross join lateral (
            select one.id, one.request_id, one.date, one.metric_type, one.value, one.source_detail
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

-- Those of the requests whose figures on these days are not what the ledger makes of them: a
-- fraction of the cost of deriving them.
create or replace function public.differing_requests(
  platform text,
  requests uuid[],
  dates date[]
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
  of constant record := public.metric_expressions();
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
    standing as (
      select request_id, date, array[%5$s] as figures from (%4$s) figure group by request_id, date
    )
    select array_agg(distinct request_id)
      from expected
      full join standing using (request_id, date)
     where coalesce(expected.figures, $4) is distinct from coalesce(standing.figures, $4)
    $query$,
    public.facts_query(), of.sums, of.expected, public.standing_query(), of.standing
  )
  into differing
  using platform, requests, dates,
        array_fill(null::numeric, array[(select count(*)::integer from public.metric_kinds())]);
  return coalesce(differing, '{}');
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'metric_kinds()',
    'metric_expressions()',
    'facts_query()',
    'standing_query()',
    'differing_requests(text, uuid[], date[])'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
