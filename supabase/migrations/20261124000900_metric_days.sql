-- Metrics, part 5a: what is known of each day of an account.
--
--   compare_metric_days     which days of a completely read window differ from the stored ones
--   mark_metric_days        these days are read, and their figures derived
--   leave_out_metric_days   these could not be read
--
-- Each takes the sync's token, and does nothing and returns null once another sync holds the
-- account.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- `days` has for each day that was read what mark_metric_days takes, `kinds` are the kinds of rows
-- that were read. Unchanged days are marked as read. Returns {"changed": [<day>], "stored": <number
-- of facts of these kinds that the ledger has for all of the days>}.
create or replace function public.compare_metric_days(
  token uuid,
  connection_id uuid,
  days jsonb,
  kinds text[],
  lease interval,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  account public.metric_accounts;
  compared jsonb;
begin
  select * into account from public.hold_account(token, lease, as_of);
  if not found then
    return null;
  end if;
  select jsonb_build_object(
           'changed', coalesce(
             jsonb_agg(given.day order by given.day) filter (
               where known.digest is distinct from given.fields ->> 'digest'
                  or known.failures > 0
                  or stored.count <> (given.fields ->> 'rows_named')::integer
             ),
             '[]'
           ),
           'stored', coalesce(sum(stored.count), 0)
         )
    into compared
    from (select one.key::date as day, one.value as fields from jsonb_each(days) one) given
    left join lateral (
           select one.digest, one.failures
             from public.metric_days one
            where one.platform = account.platform
              and one.account_id = account.account_id
              and one.date = given.day
           offset 0
         ) known on true
   cross join lateral (
          select count(*) as count
            from public.ad_metrics fact
           where fact.platform = account.platform
             and fact.account_id = account.account_id
             and fact.date = given.day
             and fact.kind = any (kinds)
          offset 0
        ) stored;
  perform public.mark_metric_days(
    token, connection_id,
    days - array(select jsonb_array_elements_text(compared -> 'changed')),
    lease, as_of
  );
  return compared;
end
$$;

-- `days` has {"rows_read", "rows_named", "spend_read", "spend_named", "spend_total",
-- "impressions_read", "clicks_read", "digest"} of each day, as of the start of the sync.
create or replace function public.mark_metric_days(
  token uuid,
  connection_id uuid,
  days jsonb,
  lease interval,
  as_of timestamptz default now()
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  account public.metric_accounts;
begin
  select * into account from public.hold_account(token, lease, as_of);
  if not found then
    return null;
  end if;
  insert into public.metric_days as day (
    platform, account_id, date, read_at, sync_id, connection_id, rows_read, rows_named,
    spend_read, spend_named, spend_total, impressions_read, clicks_read, digest
  )
  select account.platform, account.account_id, given.key::date, account.attempted_at,
         account.sync_id, mark_metric_days.connection_id,
         (given.value ->> 'rows_read')::integer, (given.value ->> 'rows_named')::integer,
         (given.value ->> 'spend_read')::numeric, (given.value ->> 'spend_named')::numeric,
         (given.value ->> 'spend_total')::numeric,
         (given.value ->> 'impressions_read')::numeric,
         (given.value ->> 'clicks_read')::numeric,
         given.value ->> 'digest'
    from jsonb_each(days) given
  on conflict on constraint metric_days_pkey do update
    set read_at = excluded.read_at,
        sync_id = excluded.sync_id,
        connection_id = excluded.connection_id,
        rows_read = excluded.rows_read,
        rows_named = excluded.rows_named,
        spend_read = excluded.spend_read,
        spend_named = excluded.spend_named,
        spend_total = excluded.spend_total,
        impressions_read = excluded.impressions_read,
        clicks_read = excluded.clicks_read,
        digest = excluded.digest,
        failures = 0,
        try_after = null,
        problem = null;
  return true;
end
$$;

-- `days` has the reason for each day that could not be read. What is stored of it stays; it is
-- tried again after an hour, two, four, and so on up to three days.
create or replace function public.leave_out_metric_days(
  token uuid,
  days jsonb,
  lease interval,
  as_of timestamptz default now()
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  account public.metric_accounts;
begin
  select * into account from public.hold_account(token, lease, as_of);
  if not found then
    return null;
  end if;
  insert into public.metric_days as day
    (platform, account_id, date, failures, try_after, problem)
  select account.platform, account.account_id, given.key::date, 1, as_of + interval '1 hour',
         given.value
    from jsonb_each_text(days) given
  on conflict on constraint metric_days_pkey do update
    set failures = day.failures + 1,
        try_after = as_of + least(
          interval '3 days', interval '1 hour' * power(2, least(day.failures, 10))
        ),
        problem = excluded.problem;
  return true;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'compare_metric_days(uuid, uuid, jsonb, text[], interval, timestamptz)',
    'mark_metric_days(uuid, uuid, jsonb, interval, timestamptz)',
    'leave_out_metric_days(uuid, jsonb, interval, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
