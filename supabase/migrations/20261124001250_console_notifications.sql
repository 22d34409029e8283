-- The console's list of notifications.
--
--   console_notifications  a page of the list, newest first, by any combination of filters; the
--                          other functions are its parts
--
-- A notification's state, in words:
--
--   waiting    to be delivered
--   sent, skipped, expired
--              ended that way
--   dead       ended unsent, with a reason
--   done       processed by an earlier worker, which did not record how it ended
--
-- Its expression is the same, word for word, in both indexes and in the list. The predicates of the
-- indexes hold for every row: they keep the planner from using them for other queries, which it
-- would do where its statistics are from when the tables were small.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

do $$
begin
  if to_regclass('public.notification_queue_state_idx') is null then
    create index notification_queue_state_idx
      on public.notification_queue (
      (case
         when coalesce(is_processed, false) then coalesce(outcome, 'done')
         when coalesce(attempts, 0) >= coalesce(max_attempts, 5) then 'dead'
         else 'waiting'
       end),
      (coalesce(created_at, '-infinity'::timestamptz)),
      id
    )
    where coalesce(created_at, '-infinity'::timestamptz) >= '-infinity'::timestamptz;
  end if;
end
$$;
do $$
begin
  if to_regclass('public.notification_queue_config_state_idx') is null then
    create index notification_queue_config_state_idx
      on public.notification_queue (
      config_id,
      (case
         when coalesce(is_processed, false) then coalesce(outcome, 'done')
         when coalesce(attempts, 0) >= coalesce(max_attempts, 5) then 'dead'
         else 'waiting'
       end),
      (coalesce(created_at, '-infinity'::timestamptz)),
      id
    )
    where coalesce(created_at, '-infinity'::timestamptz) >= '-infinity'::timestamptz;
  end if;
end
$$;
do $$
begin
  if to_regclass('public.notification_deliveries_place_idx') is null then
    create index notification_deliveries_place_idx
      on public.notification_deliveries (destination, state, queued_at, notification_id)
      where queued_at >= '-infinity'::timestamptz;
  end if;
end
$$;

-- The rows of the list, newest first, as a query: streams that each have the order of an index, and
-- so are merged and read only as far as rows are taken. With a channel, the state is that of the
-- delivery there. Its parameters: the earliest time, the place below which it begins, how many.
create or replace function public.console_notifications_query(
  states text[],
  config_ids uuid[],
  destination text
)
returns text
language sql
immutable
set search_path = ''
as $$
  select case
           when destination is null
             then 'select * from ('
               || string_agg(
                    format(
                      $of_state$
                      (select queued.id, queued.config_id,
                              coalesce(queued.created_at, '-infinity'::timestamptz) as at,
                              queued.entity_id, queued.event_data, queued.last_error
                         from public.notification_queue queued
                        where case
                                when coalesce(is_processed, false) then coalesce(outcome, 'done')
                                when coalesce(attempts, 0) >= coalesce(max_attempts, 5) then 'dead'
                                else 'waiting'
                              end = %L
                          %s
                          and coalesce(queued.created_at, '-infinity'::timestamptz)
                              >= '-infinity'::timestamptz
                          and coalesce(queued.created_at, '-infinity'::timestamptz) >= $1
                          and (coalesce(queued.created_at, '-infinity'::timestamptz), queued.id)
                              < ($2, $3)
                        order by 3 desc, 1 desc
                        limit $4)
                      $of_state$,
                      one.state,
                      case when one.config_id is not null
                        then format('and queued.config_id = %L', one.config_id)
                      end
                    ),
                    ' union all '
                  )
               || ') every order by at desc, id desc limit $4'
           else 'select place.*, queued.entity_id, queued.event_data, queued.last_error from ('
             || 'select * from ('
             || string_agg(
                  format(
                    $of_place$
                    (select delivery.notification_id as id, delivery.config_id,
                            delivery.queued_at as at
                       from public.notification_deliveries delivery
                      where delivery.destination = %L
                        and delivery.state = %L
                        and delivery.queued_at >= '-infinity'::timestamptz
                        and delivery.queued_at >= $1
                        and (delivery.queued_at, delivery.notification_id) < ($2, $3)
                      order by 3 desc, 1 desc
                      limit $4)
                    $of_place$,
                    destination, one.state
                  ),
                  ' union all '
                )
             || ') every order by at desc, id desc limit $4) place '
             || 'join public.notification_queue queued on queued.id = place.id'
         end
    from (
      select distinct chosen.state, own.config_id
        from unnest(states) chosen (state)
        left join unnest(case when destination is null then config_ids end) own (config_id)
          on true
    ) one;
