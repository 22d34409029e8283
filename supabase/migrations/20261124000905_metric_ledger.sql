-- Metrics, part 5b: from a platform's rows to the ledger.
--
--   stage_metric_rows   a part of a day that is too large for one call
--   store_metric_days   days as they were read, each of them completely or not at all
--
-- Each takes the sync's token, and does nothing and returns null once another sync holds the
-- account. The queries are planned again at each call: in a connection that stays open, a plan made
-- when the tables were empty would scan them while a sync fills them. Rows that come with the call
-- have no statistics: without nested loops, no wrong guess at their number costs more than a hash
-- table.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

create or replace function public.stage_metric_rows(
  token uuid,
  part integer,
  rows jsonb,
  lease interval,
  as_of timestamptz default now()
)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  perform 1 from public.hold_account(token, lease, as_of);
  if not found then
    return null;
  end if;
  insert into public.metric_staged_rows as staged (token, part, rows)
  values (stage_metric_rows.token, stage_metric_rows.part, stage_metric_rows.rows)
  on conflict on constraint metric_staged_rows_pkey do update set rows = excluded.rows;
  return true;
end
$$;

-- Makes the ledger of `days` what was read of them: `rows` and those that were staged, each
-- {"date", "campaign_id", "ad_group_id", "ad_id", "kind", "measures", "currency", "attribution"}.
-- Unchanged rows are not touched; rows that were not read are deleted. `account` has {"currency",
-- "time_zone", "today"}: days before `today` are complete; `names` [{"level", "id", "name"}].
-- `kinds` are the kinds of rows that were read: others stay. Returns {"written", "gone"}.
create or replace function public.store_metric_days(
  token uuid,
  account jsonb,
  days date[],
  kinds text[],
  rows jsonb,
  names jsonb,
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
  of public.metric_accounts;
  counts jsonb;
begin
  select * into of from public.hold_account(token, lease, as_of);
  if not found then
    return null;
  end if;

  insert into public.metric_names as known (platform, account_id, level, id, name)
  select of.platform, of.account_id, given.level, given.id, given.name
    from jsonb_to_recordset(names) given (level text, id text, name text)
   order by given.level, given.id
  on conflict on constraint metric_names_pkey do update
    set name = excluded.name
    where known.name is distinct from excluded.name;

  with reported as materialized (
    select row.*
      from (
        select store_metric_days.rows as list
        union all
        select staged.rows
          from public.metric_staged_rows staged
         where staged.token = store_metric_days.token
      ) part
     cross join lateral jsonb_to_recordset(part.list) row (
             date date, campaign_id text, ad_group_id text, ad_id text, kind text,
             measures jsonb, currency text, attribution text
           )
  ),
  stored as materialized (
    select fact.*
      from public.ad_metrics fact
     where fact.platform = of.platform
       and fact.account_id = of.account_id
       and fact.date = any (days)
       and fact.kind = any (kinds)
  ),
  compared as materialized (
    select coalesce(reported.date, stored.date) as date,
           coalesce(reported.campaign_id, stored.campaign_id) as campaign_id,
           coalesce(reported.ad_group_id, stored.ad_group_id) as ad_group_id,
           coalesce(reported.ad_id, stored.ad_id) as ad_id,
           coalesce(reported.kind, stored.kind) as kind,
           reported.measures, reported.attribution,
           coalesce(reported.date, stored.date) < (account ->> 'today')::date as is_complete,
           coalesce(reported.currency, account ->> 'currency') as currency,
           stored.measures as measures_before,
           reported.date is null as is_gone
      from reported
      full join stored
        on stored.date = reported.date
       and stored.campaign_id = reported.campaign_id
       and stored.ad_group_id = reported.ad_group_id
       and stored.ad_id = reported.ad_id
     where reported.date is null
        or stored.date is null
        or (stored.measures, stored.kind, stored.currency, stored.time_zone,
            stored.is_complete, stored.attribution)
           is distinct from
           (reported.measures, reported.kind,
            coalesce(reported.currency, account ->> 'currency'), account ->> 'time_zone',
            reported.date < (account ->> 'today')::date, reported.attribution)
  ),
  written as (
    insert into public.ad_metrics as fact (
      platform, account_id, date, campaign_id, ad_group_id, ad_id, kind, measures, currency,
      time_zone, is_complete, attribution, sync_id
    )
    select of.platform, of.account_id, row.date, row.campaign_id, row.ad_group_id, row.ad_id,
           row.kind, row.measures, row.currency, account ->> 'time_zone', row.is_complete,
           row.attribution, of.sync_id
      from compared row
     where not row.is_gone
     order by row.date, row.campaign_id, row.ad_group_id, row.ad_id
    on conflict on constraint ad_metrics_pkey do update
      set kind = excluded.kind,
          measures = excluded.measures,
          currency = excluded.currency,
          time_zone = excluded.time_zone,
          is_complete = excluded.is_complete,
          attribution = excluded.attribution,
          sync_id = excluded.sync_id
    returning 1
  ),
  gone as (
    delete from public.ad_metrics fact
     where fact.platform = of.platform
       and fact.account_id = of.account_id
       and fact.date = any (days)
       and (fact.date, fact.campaign_id, fact.ad_group_id, fact.ad_id) in (
             select row.date, row.campaign_id, row.ad_group_id, row.ad_id
               from compared row
              where row.is_gone
           )
    returning 1
  ),
  restated as (
    insert into public.metric_spend_changes as history (
      platform, account_id, request_id, date, number, sync_id, old_spend, new_spend, changed_at
    )
    select of.platform, of.account_id, change.request_id, change.date,
           least(change.earlier + 1, 30), of.sync_id, change.old, change.new, as_of
      from public.changed_spend(
             of.platform, of.account_id,
             (
               select jsonb_agg(jsonb_build_object(
                        'kind', row.kind, 'campaign_id', row.campaign_id,
                        'ad_group_id', row.ad_group_id, 'ad_id', row.ad_id, 'date', row.date,
                        'difference', change.difference
                      ))
                 from compared row
                cross join lateral (
                       select coalesce((row.measures ->> 'spend')::numeric, 0)
                              - coalesce((row.measures_before ->> 'spend')::numeric, 0)
                              as difference
                     ) change
                where row.measures_before is not null and change.difference <> 0
             )
           ) change
    on conflict on constraint metric_spend_changes_pkey do update
      set sync_id = excluded.sync_id,
          new_spend = excluded.new_spend,
          changed_at = excluded.changed_at
  )
  select jsonb_build_object(
           'written', (select count(*) from written),
           'gone', (select count(*) from gone)
         )
    into counts;
  delete from public.metric_staged_rows staged where staged.token = store_metric_days.token;
  return counts;
end
$$;

-- How the spend of requests and days changes with these changes of facts ([{"kind", "campaign_id",
-- "ad_group_id", "ad_id", "date", "difference"}]; null: none), before they are made: the account's
-- spend now and then, and how many changes came earlier.
create or replace function public.changed_spend(platform text, account_id text, changes jsonb)
returns table (request_id uuid, date date, old numeric, new numeric, earlier integer)
language plpgsql
stable
set search_path = ''
as $$
begin
  if changes is null then
    return;
  end if;
  return query execute format(
    $query$
    with change as materialized (
      select link.request_id, fact.date, sum(fact.difference) as difference
        from jsonb_to_recordset($5) fact (
               kind text, campaign_id text, ad_group_id text, ad_id text, date date,
               difference numeric
             )
       cross join lateral public.naming_requests(
               $1, fact.kind, fact.campaign_id, fact.ad_group_id, fact.ad_id
             ) link (request_id)
       group by link.request_id, fact.date
      having sum(fact.difference) <> 0
    ),
    stored as materialized (
      select one.request_id, one.date, sum((one.measures ->> 'spend')::numeric) as spend
        from change
       cross join lateral (%s) one
       where one.account_id = $4
       group by one.request_id, one.date
    )
    select change.request_id, change.date, stored.spend, stored.spend + change.difference,
           known.count
      from change
      join stored on stored.request_id = change.request_id and stored.date = change.date
     cross join lateral (
            select coalesce(max(one.number), 0) as count
              from public.metric_spend_changes one
             where one.platform = $1
               and one.account_id = $4
               and one.date = change.date
               and one.request_id = change.request_id
            offset 0
          ) known
     where stored.spend is not null
    $query$,
    -- for each change's own request and day
    replace(
      replace(public.facts_query(), '$2', 'array[change.request_id]'), '$3', 'array[change.date]'
    )
  )
  using platform, null, null, account_id, changes;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'stage_metric_rows(uuid, integer, jsonb, interval, timestamptz)',
    'store_metric_days(uuid, jsonb, date[], text[], jsonb, jsonb, interval, timestamptz)',
    'changed_spend(text, text, jsonb)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
