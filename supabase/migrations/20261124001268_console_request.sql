-- What the console shows of one request.
--
--   console_links     what it names
--   console_request   the request, with its figures by day
--
-- Figures are those that the workers stored: no index finds those that people entered. Values are
-- texts, so that no digit is lost on the way. `platforms` are all platforms.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- What a request names, with its name, and the account and day of its newest fact.
create or replace function public.console_links(
  request_id uuid,
  platforms text[],
  row_limit integer
)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(
           jsonb_agg(
             jsonb_build_object(
               'platform', link.platform, 'level', link.level, 'id', link.id,
               'account_id', fact.account_id, 'newest', fact.date, 'name', known.name
             )
             order by link.platform, link.level, link.id
           ),
           '[]'
         )
    from (
      select own.*
        from unnest(platforms) platform (name)
       cross join lateral (
              select one.*
                from public.metric_ad_links one
               where one.platform = platform.name
                 and one.request_id = console_links.request_id
                 and one.is_current
               order by one.level, one.id
               limit row_limit
            ) own
       order by own.platform, own.level, own.id
       limit row_limit
    ) link
    left join lateral (
           (
             select one.account_id, one.date
               from public.ad_metrics one
              where link.level = 'ad' and one.platform = link.platform and one.ad_id = link.id
              order by one.date desc
              limit 1
           )
           union all
           (
             select one.account_id, one.date
               from public.ad_metrics one
              where link.level in ('ad_group', 'asset_group')
                and one.platform = link.platform and one.ad_group_id = link.id
              order by one.date desc
              limit 1
           )
           union all
           (
             select one.account_id, one.date
               from public.ad_metrics one
              where link.level = 'campaign'
                and one.platform = link.platform and one.campaign_id = link.id
              order by one.date desc
              limit 1
           )
         ) fact on true
    left join lateral (
           select one.name
             from public.metric_names one
            where one.platform = link.platform and one.account_id = fact.account_id
              and one.level = link.level and one.id = link.id
           offset 0
         ) known on true;
$$;

-- {"request": {"id", "title", "client", "request_type", "status", "created_at"}, "links":
-- [{"platform", "level", "id", "account_id", "newest", "name"}], "unsettled": [<platform>],
-- "figures": [{"date", "platform", "metric_type", "value", "is_complete", "currency"}], "restated":
-- [{"date", "platform"}]}; null where there is no such request. At most `row_limit` links are
-- returned; `newest` is the day of the newest fact.
create or replace function public.console_request(
  request_id uuid,
  since date,
  until date,
  platforms text[],
  metric_types text[],
  row_limit integer
)
returns jsonb
language sql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
  select jsonb_build_object(
           'request', jsonb_build_object(
             'id', request.id,
             'title', request.title,
             'client', (
               select client.name from public.clients client where client.id = request.client_id
             ),
             'request_type', request.request_type,
             'status', request.status,
             'created_at', request.created_at
           ),
           'links', public.console_links(request.id, platforms, row_limit),
           'unsettled', (
             select coalesce(jsonb_agg(unsettled.platform order by unsettled.platform), '[]')
               from unnest(platforms) platform (name)
               join public.metric_unsettled_requests unsettled
                 on unsettled.platform = platform.name and unsettled.request_id = request.id
           ),
           'figures', (
             select coalesce(
                      jsonb_agg(
                        jsonb_build_object(
                          'date', figure.date,
                          'platform', figure.platform,
                          'metric_type', figure.metric_type,
                          'value', figure.value::text,
                          'is_complete', figure.is_complete,
                          'currency', figure.source_detail ->> 'currency'
                        )
                        order by figure.date, figure.platform, figure.metric_type
                      ),
                      '[]'
                    )
               from unnest(platforms) platform (name)
              cross join unnest(metric_types) kind (name)
              cross join lateral (
                     select one.*
                       from public.performance_metrics one
                      where one.request_id = request.id
                        and one.platform = platform.name
                        and one.metric_type = kind.name
                        and one.date between since and until
                        and one.derived
                     offset 0
                   ) figure
           ),
           'restated', (
             select coalesce(
                      jsonb_agg(
                        distinct jsonb_build_object(
                          'date', change.date, 'platform', change.platform
                        )
                      ),
                      '[]'
                    )
               from public.metric_spend_changes change
              where change.request_id = request.id and change.date between since and until
           )
         )
    from public.requests request
   where request.id = console_request.request_id;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_links(uuid, text[], integer)',
    'console_request(uuid, date, date, text[], text[], integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
