-- One notification as the console shows it, and the choices of the list's filters.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- {configs: [{id, event_type, entity_type, destination}], destinations: [id], names: {<id>: name}}:
-- what the list can be filtered by, up to 500 of each; destinations are those that something was
-- posted to, and the connected channels.
create or replace function public.console_notification_filters()
returns jsonb
language sql
stable
set search_path = ''
as $$
  with place as materialized (
    select known.destination as id from (
      select destination from public.slack_destinations order by destination limit 500
    ) known
     union
    select connected.channel_id from (
      select channel_id from public.slack_connected_channels order by channel_id limit 500
    ) connected
  )
  select jsonb_build_object(
    'configs', (
      select coalesce(jsonb_agg(to_jsonb(own) order by own.event_type, own.id), '[]')
        from (
          select config.id, config.event_type, config.entity_type,
                 coalesce(config.channel_id, person.slack_id) as destination
            from public.notification_config config
            left join public.profiles person on person.id = config.user_id
           order by config.event_type, config.id
           limit 500
        ) own
    ),
    'destinations', (select coalesce(jsonb_agg(place.id order by place.id), '[]') from place),
    'names', public.console_slack_names(array(select place.id from place))
  );
$$;

-- What show_notification returns, with event_data as text, and {known, state, names, workspace,
-- ahead, threads}: the names of its destinations and of those that its template or data mention,
-- why all delivery is stopped, how many are ahead of it at each destination, counted up to 1,000,
-- and by delivery the first 100 messages of its thread, including itself: [{notification_id,
-- event_type, state, at, begins}]. Null where there is no such notification.
create or replace function public.console_notification(id uuid)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select shown.notification
         || jsonb_build_object(
              'event_data', shown.notification ->> 'event_data',
              'known', named.known,
              'state', public.console_notification_rows(array[console_notification.id])
                         -> 0 -> 'state',
              'names', public.console_slack_names(
                array(
                  select delivery ->> 'destination'
                    from jsonb_array_elements(shown.notification -> 'deliveries') delivery
                   union
                  (select mentioned.id[1]
                     from regexp_matches(
                            concat(
                              shown.notification #>> '{config,template}',
                              shown.notification ->> 'event_data'
                            ),
                            '[@#]([CGUW][A-Z0-9]{2,20})', 'g'
                          ) mentioned (id)
                    limit 100)
                )
              ),
              'workspace', (
                select to_jsonb(workspace)
                  from public.slack_workspace workspace
                 where workspace.stopped_at is not null
              ),
              'ahead', (
                select coalesce(jsonb_object_agg(own.destination, queue.ahead), '{}')
                  from public.notification_deliveries own
                 cross join lateral (
                         select count(*) as ahead
                           from (
                             select
                               from public.notification_deliveries other
                              where other.destination = own.destination
                                and other.state in ('pending', 'unknown')
                                and other.claim_token is null
                                and other.next_attempt_at is null
                                and (other.due_at, other.queued_at, other.notification_id)
                                    < (own.due_at, own.queued_at, own.notification_id)
                              limit 1000
                           ) counted
                       ) queue
                 where own.notification_id = console_notification.id
                   and own.state in ('pending', 'unknown')
              ),
              'threads', (
                select coalesce(jsonb_object_agg(own.id, thread.messages), '{}')
                  from public.notification_deliveries own
                 cross join lateral (
                         select jsonb_agg(
                                  jsonb_build_object(
                                    'notification_id', message.notification_id,
                                    'event_type', config.event_type,
                                    'state', message.state,
                                    'at', message.settled_at,
                                    'begins', message.message_ts = message.parent_ts
                                  )
                                  order by message.message_ts
                                ) as messages
                           from (
                             select *
                               from public.notification_deliveries other
                              where other.destination = own.destination
                                and other.parent_ts = own.parent_ts
                              order by other.message_ts
                              limit 100
                           ) message
                           left join public.notification_config config
                             on config.id = message.config_id
                       ) thread
                 where own.notification_id = console_notification.id
                   and own.parent_ts is not null
              )
            )
    -- offset 0: each is called once, however often it is used above
    from (select public.show_notification(console_notification.id) as notification offset 0) shown
   cross join lateral (
           select public.known_of_event(
                    shown.notification -> 'event_data',
                    shown.notification ->> 'entity_type',
                    (shown.notification ->> 'entity_id')::uuid
                  ) as known
           offset 0
         ) named
   where shown.notification is not null;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_notification_filters()',
    'console_notification(uuid)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
