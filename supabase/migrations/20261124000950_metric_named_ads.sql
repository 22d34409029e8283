-- Metrics, part 8b: what is to be stored, and what no request names.
--
--   load_named_ads                         what is to be stored, for a sync
--   store_unnamed_ads, forget_unnamed_ads  what an account reports and no request names

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The ids of what is to be stored, in order, at most `most` after `after` ({"level", "id"}; null
-- for the first page), as {"named": {<level>: [<id>]}, "after": where to continue, null at the end,
-- "is_newly_named": whether the account reported one of them before it was named}.
create or replace function public.load_named_ads(
  platform text,
  account_id text,
  after jsonb default null,
  most integer default 20000,
  as_of timestamptz default now()
)
returns jsonb
language sql
stable
set search_path = ''
as $$
  with page as materialized (
    select named.level, named.id
      from public.metric_named_ads named
     where named.platform = load_named_ads.platform
       and (named.level, named.id)
           > (coalesce(load_named_ads.after ->> 'level', ''),
              coalesce(load_named_ads.after ->> 'id', ''))
     order by named.level, named.id
     limit most
  )
  select jsonb_build_object(
    'named', coalesce(
      (
        select jsonb_object_agg(of_level.level, of_level.ids)
          from (
            select page.level, jsonb_agg(page.id order by page.id) as ids
              from page
             group by page.level
          ) of_level
      ),
      '{}'
    ),
    'after', (
      select to_jsonb(page) from page where (select count(*) from page) = most
       order by page.level desc, page.id desc limit 1
    ),
    'is_newly_named', exists (
      select
        from (
          select 'ad' as level, unnamed.ad_id as id
            from public.metric_unnamed_ads unnamed
           where unnamed.platform = load_named_ads.platform
             and unnamed.account_id = load_named_ads.account_id
          union all
          select case unnamed.kind when 'asset_group' then 'asset_group' else 'ad_group' end,
                 unnamed.ad_group_id
            from public.metric_unnamed_ads unnamed
           where unnamed.platform = load_named_ads.platform
             and unnamed.account_id = load_named_ads.account_id
          union all
          select 'campaign', unnamed.campaign_id
            from public.metric_unnamed_ads unnamed
           where unnamed.platform = load_named_ads.platform
             and unnamed.account_id = load_named_ads.account_id
        ) unnamed
       cross join lateral (
               select
                 from public.metric_named_ads named
                where named.platform = load_named_ads.platform
                  and named.level = unnamed.level
                  and named.id = unnamed.id
               offset 0
             ) named
    )
  );
$$;

-- What a sync read that no request names: [{"campaign_id", "ad_group_id", "ad_id", "kind",
-- "campaign_name", "ad_group_name", "ad_name", "spend", "currency", "first_date", "last_date"}].
-- `mode` says how much of the look-back that is: whole; part, where several syncs read it together;
-- or recent, which only adds.
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
    platform, account_id, campaign_id, ad_group_id, ad_id, kind, campaign_name, ad_group_name,
    ad_name, spend, currency, first_date, last_date, round_started_at
  )
  select account.platform, account.account_id, given.campaign_id, given.ad_group_id, given.ad_id,
         given.kind, given.campaign_name, given.ad_group_name, given.ad_name, given.spend,
         given.currency, given.first_date, given.last_date,
         coalesce(account.round_started_at, account.attempted_at)
    from jsonb_to_recordset(ads) given (
           campaign_id text, ad_group_id text, ad_id text, kind text, campaign_name text,
           ad_group_name text, ad_name text, spend numeric, currency text, first_date date,
           last_date date
         )
   order by given.campaign_id, given.ad_group_id, given.ad_id
  on conflict on constraint metric_unnamed_ads_pkey do update
    set kind = excluded.kind,
        campaign_name = excluded.campaign_name,
        ad_group_name = excluded.ad_group_name,
        ad_name = excluded.ad_name,
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
           and (known.kind, known.campaign_name, known.ad_group_name, known.ad_name, known.spend,
                known.currency, known.first_date, known.last_date)
               is distinct from
               (excluded.kind, excluded.campaign_name, excluded.ad_group_name, excluded.ad_name,
                excluded.spend, excluded.currency, excluded.first_date, excluded.last_date));
  return true;
end
$$;

-- Deletes what a complete reading of the look-back did not have: all but `kept` ([{"campaign_id",
-- "ad_group_id", "ad_id"}]); with null, what only earlier rounds than this one had.
create or replace function public.forget_unnamed_ads(
  token uuid,
  kept jsonb,
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
           else (known.campaign_id, known.ad_group_id, known.ad_id) not in (
             select given.campaign_id, given.ad_group_id, given.ad_id
               from jsonb_to_recordset(kept) given (
                      campaign_id text, ad_group_id text, ad_id text
                    )
           )
         end;
  return true;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'load_named_ads(text, text, jsonb, integer, timestamptz)',
    'store_unnamed_ads(uuid, text, jsonb, interval, timestamptz)',
    'forget_unnamed_ads(uuid, jsonb, interval, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
