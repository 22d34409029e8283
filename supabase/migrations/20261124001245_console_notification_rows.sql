-- The rows of the console's list of notifications, and the names of their destinations.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The names of people and channels of Slack, by their ids, as far as the dashboard knows them.
create or replace function public.console_slack_names(ids text[])
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(jsonb_object_agg(known.id, known.name), '{}')
    from (
      select channel.channel_id as id, min(channel.channel_name) as name
        from public.slack_connected_channels channel
       where channel.channel_id = any (ids) and channel.channel_name is not null
       group by channel.channel_id
       union all
      select person.slack_id, min(concat_ws(' ', person.first_name, person.last_name))
        from public.profiles person
       where person.slack_id = any (ids) and coalesce(person.first_name, person.last_name) is not null
       group by person.slack_id
    ) known;
$$;

-- Rows of the list, in the order given.
create or replace function public.console_notification_rows(ids uuid[])
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(
           jsonb_agg(
             jsonb_build_object(
               'id', queued.id,
               'state', case
                 when coalesce(is_processed, false) then coalesce(outcome, 'done')
                 when coalesce(attempts, 0) >= coalesce(max_attempts, 5) then 'dead'
                 else 'waiting'
               end,
               'event_type', config.event_type,
               'entity_type', queued.entity_type,
               'created_at', queued.created_at,
               'next_attempt_at', queued.next_attempt_at,
               'processed_at', queued.processed_at,
               'error', queued.last_error,
               'template', left(config.template, 2000),
               'event_data', case
                 when pg_column_size(queued.event_data) <= 8192 then queued.event_data::text
               end,
               'known', public.known_of_event(
                 case when pg_column_size(queued.event_data) <= 8192 then queued.event_data end,
                 queued.entity_type, queued.entity_id
               ),
               'deliveries', (
                 select coalesce(
                          jsonb_agg(
                            jsonb_build_object('destination', own.destination, 'state', own.state)
                          ),
                          '[]'
                        )
                   from (
                     select delivery.destination, delivery.state
                       from public.notification_deliveries delivery
                      where delivery.notification_id = queued.id
                      order by delivery.destination
                      limit 20
                   ) own
               )
             )
             order by place.number
           ),
           '[]'
         )
    from unnest(ids) with ordinality place (id, number)
    join public.notification_queue queued on queued.id = place.id
    left join public.notification_config config on config.id = queued.config_id;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_slack_names(text[])',
    'console_notification_rows(uuid[])'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
