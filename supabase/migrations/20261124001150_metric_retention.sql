-- Retention of the metrics' ledger: what is older than the policy for ad_metrics allows is deleted,
-- with its history of restatements; the figures stay.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The ledger has days, not times: those that ended before the cutoff in every time zone.
create or replace function public.ledger_cutoff(cutoff timestamptz)
returns date
language sql
immutable
set search_path = ''
as $$
  select (cutoff at time zone 'UTC')::date - 1;
$$;

-- The accounts of which the ledger has facts, days or restatements, each found by the index that begins
-- with it: those that have no connection any more are among them.
create or replace function public.ledger_accounts()
returns table (platform text, account_id text)
language sql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
  with recursive fact (account_id, platform) as (
    (
      select one.account_id, one.platform
        from public.ad_metrics one
       order by one.account_id, one.platform
       limit 1
    )
    union all
    select next.account_id, next.platform
      from fact
     cross join lateral (
             select one.account_id, one.platform
               from public.ad_metrics one
              where (one.account_id, one.platform) > (fact.account_id, fact.platform)
              order by one.account_id, one.platform
              limit 1
           ) next
  ), day (platform, account_id) as (
    (
      select one.platform, one.account_id
        from public.metric_days one
       order by one.platform, one.account_id
       limit 1
    )
    union all
    select next.platform, next.account_id
      from day
     cross join lateral (
             select one.platform, one.account_id
               from public.metric_days one
              where (one.platform, one.account_id) > (day.platform, day.account_id)
              order by one.platform, one.account_id
              limit 1
           ) next
  ), change (platform, account_id) as (
    (
      select one.platform, one.account_id
        from public.metric_spend_changes one
       order by one.platform, one.account_id
       limit 1
    )
    union all
    select next.platform, next.account_id
      from change
     cross join lateral (
             select one.platform, one.account_id
               from public.metric_spend_changes one
              where (one.platform, one.account_id) > (change.platform, change.account_id)
              order by one.platform, one.account_id
              limit 1
           ) next
  )
  select fact.platform, fact.account_id from fact
  union
  select day.platform, day.account_id from day
  union
  select change.platform, change.account_id from change;
$$;

-- Deletes at most `batch_size` facts before the cutoff, with what is known of their days, account by
-- account: an index on the date alone would cost every sync. From the first batch on, figures of days
-- before the cutoff are left as they are (metric_ledger), so that no figure is derived from a
-- half-purged day. Returns how many rows were deleted.
create or replace function public.purge_ad_metrics_batch(cutoff timestamptz, batch_size integer)
returns integer
language plpgsql
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
declare
  before constant date := public.ledger_cutoff(cutoff);
  platforms text[];
  account_ids text[];
  facts integer;
  days integer;
  changes integer;
begin
  insert into public.metric_ledger as ledger (whole_from)
  values (before)
  on conflict (is_one) do update
    set whole_from = greatest(ledger.whole_from, excluded.whole_from)
    where ledger.whole_from < excluded.whole_from;
  select array_agg(account.platform), array_agg(account.account_id)
    into platforms, account_ids
    from public.ledger_accounts() account;
  -- these first: a day without its row counts as one that the ledger no longer has
  delete from public.metric_days day
   where day.ctid = any (array(
           select due.ctid
             from unnest(platforms, account_ids) account (platform, account_id)
            cross join lateral (
                    select one.ctid
                      from public.metric_days one
                     where one.platform = account.platform collate "C"
                       and one.account_id = account.account_id collate "C"
                       and one.date < before
                     limit batch_size
                  ) due
            limit batch_size
         ));
  get diagnostics days = row_count;
  delete from public.metric_spend_changes change
   where change.ctid = any (array(
           select due.ctid
             from unnest(platforms, account_ids) account (platform, account_id)
            cross join lateral (
                    select one.ctid
                      from public.metric_spend_changes one
                     where one.platform = account.platform collate "C"
                       and one.account_id = account.account_id collate "C"
                       and one.date < before
                     limit batch_size
                  ) due
            limit batch_size
         ));
  get diagnostics changes = row_count;
  if days = batch_size then
    return days + changes;
  end if;
  delete from public.ad_metrics fact
   where fact.ctid = any (array(
           select due.ctid
             from unnest(platforms, account_ids) account (platform, account_id)
            cross join lateral (
                    select one.ctid
                      from public.ad_metrics one
                     where one.platform = account.platform collate "C"
                       and one.account_id = account.account_id collate "C"
                       and one.date < before
                     limit batch_size
                  ) due
            limit batch_size
         ));
  get diagnostics facts = row_count;
  return facts + days + changes;
end
$$;

-- The rows that a policy would purge, counted up to `most`.
create or replace function public.count_aged_facts(cutoff timestamptz, most integer)
returns bigint
language sql
stable
set search_path = ''
as $$
  select count(*)
    from (
      select
        from public.ledger_accounts() account
       cross join lateral (
              select
                from public.ad_metrics fact
               where fact.platform = account.platform collate "C"
                 and fact.account_id = account.account_id collate "C"
                 and fact.date < public.ledger_cutoff(cutoff)
              union all
              select
                from public.metric_days day
               where day.platform = account.platform collate "C"
                 and day.account_id = account.account_id collate "C"
                 and day.date < public.ledger_cutoff(cutoff)
              union all
              select
                from public.metric_spend_changes change
               where change.platform = account.platform collate "C"
                 and change.account_id = account.account_id collate "C"
                 and change.date < public.ledger_cutoff(cutoff)
               limit most
            ) aged
       limit most
    ) counted;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'ledger_cutoff(timestamptz)',
    'ledger_accounts()',
    'purge_ad_metrics_batch(timestamptz, integer)',
    'count_aged_facts(timestamptz, integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
