-- Metrics, part 7b: the figures of an account, in steps.
--
--   account_requests      the requests whose ads it has
--   derive_account_days   their figures on days that changed
--   check_account_days    their figures on unchanged days, in case someone changed the figures

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The requests whose ads the account has, in order, at most `most` after `after`.
create or replace function public.account_requests(
  account public.metric_accounts,
  after uuid,
  most integer
)
returns uuid[]
language sql
stable
set search_path = ''
as $$
  select array(
    select distinct link.request_id
      from public.metric_names known
     cross join lateral (
            select one.request_id
              from public.metric_ad_links one
             where one.platform = (account).platform
               and one.level = known.level
               and one.id = known.id
               and one.is_current
               and (account_requests.after is null or one.request_id > account_requests.after)
            offset 0
          ) link
     where known.platform = (account).platform
       and known.account_id = (account).account_id
     order by link.request_id
     limit most
  );
$$;

-- A step over the account's requests. Returns what derive_metrics returns and "after", where to
-- continue; null when all are done.
create or replace function public.derive_account_days(
  token uuid,
  days date[],
  after uuid,
  most integer,
  chosen text[],
  lease interval,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  account public.metric_accounts;
  requests uuid[];
begin
  select * into account from public.hold_account(token, lease, as_of);
  if not found then
    return null;
  end if;
  requests := public.account_requests(account, derive_account_days.after, most);
  return public.derive_metrics(account.platform, requests, days, chosen, account.sync_id, as_of)
    || jsonb_build_object(
         'after', case when cardinality(requests) = most then requests[most] end
       );
end
$$;

-- The same for what someone may have changed manually: only requests whose figures differ from the
-- ledger are derived, on those of the days that were ever read.
create or replace function public.check_account_days(
  token uuid,
  days date[],
  after uuid,
  most integer,
  chosen text[],
  lease interval,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  account public.metric_accounts;
  requests uuid[];
  known date[];
begin
  select * into account from public.hold_account(token, lease, as_of);
  if not found then
    return null;
  end if;
  requests := public.account_requests(account, check_account_days.after, most);
  known := array(
    select day.date
      from public.metric_days day
     where day.platform = account.platform
       and day.account_id = account.account_id
       and day.date = any (days)
       and day.read_at is not null
  );
  return public.derive_metrics(
    account.platform, public.differing_requests(account.platform, requests, known, chosen), known,
    chosen, account.sync_id, as_of
  ) || jsonb_build_object('after', case when cardinality(requests) = most then requests[most] end);
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'account_requests(public.metric_accounts, uuid, integer)',
    'derive_account_days(uuid, date[], uuid, integer, text[], interval, timestamptz)',
    'check_account_days(uuid, date[], uuid, integer, text[], interval, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
