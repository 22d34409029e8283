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
  facts integer;
  days integer;
  changes integer;
begin
  insert into public.metric_ledger as ledger (whole_from)
  values (before)
  on conflict (is_one) do update
    set whole_from = greatest(ledger.whole_from, excluded.whole_from)
    where ledger.whole_from < excluded.whole_from;
  -- these first: a day without its row counts as one that the ledger no longer has
  delete from public.metric_days day
   where day.ctid = any (array(
           select due.ctid
             from public.metric_accounts account
            cross join lateral (
                    select one.ctid
                      from public.metric_days one
                     where one.platform = account.platform
                       and one.account_id = account.account_id
                       and one.date < before
                     limit batch_size
                  ) due
            limit batch_size
         ));
  get diagnostics days = row_count;
  delete from public.metric_spend_changes change
   where change.ctid = any (array(
           select due.ctid
             from public.metric_accounts account
            cross join lateral (
                    select one.ctid
                      from public.metric_spend_changes one
                     where one.platform = account.platform
                       and one.account_id = account.account_id
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
             from public.metric_accounts account
            cross join lateral (
                    select one.ctid
                      from public.ad_metrics one
                     where one.platform = account.platform
                       and one.account_id = account.account_id
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
        from public.metric_accounts account
       cross join lateral (
              select
                from public.ad_metrics fact
               where fact.platform = account.platform
                 and fact.account_id = account.account_id
                 and fact.date < public.ledger_cutoff(cutoff)
              union all
              select
                from public.metric_days day
               where day.platform = account.platform
                 and day.account_id = account.account_id
                 and day.date < public.ledger_cutoff(cutoff)
              union all
              select
                from public.metric_spend_changes change
               where change.platform = account.platform
                 and change.account_id = account.account_id
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
