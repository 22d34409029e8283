-- The console's list of requests.
--
--   console_find_requests   which requests, in their order
--   console_requests        a page of them, with their recent spend
--
-- `platforms` are all platforms: each is looked up in an index that begins with the platform.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

do $$
begin
  if to_regclass('public.requests_newest_idx') is null then
    create index requests_newest_idx
      on public.requests ((coalesce(created_at, '-infinity'::timestamptz)) desc, id desc);
  end if;
end
$$;

-- Requests, newest first, after {"created_at", "id"}: all, or those that `wanted` matches by their
-- id, by an id that they name or, of the newest 10,000, by a part of their title.
create or replace function public.console_find_requests(
  row_limit integer,
  platforms text[],
  wanted text default null,
  after jsonb default null
)
returns setof public.requests
language plpgsql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  before constant timestamptz := coalesce((after ->> 'created_at')::timestamptz, 'infinity');
  before_id constant uuid
    := coalesce((after ->> 'id')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  named uuid[];
begin
  if wanted is null then
    return query
      select request.*
        from public.requests request
       where (coalesce(request.created_at, '-infinity'::timestamptz), request.id)
             < (before, before_id)
       order by coalesce(request.created_at, '-infinity'::timestamptz) desc, request.id desc
       limit row_limit;
    return;
  end if;
  named := array(
    select own.id
      from public.requests own
     where own.id = case
             when wanted ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then wanted::uuid
           end
    union
    select link.request_id
      from unnest(platforms) platform (name)
     cross join unnest(array['ad', 'ad_group', 'asset_group', 'campaign']) level (name)
     cross join lateral (
            select one.request_id
              from public.metric_ad_links one
             where one.platform = platform.name
               and one.level = level.name
               and one.id = wanted
               and one.is_current
             limit row_limit
          ) link
  );
  return query
    select (found.request).*
      from (
        (
          select newest.request
            from (
              select one as request
                from public.requests one
               order by coalesce(one.created_at, '-infinity'::timestamptz) desc, one.id desc
               limit 10000
            ) newest
           where (coalesce((newest.request).created_at, '-infinity'::timestamptz),
                  (newest.request).id) < (before, before_id)
             and strpos(lower((newest.request).title), lower(wanted)) > 0
             and (newest.request).id <> all (named)
           limit row_limit
        )
        union all
        select one
          from public.requests one
         where one.id = any (named)
           and (coalesce(one.created_at, '-infinity'::timestamptz), one.id) < (before, before_id)
      ) found
     order by coalesce((found.request).created_at, '-infinity'::timestamptz) desc,
              (found.request).id desc
     limit row_limit;
end
$$;

-- {"requests": [{"id", "title", "client", "request_type", "status", "created_at", "ads": <ids that
-- it names, up to 1,000>, "spend": [{"platform", "currency", "spend", "newest"}]}], "after":
-- {"created_at", "id"}, null at the end}; spend is that of the days from `since` to `until`.
create or replace function public.console_requests(
  row_limit integer,
  since date,
  until date,
  platforms text[],
  wanted text default null,
  after jsonb default null
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
  with listed as materialized (
    select found.*, row_number() over () as number
      from public.console_find_requests(row_limit + 1, platforms, wanted, after) found
  )
  select jsonb_build_object(
           'requests', coalesce(
             jsonb_agg(
               jsonb_build_object(
                 'id', listed.id,
                 'title', listed.title,
                 'client', client.name,
                 'request_type', listed.request_type,
                 'status', listed.status,
                 'created_at', listed.created_at,
                 'ads', named.count,
                 'spend', spent.by_platform
               )
               order by listed.number
             ),
             '[]'
           ),
           'after', (
             select jsonb_build_object(
                      'created_at', coalesce(last.created_at, '-infinity'), 'id', last.id
                    )
               from listed last
              where last.number = row_limit and exists (
                      select from listed another where another.number > row_limit
                    )
           )
         )
    from listed
    left join public.clients client on client.id = listed.client_id
   cross join lateral (
          select count(*) as count
            from (
              select
                from public.metric_ad_links link
               where link.request_id = listed.id and link.is_current
               limit 1000
            ) link
        ) named
   cross join lateral (
          select coalesce(
                   jsonb_agg(to_jsonb(total) order by total.platform, total.currency), '[]'
                 ) as by_platform
            from (
              select figure.platform, figure.currency, sum(figure.value)::text as spend,
                     max(figure.date) as newest
                from unnest(platforms) platform (name)
               cross join lateral (
                      select one.platform, one.date, one.value,
                             one.source_detail ->> 'currency' as currency
                        from public.performance_metrics one
                       where one.request_id = listed.id
                         and one.platform = platform.name
                         and one.metric_type = 'spend'
                         and one.date between since and until
                         and one.derived
                      offset 0
                    ) figure
               group by figure.platform, figure.currency
            ) total
        ) spent
   where listed.number <= row_limit;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_find_requests(integer, text[], text, jsonb)',
    'console_requests(integer, date, date, text[], text, jsonb)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