$$;

-- {rows: [{id, state, event_type, entity_type, created_at, next_attempt_at, processed_at, error,
--          template, event_data, known, deliveries: [{destination, state}]}],
--  names: {<id>: name}, next: {before, before_id}}: newest first, below `before` and `before_id`;
-- `next` is null where there are no more. event_data is JSON as text, so that no number changes on
-- the way; more than 8 kB of it is left out.
--
-- A filter that is null does not filter. `search` is searched for in the entity's id, the data and
-- the last error of the newest 10,000 that match the other filters, ignoring the case of A to Z.
-- With both a channel and a config or event, only the newest 10,000 of the channel are searched.
create or replace function public.console_notifications(
  state text default null,
  config_id uuid default null,
  event_type text default null,
  destination text default null,
  since timestamptz default null,
  until timestamptz default null,
  search text default null,
  before timestamptz default null,
  before_id uuid default null,
  row_limit integer default 50
)
returns jsonb
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set enable_incremental_sort = off
set jit = off
as $$
declare
  most_searched constant integer := 10000;
  configs uuid[];
  states text[];
  found uuid[];
  found_at timestamptz[];
  rows jsonb;
begin
  if console_notifications.config_id is not null or console_notifications.event_type is not null
  then
    configs := array(
      select config.id
        from public.notification_config config
       where (console_notifications.config_id is null
              or config.id = console_notifications.config_id)
         and (console_notifications.event_type is null
              or config.event_type = console_notifications.event_type)
    );
  end if;
  states := case
    when destination is null and state is null
      then '{waiting,sent,skipped,expired,dead,done}'
    when state is null then '{pending,sending,unknown,sent,skipped,expired,dead}'
    when destination is not null and state = 'waiting' then '{pending,sending,unknown}'
    else array[state]
  end;
  if cardinality(configs) = 0 then
    return '{"rows": [], "names": {}, "next": null}';
  end if;

  execute format(
    $page$
    select array_agg(shown.id), array_agg(shown.at)
      from (
        select found.id, found.at
          from (%s) found
         where ($5 is null or found.config_id = any ($5))
           and ($6 is null
                or strpos(lower(found.event_data::text collate "C"), $6) > 0
                or strpos(lower(found.last_error collate "C"), $7) > 0
                or strpos(found.entity_id::text, $7) > 0)
         order by found.at desc, found.id desc
         limit $8
      ) shown
    $page$,
    public.console_notifications_query(states, configs, destination)
  )
  into found, found_at
  using coalesce(since, '-infinity'),
        coalesce(least(before, until), 'infinity'),
        case
          when before < coalesce(until, 'infinity') then before_id
          when until is null then 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid
          else '00000000-0000-0000-0000-000000000000'::uuid
        end,
        case
          when search is null and (destination is null or configs is null) then row_limit + 1
          else most_searched
        end,
        case when destination is not null then configs end,
        -- as it is written in JSON, without the quotes
        lower(left(substr(to_jsonb(search)::text, 2), -1) collate "C"),
        lower(search collate "C"),
        row_limit + 1;

  rows := public.console_notification_rows(found[:row_limit]);
  return jsonb_build_object(
    'rows', rows,
    'names', public.console_slack_names(
      array(
        select distinct delivery ->> 'destination'
          from jsonb_array_elements(rows) shown,
               jsonb_array_elements(shown -> 'deliveries') delivery
      )
    ),
    'next', case
      when cardinality(found) > row_limit
        then jsonb_build_object('before', found_at[row_limit], 'before_id', found[row_limit])
    end
  );
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_notifications_query(text[], uuid[], text)',
    'console_notifications(text, uuid, text, text, timestamptz, timestamptz, text, timestamptz, uuid, integer)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
