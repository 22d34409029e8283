-- Metrics, part 8a: which requests name which ads.
--
--   refresh_ad_links    makes the links match requests.metadata, in slices of requests
--   settle_ad_links     figures of requests whose ads changed, in slices of days
--
-- Neither is part of a sync: whatever a mapping costs, no account waits for it.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- A step over requests in order, at most `most` after `after`. `mapping_keys` has the keys of
-- requests.metadata, {<platform>: {<level>: <key>}}. Returns {"after", "arrived", "departed"};
-- "after" is null when all are done.
create or replace function public.refresh_ad_links(
  mapping_keys jsonb,
  after uuid default null,
  most integer default 5000,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_nestloop = off
as $$
declare
  requests uuid[];
  counts jsonb;
begin
  perform pg_advisory_xact_lock(hashtextextended('refresh_ad_links', 0));
  requests := array(
    select request.id
      from public.requests request
     where refresh_ad_links.after is null or request.id > refresh_ad_links.after
     order by request.id
     limit most
  );
  with key as materialized (
    select platform.key collate "C" as platform, level.key collate "C" as level,
           level.value as name
      from jsonb_each(mapping_keys) platform
     cross join lateral jsonb_each_text(platform.value) level
  ),
  named as materialized (
    select distinct key.platform, request.id as request_id, key.level, ad.id collate "C" as id
      from public.requests request
     cross join key
     cross join lateral (
             -- usually it is the id itself
             select request.metadata ->> key.name where request.metadata ->> key.name ~ '^[0-9]+$'
             union all
             select public.ad_ids_in(request.metadata -> key.name)
              where request.metadata ->> key.name !~ '^[0-9]+$'
           ) ad (id)
     where request.id = any (requests)
       and request.metadata ?| array(select name from key)
       and request.metadata ? key.name
  ),
  known as materialized (
    select link.platform, link.request_id, link.level, link.id
      from unnest(requests) wanted (request_id)
     cross join lateral (
            select one.platform, one.request_id, one.level, one.id
              from public.metric_ad_links one
             where one.request_id = wanted.request_id and one.is_current
            offset 0
          ) link
     where mapping_keys ? link.platform
  ),
  arrived as materialized (select * from named except select * from known),
  departed as materialized (select * from known except select * from named),
  linked as (
    insert into public.metric_ad_links (platform, request_id, level, id, is_current)
    select change.*
      from (
        select arrived.*, true from arrived
        union all
        select departed.*, false from departed
      ) change (platform, request_id, level, id, is_current)
     order by change.request_id, change.level, change.id
    on conflict on constraint metric_ad_links_pkey do update set is_current = excluded.is_current
  ),
  remembered as (
    insert into public.metric_named_ads (platform, level, id, named_at)
    select distinct arrived.platform, arrived.level, arrived.id, as_of from arrived
    on conflict do nothing
  ),
  unsettled as (
    insert into public.metric_unsettled_requests as unsettled (platform, request_id)
    select departed.platform, departed.request_id from departed
    union
    select arrived.platform, arrived.request_id
      from arrived
     where public.newest_fact(arrived.platform, arrived.level, arrived.id) is not null
    on conflict on constraint metric_unsettled_requests_pkey do update set before = 'infinity'
  )
  select jsonb_build_object(
           'arrived', (select count(*) from arrived),
           'departed', (select count(*) from departed),
           'after', case when cardinality(requests) = most then requests[most] end
         )
    into counts;
  return counts;
end
$$;

-- The newest day before `before` for which the ledger has a fact of it; null for none.
create or replace function public.newest_fact(
  platform text,
  level text,
  id text,
  before date default 'infinity'
)
returns date
language sql
stable
set search_path = ''
as $$
  select case newest_fact.level
           when 'ad' then (
             select fact.date
               from public.ad_metrics fact
              where fact.platform = newest_fact.platform
                and fact.ad_id = newest_fact.id
                and fact.date < before
              order by fact.date desc
              limit 1
           )
           when 'campaign' then (
             select fact.date
               from public.ad_metrics fact
              where fact.platform = newest_fact.platform
                and fact.campaign_id = newest_fact.id
                and fact.date < before
              order by fact.date desc
              limit 1
           )
           else (
             select fact.date
               from public.ad_metrics fact
              where fact.platform = newest_fact.platform
                and fact.ad_group_id = newest_fact.id
                and fact.date < before
              order by fact.date desc
              limit 1
           )
         end;
$$;

-- The day from which on, up to `newest`, a request has at most `most` facts: `newest` itself where
-- that one has more, at most 399 days before it. Hardly more facts are read than that: in windows of
-- a day, four days, sixteen and so on.
create or replace function public.oldest_day_within(
  platform text,
  request_id uuid,
  newest date,
  most integer
)
returns date
language plpgsql
stable
set search_path = ''
as $$
declare
  earliest constant date := newest - 399;
  until date := newest;
  since date;
  width integer := 1;
  fitting bigint := most;
  daily record;
begin
  while until >= earliest loop
    since := greatest(until - width + 1, earliest);
    for daily in
      execute format(
        'select fact.date, count(*) as facts from (%s) fact group by fact.date order by 1 desc',
        public.facts_query()
      )
      using platform, array[request_id],
            array(select day::date from generate_series(since, until, interval '1 day') day)
    loop
      fitting := fitting - daily.facts;
      if fitting < 0 then
        return least(daily.date + 1, newest);
      end if;
    end loop;
    until := since - 1;
    width := width * 4;
  end loop;
  return earliest;
end
$$;

-- A step over some days of one request, with about `most` facts at most. `chosen` are figures beyond
-- the usual ones (null: none). Returns {"is_finished": true} when nothing is left, otherwise
--   {"is_finished", "created", "updated", "deleted", "mixed_currency_days"}.
create or replace function public.settle_ad_links(
  most integer,
  chosen text[] default null,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  one public.metric_unsettled_requests;
  newest date;
  oldest date;
begin
  select * into one
    from public.metric_unsettled_requests unsettled
   order by unsettled.platform, unsettled.request_id
   limit 1
     for update skip locked;
  if not found then
    return '{"is_finished": true}';
  end if;

  select max(public.newest_fact(one.platform, link.level, link.id, one.before))
    into newest
    from public.metric_ad_links link
   where link.platform = one.platform and link.request_id = one.request_id;
  -- a day whose last ad was removed has no facts, but a figure to be deleted
  select greatest(newest, max(figure.date))
    into newest
    from public.metric_kinds() kind
   cross join lateral (
          select figure.date
            from public.performance_metrics figure
           where figure.request_id = one.request_id
             -- as its index compares
             and figure.platform = one.platform collate "default"
             and figure.metric_type = kind.metric_type
             and figure.derived
             and figure.date < one.before
           order by figure.date desc
           limit 1
        ) figure;

  if newest is null then
    delete from public.metric_ad_links link
     where link.platform = one.platform
       and link.request_id = one.request_id
       and not link.is_current;
    delete from public.metric_unsettled_requests unsettled
     where unsettled.platform = one.platform and unsettled.request_id = one.request_id;
    return '{"is_finished": false, "created": 0, "updated": 0, "deleted": 0}';
  end if;
  oldest := public.oldest_day_within(one.platform, one.request_id, newest, most);
  update public.metric_unsettled_requests unsettled
     set before = oldest
   where unsettled.platform = one.platform and unsettled.request_id = one.request_id;
  return public.derive_metrics(
    one.platform, array[one.request_id],
    array(select day::date from generate_series(oldest, newest, interval '1 day') day),
    chosen, null, as_of
  ) || '{"is_finished": false}';
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'refresh_ad_links(jsonb, uuid, integer, timestamptz)',
    'newest_fact(text, text, text, date)',
    'oldest_day_within(text, uuid, date, integer)',
    'settle_ad_links(integer, text[], timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
