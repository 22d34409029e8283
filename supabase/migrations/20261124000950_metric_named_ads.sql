-- Metrics, part 8b: the ads to be stored, and what no request names.
--
--   load_named_ads                         the ads to be stored, for a sync
--   store_unnamed_ads, forget_unnamed_ads  the ads of an account that no request names

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The ids of the ads to be stored, in order, at most `most` after `after`, as {"ads": [...],
-- "is_newly_named": whether the account reported one of them before it was named}.
create or replace function public.load_named_ads(
  platform text,
  account_id text,
  after text default '',
  most integer default 20000,
  as_of timestamptz default now()
)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
    'ads', coalesce(
      (
        select jsonb_agg(page.ad_id order by page.ad_id)
          from (
            select named.ad_id
              from public.metric_named_ads named
             where named.platform = load_named_ads.platform
               and named.ad_id > load_named_ads.after
             order by named.ad_id
             limit most
          ) page
      ),
      '[]'
    ),
    'is_newly_named', exists (
      select
        from public.metric_unnamed_ads unnamed
        join public.metric_named_ads named
          on named.platform = unnamed.platform and named.ad_id = unnamed.ad_id
       where unnamed.platform = load_named_ads.platform
         and unnamed.account_id = load_named_ads.account_id
    )
  );
$$;

-- What a sync read of ads that no request names: [{"ad_id", "ad_name", "campaign_id",
-- "campaign_name", "spend", "currency", "first_date", "last_date"}]. `mode` says how much of the
-- look-back that is: whole; part, where several syncs read it together; or recent, which adds
-- ads that are new.
create or replace function public.store_unnamed_ads(
  token uuid,
  mode text,
  ads jsonb,
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
  insert into public.metric_unnamed_ads as known (
    platform, account_id, ad_id, ad_name, campaign_id, campaign_name, spend, currency,
    first_date, last_date, round_started_at
  )
  select account.platform, account.account_id, told.ad_id, told.ad_name, told.campaign_id,
         told.campaign_name, told.spend, told.currency, told.first_date, told.last_date,
         coalesce(account.round_started_at, account.attempted_at)
    from jsonb_to_recordset(ads) told (
           ad_id text, ad_name text, campaign_id text, campaign_name text, spend numeric,
           currency text, first_date date, last_date date
         )
   order by told.ad_id
  on conflict on constraint metric_unnamed_ads_pkey do update
    set ad_name = excluded.ad_name,
        campaign_id = excluded.campaign_id,
        campaign_name = excluded.campaign_name,
        currency = excluded.currency,
        spend = case
          when mode = 'whole' or known.round_started_at <> excluded.round_started_at
               and mode = 'part'
            then excluded.spend
          when mode = 'recent' then known.spend
          else known.spend + excluded.spend
        end,
        first_date = case
          when mode = 'whole' or known.round_started_at <> excluded.round_started_at
               and mode = 'part'
            then excluded.first_date
          else least(known.first_date, excluded.first_date)
        end,
        last_date = case
          when mode = 'whole' then excluded.last_date
          else greatest(known.last_date, excluded.last_date)
        end,
        round_started_at = case
          when mode = 'recent' then known.round_started_at else excluded.round_started_at
        end
    where mode = 'part'
       or (mode = 'recent' and known.last_date < excluded.last_date)
       or (mode = 'whole'
           and (known.ad_name, known.campaign_id, known.campaign_name, known.spend,
                known.currency, known.first_date, known.last_date)
               is distinct from
               (excluded.ad_name, excluded.campaign_id, excluded.campaign_name, excluded.spend,
                excluded.currency, excluded.first_date, excluded.last_date));
  return true;
end
$$;

-- Ads that a complete reading of the look-back did not have: all but `kept`; with null, those of
-- earlier rounds than this one.
create or replace function public.forget_unnamed_ads(
  token uuid,
  kept text[],
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
  delete from public.metric_unnamed_ads known
   where known.platform = account.platform
     and known.account_id = account.account_id
     and case
           when kept is null then known.round_started_at
                < coalesce(account.round_started_at, account.attempted_at)
           else known.ad_id <> all (kept)
         end;
  return true;
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'load_named_ads(text, text, text, integer, timestamptz)',
    'store_unnamed_ads(uuid, text, jsonb, interval, timestamptz)',
    'forget_unnamed_ads(uuid, text[], interval, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;

notify pgrst, 'reload schema';
