-- Notifications, part 7: the data that a claim returns.
--
--   carried_value   event_data, at a size that fits
--   known_of_event  what the ids in it refer to
--   carried_data    what deliveries are rendered from, bounded in bytes

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- A value as a claim returns it, in about `most` bytes: what is longer is cut, as rendering would
-- cut it anyway. No value in an object gets more than a third of that, and the longest are left out
-- first.
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

-- The id under the first of these keys that has one.
create or replace function public.event_id(event_data jsonb, keys text[])
returns uuid
language plpgsql
immutable
set search_path = ''
as $$
declare
  key text;
begin
  foreach key in array keys loop
    if event_data ? key
       and (event_data ->> key) ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    then
      return event_data ->> key;
    end if;
  end loop;
  return null;
end
$$;

-- What the ids of an event refer to: {request: {id, title, due_date}, client: {name}, actor,
-- assignee: {name, slack_id}}, each null if the event names none that exists. The request is that
-- of event_data.request_id, or the notification's own entity; the client and the assignee are the
-- event's, or the request's. Called for each delivery, so in few steps.
create or replace function public.known_of_event(
  event_data jsonb,
  entity_type text,
  entity_id uuid
)
returns jsonb
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
declare
  data jsonb := event_data;
  actor_keys constant text[] :=
    '{actor_id,changed_by,author_id,author,commented_by,uploaded_by,assigned_by,created_by,updated_by,user_id}';
  request record;
  client record;
  person record;
  wanted uuid;
  found_request jsonb;
  found_client jsonb;
  people jsonb[] := '{null,null}';
begin
  if jsonb_typeof(data) = 'string' then
    begin
      -- an object that was stored as its own text
      data := (data #>> '{}')::jsonb;
    exception
      when data_exception or program_limit_exceeded then
        data := null;
    end;
  end if;
  if jsonb_typeof(data) <> 'object' then
    data := null;
  end if;
  wanted := public.event_id(data, '{request_id}');
  if wanted is null and entity_type in ('request', 'requests') then
    wanted := entity_id;
  end if;
  select known.id, known.title, known.due_date, known.client_id, known.assigned_to into request
    from public.requests known
   where known.id = wanted;
  if found then
    found_request := jsonb_build_object(
      'id', request.id, 'title', request.title, 'due_date', request.due_date
    );
  end if;
  wanted := coalesce(public.event_id(data, '{client_id}'), request.client_id);
  if wanted is not null then
    select known.name into client from public.clients known where known.id = wanted;
    if found then
      found_client := jsonb_build_object('name', client.name);
    end if;
  end if;
  for place in 1 .. 2 loop
    wanted := case place
      when 1 then public.event_id(data, actor_keys)
      else coalesce(public.event_id(data, '{assigned_to,assignee_id}'), request.assigned_to)
    end;
    continue when wanted is null;
    select known.first_name, known.last_name, known.slack_id into person
      from public.profiles known
     where known.id = wanted;
    continue when not found;
    people[place] := jsonb_build_object(
      'name', nullif(concat_ws(' ', person.first_name, person.last_name), ''),
      'slack_id', case
        when person.slack_id ~ '^[A-Z0-9]+$' then person.slack_id
        else public.trim_invisible(person.slack_id)
      end
    );
  end loop;
  return jsonb_build_object(
    'request', found_request, 'client', found_client, 'actor', people[1], 'assignee', people[2]
  );
end
$$;

-- What deliveries are rendered from, numbered in this order, until `byte_limit` is reached. As
-- text, so that no number, depth or character in one row can spoil an answer with many. One at a
-- time, so that what comes after the limit is not even read, however large it is.
create or replace function public.carried_data(delivery_ids uuid[], byte_limit integer)
returns table (
  number integer, id uuid, event_type text, template text, event_data text, known jsonb
)
language plpgsql
stable
set search_path = ''
as $$
declare
  next record;
  carried jsonb;
  bytes bigint := 0;
begin
  for next in
    select place.number, place.id, queued.event_type, queued.template, queued.event_data,
           queued.entity_type, queued.entity_id
      from unnest(delivery_ids) with ordinality place (id, number)
     cross join lateral (
             -- what is in doubt is looked for even if its config was deleted in the meantime
             select coalesce(config.event_type, '') as event_type, config.template,
                    held.event_data, held.entity_type, held.entity_id
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
    carried := public.carried_value(next.event_data);
    event_data := carried::text;
    known := public.known_of_event(carried, next.entity_type, next.entity_id);
    bytes := bytes + coalesce(octet_length(event_data), 0) + coalesce(octet_length(template), 0);
    return next;
  end loop;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'carried_value(jsonb, integer, integer)',
    'event_id(jsonb, text[])',
    'known_of_event(jsonb, text, uuid)',
    'carried_data(uuid[], integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
