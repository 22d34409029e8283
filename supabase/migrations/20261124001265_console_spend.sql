-- The console's spend at a glance: that of each client, by day.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

do $$
begin
  if to_regclass('public.requests_client_idx') is null then
    create index requests_client_idx on public.requests (client_id);
  end if;
end
$$;

-- {"clients": [{"id", "name", "spend": [{"date", "platform", "currency", "spend",
-- "is_complete"}]}], "after": {"id"}}: by name, after `after`, which is null at the end.
-- Spend is what the workers stored for the client's requests, as text, so that no digit is lost.
-- `platforms` are all platforms: each is looked up in an index that begins with request and
-- platform.
create or replace function public.console_client_spend(
  row_limit integer,
  since date,
  until date,
  platforms text[],
  after uuid default null
)
returns jsonb
language sql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
  with listed as materialized (
    select client.id, client.name, row_number() over (order by client.name, client.id) as number
      from (
        select one.id, one.name
          from public.clients one
         where after is null
            or (one.name, one.id) > (
                 select known.name, known.id from public.clients known where known.id = after
               )
         order by one.name, one.id
         limit row_limit + 1
      ) client
  )
  select jsonb_build_object(
           'clients', coalesce(
             jsonb_agg(
               jsonb_build_object('id', listed.id, 'name', listed.name, 'spend', spent.days)
               order by listed.number
             ) filter (where listed.number <= row_limit),
             '[]'
           ),
           'after', (
             select jsonb_build_object('id', last.id)
               from listed last
              where last.number = row_limit and (select count(*) from listed) > row_limit
           )
         )
    from listed
    left join lateral (
           select coalesce(
                    jsonb_agg(
                      jsonb_build_object(
                        'date', day.date, 'platform', day.platform, 'currency', day.currency,
                        'spend', day.spend::text, 'is_complete', day.is_complete
                      )
                      order by day.date, day.platform, day.currency
                    ),
                    '[]'
                  ) as days
             from (
               select figure.date, figure.platform, figure.currency, sum(figure.value) as spend,
                      bool_and(figure.is_complete) as is_complete
                 from public.requests request
                cross join unnest(platforms) platform (name)
                cross join lateral (
                       select one.date, one.platform, one.value,
                              one.source_detail ->> 'currency' as currency,
                              coalesce(one.is_complete, true) as is_complete
                         from public.performance_metrics one
                        where one.request_id = request.id
                          and one.platform = platform.name
                          and one.metric_type = 'spend'
                          and one.date between since and until
                          and one.derived
                       offset 0
                     ) figure
                where request.client_id = listed.id
                  and listed.number <= row_limit
                group by figure.date, figure.platform, figure.currency
             ) day
         ) spent on true;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_client_spend(integer, date, date, text[], uuid)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
