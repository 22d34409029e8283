-- What the console shows of ads that no request names.
--
--   console_unnamed_ads    those of an account, highest spend first

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

do $$
begin
  if to_regclass('public.metric_unnamed_ads_spend_idx') is null then
    create index metric_unnamed_ads_spend_idx
      on public.metric_unnamed_ads
         (platform, account_id, (-coalesce(spend, 0)), campaign_id, ad_group_id, ad_id);
  end if;
end
$$;

-- {"ads": [{"campaign_id", "ad_group_id", "ad_id", "kind", "campaign_name", "ad_group_name",
-- "ad_name", "spend", "currency", "first_date", "last_date", "is_named"}], "after": {"spend",
-- "campaign_id", "ad_group_id", "ad_id"}, null at the end}. `is_named`: a request names it now,
-- and the next sync stores its figures.
create or replace function public.console_unnamed_ads(
  platform text,
  account_id text,
  row_limit integer,
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
set enable_sort = off
set enable_incremental_sort = off
as $$
  with listed as materialized (
    select ad.*
      from public.metric_unnamed_ads ad
     where ad.platform = console_unnamed_ads.platform
       and ad.account_id = console_unnamed_ads.account_id
       and (-coalesce(ad.spend, 0), ad.campaign_id, ad.ad_group_id, ad.ad_id)
           > (coalesce(-(console_unnamed_ads.after ->> 'spend')::numeric, '-infinity'),
              coalesce(console_unnamed_ads.after ->> 'campaign_id', ''),
              coalesce(console_unnamed_ads.after ->> 'ad_group_id', ''),
              coalesce(console_unnamed_ads.after ->> 'ad_id', ''))
     order by -coalesce(ad.spend, 0), ad.campaign_id, ad.ad_group_id, ad.ad_id
     limit row_limit + 1
  ),
  page as materialized (
    select listed.*, row_number() over () as number from listed limit row_limit
  )
  select jsonb_build_object(
           'ads', coalesce(
             jsonb_agg(
               to_jsonb(page) - array['platform', 'account_id', 'round_started_at', 'number']
                 || jsonb_build_object(
                      'spend', page.spend::text,
                      'is_named', exists (
                        select
                          from (
                            values ('ad', page.ad_id), ('campaign', page.campaign_id),
                                   (case page.kind when 'asset_group' then 'asset_group'
                                      else 'ad_group' end, page.ad_group_id)
                          ) known (level, id)
                         cross join lateral (
                                select
                                  from public.metric_named_ads named
                                 where named.platform = page.platform
                                   and named.level = known.level
                                   and named.id = known.id
                                offset 0
                              ) named
                      )
                    )
               order by page.number
             ),
             '[]'
           ),
           'after', case
             when (select count(*) from listed) > row_limit then (
               select jsonb_build_object(
                        'spend', coalesce(last.spend, 0)::text, 'campaign_id', last.campaign_id,
                        'ad_group_id', last.ad_group_id, 'ad_id', last.ad_id
                      )
                 from page last
                order by last.number desc
                limit 1
             )
           end
         )
    from page;
$$;

revoke all on function public.console_unnamed_ads(text, text, integer, jsonb)
  from public, anon, authenticated;
grant execute on function public.console_unnamed_ads(text, text, integer, jsonb) to service_role;

notify pgrst, 'reload schema';
