-- Notifications, part 6: what travels with a claim.
--
--   carried_value  event_data, at a size that fits
--   carried_data   what deliveries are rendered from, bounded in bytes

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- A value as it travels, in about `most` bytes: what is longer is cut, as rendering would cut it in
-- the end. No value in an object gets more than a third of that, and the longest go first.
create or replace function public.carried_value(
  carried jsonb,
  levels integer default 3,
  most integer default 64000
)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  whole constant text := carried #>> '{}';
begin
  if coalesce(octet_length(whole), 0) <= most then
    return carried;
  elsif levels = 0 or jsonb_typeof(carried) <> 'object' then
    return to_jsonb(left(whole, (most::bigint * length(whole) / octet_length(whole))::integer));
  end if;
  return (
    with kept as (
      select entry.key, public.carried_value(entry.value, levels - 1, most / 3) as value
        from jsonb_each(carried) entry
    ),
    sized as (
      select kept.key, kept.value, sum(size.bytes) over (order by size.bytes, kept.key) as bytes
        from kept
       cross join lateral (
               select octet_length(kept.key) + octet_length(kept.value::text) as bytes
             ) size
    )
    select coalesce(jsonb_object_agg(sized.key, sized.value), '{}')
      from sized
     where sized.bytes <= most
  );
end
$$;

-- What deliveries are rendered from, numbered in this order, until `byte_limit` is reached. As
-- text, so that no number, depth or letter in one row can spoil an answer of many. One by one: what
-- comes after the limit is not even read, whatever somebody queued.
create or replace function public.carried_data(delivery_ids uuid[], byte_limit integer)
returns table (number integer, id uuid, event_type text, template text, event_data text)
language plpgsql
stable
set search_path = ''
as $$
declare
  next record;
  bytes bigint := 0;
begin
  for next in
    select place.number, place.id, queued.event_type, queued.template, queued.event_data
      from unnest(delivery_ids) with ordinality place (id, number)
     cross join lateral (
             -- a config that was deleted meanwhile leaves what is in doubt to be looked for
             select coalesce(config.event_type, '') as event_type, config.template, held.event_data
               from public.notification_deliveries delivery
               join public.notification_queue held on held.id = delivery.notification_id
               left join public.notification_config config on config.id = held.config_id
              where delivery.id = place.id
              limit 1
           ) queued
     order by place.number
  loop
    exit when bytes >= byte_limit;
    number := next.number;
    id := next.id;
    event_type := next.event_type;
    template := next.template;
    event_data := public.carried_value(next.event_data)::text;
    bytes := bytes + coalesce(octet_length(event_data), 0) + coalesce(octet_length(template), 0);
    return next;
  end loop;
end
$$;

do $$
declare
  brought text;
begin
  foreach brought in array array[
    'carried_value(jsonb, integer, integer)',
    'carried_data(uuid[], integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', brought);
    execute format('grant execute on function public.%s to service_role', brought);
  end loop;
end
$$;
