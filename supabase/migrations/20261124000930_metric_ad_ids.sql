-- Metrics, part 6a: the ids of ads as people paste them into requests.metadata.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The ids in one value: a text, a number or a list of them. A text may hold an id, or several with
-- commas, blanks or line breaks between them or as JSON, each with or without act_, a URN
-- (urn:li:sponsoredCreative:1) or a resource name (customers/1/adGroupAds/2~3). Characters that
-- are invisible are ignored. What is not an id is returned as well: it matches no ad, and the doctor
-- names it.
create or replace function public.ad_ids_in(value jsonb)
returns setof text
language sql
immutable
parallel safe
set search_path = ''
as $$
  select ids.id
    from jsonb_array_elements(
           case jsonb_typeof(ad_ids_in.value)
             when 'array' then ad_ids_in.value
             else jsonb_build_array(ad_ids_in.value)
           end
         ) element (value)
   cross join lateral (select element.value #>> '{}' as pasted) named
   cross join lateral (
           select pasted as id where pasted ~ '^[0-9]+$'
           union all
           select regexp_replace(
                    regexp_replace(
                      piece,
                      '^(?:act_|urn:li:[A-Za-z]+:|customers/[0-9]+/[A-Za-z]+/(?:[0-9]+~)?)', ''
                    ),
                    '\.0+$', '' -- of a number that went through a spreadsheet
                  )
             from regexp_split_to_table(
                    regexp_replace(
                      replace(pasted, '%3A', ':'),
                      '[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e'
                      '\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]+',
                      '', 'g'
                    ),
                    '[][,;|"''\u0001-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+'
                  ) piece
            where pasted !~ '^[0-9]+$' and piece <> ''
         ) ids
   where jsonb_typeof(element.value) in ('string', 'number');
$$;

revoke all on function public.ad_ids_in(jsonb) from public, anon, authenticated;
grant execute on function public.ad_ids_in(jsonb) to service_role;
