-- What makes up a figure.
--
--   console_level    by what a request names a fact
--   console_name     the name of a campaign, ad group or ad
--   console_figure   what makes up a request's figures of one platform and day

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The narrowest level at which a request names a fact.
create or replace function public.console_level(
  platform text,
  request_id uuid,
  kind text,
  campaign_id text,
  ad_group_id text,
  ad_id text
)
returns text
language sql
stable
set search_path = ''
as $$
  select named.level
    from (
      values
        (1, 'ad', ad_id),
        (2, case kind when 'asset_group' then 'asset_group' else 'ad_group' end, ad_group_id),
        (3, 'campaign', campaign_id)
    ) named (width, level, id)
   where exists (
           select
             from public.metric_ad_links link
            where link.platform = console_level.platform
              and link.request_id = console_level.request_id
              and link.level = named.level
              and link.id = named.id
              and link.is_current
         )
   order by named.width
   limit 1;
$$;

-- The name of a campaign, ad group or ad; null where it is unknown.
create or replace function public.console_name(
  platform text,
  account_id text,
  level text,
  id text
)
returns text
language sql
stable
set search_path = ''
as $$
  select known.name
    from public.metric_names known
   where known.platform = console_name.platform
     and known.account_id = console_name.account_id
     and known.level = console_name.level
     and known.id = console_name.id;
$$;

-- What makes up the figures of a request on one platform and day: {"figures": [{"metric_type",
-- "value", "is_complete", "updated_at", "currency"}], "facts": [{"account_id", "campaign_id",
-- "ad_group_id", "ad_id", "kind", "spend", "impressions", "clicks", "currency", "time_zone",
-- "level", "campaign_name", "ad_group_name", "ad_name"}], "count", "sums": [{"currency", "spend",
-- "impressions", "clicks"}], "days": [{"account_id", "connection", "read_at", "rows_read",
-- "rows_named", "spend_read", "spend_named", "spend_total", "failures", "problem", "try_after"}],
-- "changes": [{"account_id", "changed_at", "old_spend", "new_spend"}]}.
--
-- `shown` facts are returned, highest spend first, each with the narrowest level that names it. No
-- more than `most` are read: "count" is above that where there are more, and "sums" are of those
-- that were read. A sum is null where a fact lacks the measure, as the figure is then.
create or replace function public.console_figure(
  request_id uuid,
  platform text,
  day date,
  shown integer,
  most integer
)
returns jsonb
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_custom_plan
as $$
declare
  facts jsonb;
begin
  execute format(
    $query$
    with facts as materialized (select fact.* from (%s) fact limit $4 + 1),
    shown as materialized (
      select facts.*
        from facts
       order by (measures ->> 'spend')::numeric desc nulls last,
                account_id, campaign_id, ad_group_id, ad_id
       limit $5
    )
    select jsonb_build_object(
             'count', (select count(*) from facts),
             'sums', (
               select coalesce(jsonb_agg(to_jsonb(one) order by one.currency), '[]')
                 from (
                   select currency,
                          case when count(measures -> 'spend') = count(*)
                            then sum((measures ->> 'spend')::numeric)::text
                          end as spend,
                          case when count(measures -> 'impressions') = count(*)
                            then sum((measures ->> 'impressions')::numeric)::text
                          end as impressions,
                          case when count(measures -> 'clicks') = count(*)
                            then sum((measures ->> 'clicks')::numeric)::text
                          end as clicks
                     from facts
                    group by currency
                 ) one
             ),
             'accounts', (select coalesce(jsonb_agg(distinct account_id), '[]') from facts),
             'facts', coalesce(
               jsonb_agg(
                 to_jsonb(shown)
                   - array['request_id', 'platform', 'date', 'attribution', 'measures']
                   || jsonb_build_object(
                        'spend', shown.measures ->> 'spend',
                        'impressions', shown.measures ->> 'impressions',
                        'clicks', shown.measures ->> 'clicks',
                        'level', public.console_level($1, $2[1], shown.kind, shown.campaign_id,
                                                      shown.ad_group_id, shown.ad_id),
                        'campaign_name', public.console_name(
                          $1, shown.account_id, 'campaign', shown.campaign_id
                        ),
                        'ad_group_name', public.console_name(
                          $1, shown.account_id,
                          case shown.kind when 'asset_group' then 'asset_group' else 'ad_group' end,
                          shown.ad_group_id
                        ),
                        'ad_name', public.console_name($1, shown.account_id, 'ad', shown.ad_id)
                      )
                 order by (shown.measures ->> 'spend')::numeric desc nulls last,
                          shown.account_id, shown.campaign_id, shown.ad_group_id, shown.ad_id
               ),
               '[]'
             )
           )
      from shown
    $query$,
    public.facts_query()
  )
  into facts
  using platform, array[request_id], array[day], most, shown;

  return (facts - 'accounts') || jsonb_build_object(
    'figures', (
      select coalesce(
               jsonb_agg(
                 jsonb_build_object(
                   'metric_type', figure.metric_type, 'value', figure.value::text,
                   'is_complete', figure.is_complete, 'updated_at', figure.updated_at,
                   'currency', figure.source_detail ->> 'currency'
                 )
                 order by figure.number
               ),
               '[]'
             )
        from (
          select one.*, kind.number
            from (select metric_type, row_number() over () as number from public.metric_kinds()) kind
           cross join lateral (
                  select row.*
                    from public.performance_metrics row
                   where row.request_id = console_figure.request_id
                     and row.platform = console_figure.platform
                     and row.metric_type = kind.metric_type
                     and row.date = day
                     and row.derived
                  offset 0
                ) one
        ) figure
    ),
    'days', (
      select coalesce(jsonb_agg(to_jsonb(read) order by read.account_id), '[]')
        from (
          select known.account_id, known.read_at, known.rows_read,
                 known.rows_named, known.spend_read::text, known.spend_named::text,
                 known.spend_total::text, known.failures, known.problem, known.try_after,
                 connection.account_name as connection
            from jsonb_array_elements_text(facts -> 'accounts') account (id)
            join public.metric_days known
              on known.platform = console_figure.platform
             and known.account_id = account.id and known.date = day
            left join public.platform_connections connection
              on connection.id = known.connection_id
        ) read
    ),
    'changes', (
      select coalesce(
               jsonb_agg(
                 jsonb_build_object(
                   'account_id', change.account_id, 'changed_at', change.changed_at,
                   'old_spend', change.old_spend::text,
                   'new_spend', change.new_spend::text
                 )
                 order by change.account_id, change.number
               ),
               '[]'
             )
        from public.metric_spend_changes change
       where change.request_id = console_figure.request_id
         and change.platform = console_figure.platform
         and change.date = day
    )
  );
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_level(text, uuid, text, text, text, text)',
    'console_name(text, text, text, text)',
    'console_figure(uuid, text, date, integer, integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
