-- What an action of the console would affect.
--
--   console_chosen  the notifications that redrive or skip would affect
--   console_scope   what an action would affect now, in numbers

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The notifications that redrive or skip would affect: among {"ids"}, or the newest 1,000 that
-- console_notifications returns for {"filter"}.
create or replace function public.console_chosen(action text, arguments jsonb)
returns uuid[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  filter jsonb := arguments -> 'filter';
  named uuid[];
begin
  if filter is null then
    named := array(
      select one.id::uuid from jsonb_array_elements_text(arguments -> 'ids') one (id) limit 1000
    );
  else
    named := array(
      select (row ->> 'id')::uuid
        from jsonb_array_elements(
               public.console_notifications(
                 state => filter ->> 'state',
                 config_id => (filter ->> 'config_id')::uuid,
                 event_type => filter ->> 'event_type',
                 destination => filter ->> 'destination',
                 since => (filter ->> 'since')::timestamptz,
                 until => (filter ->> 'until')::timestamptz,
                 search => filter ->> 'search',
                 row_limit => 1000
               ) -> 'rows'
             ) row
    );
  end if;
  if action = 'redrive' then
    return array(
      select queued.id
        from public.notification_queue queued
       where queued.id = any (named)
         and ((coalesce(queued.is_processed, false) = false
               and coalesce(queued.attempts, 0) >= coalesce(queued.max_attempts, 5))
              or queued.outcome = 'expired')
         and queued.config_id is not null
       order by queued.id
    );
  end if;
  return array(
    select queued.id
      from public.notification_queue queued
     where queued.id = any (named)
       and coalesce(queued.is_processed, false) = false
       and coalesce(queued.attempts, 0) < coalesce(queued.max_attempts, 5)
       and not exists (
             select from public.notification_deliveries delivery
              where delivery.notification_id = queued.id and delivery.state = 'sending'
           )
     order by queued.id
  );
end
$$;

-- {"fingerprint", "numbers": {<what>: <how many>}}: two scopes with the same fingerprint are of the
-- same things in the same state, and of as many. Counts of waiting notifications end at 10,000.
-- Raises for an unknown action.
create or replace function public.console_scope(
  action text,
  arguments jsonb,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  chosen uuid[];
  scope jsonb;
begin
  if action = 'release_destination' then
    select jsonb_build_object(
             'state', string_agg(known.parked_at::text, ' '),
             'numbers', jsonb_build_object(
               'destinations', count(*),
               'notifications_waiting', coalesce(sum((
                 select count(*)
                   from (
                     select
                       from public.notification_deliveries delivery
                      where delivery.destination = known.destination
                        and delivery.state in ('pending', 'unknown')
                      limit 10000
                   ) counted
               )), 0)
             )
           )
      into scope
      from public.slack_destinations known
     where known.destination = arguments ->> 'destination' and known.parked_at is not null;
  elsif action = 'release_account' then
    select jsonb_build_object(
             'state', concat_ws(' ', max(state.parked_at), max(account.not_before)),
             'numbers', jsonb_build_object(
               'parked_connections', count(state.parked_at),
               'waiting_accounts', count(*) filter (where account.not_before > as_of),
               'days_to_be_read_again', coalesce(sum(deferred.days), 0)
             )
           )
      into scope
      from public.metric_connections(null, null, as_of) connection
      left join public.metric_connection_states state on state.connection_id = connection.id
      left join public.metric_accounts account
        on account.platform = connection.platform and account.account_id = connection.account_id
     cross join lateral (
             select count(*) as days
               from public.metric_days day
              where day.platform = connection.platform
                and day.account_id = connection.account_id
                and day.try_after > as_of
           ) deferred
     where connection.id = (arguments ->> 'connection_id')::uuid;
  elsif action = 'save_template' then
    select jsonb_build_object(
             'state', string_agg(config.template, ''),
             'numbers', jsonb_build_object(
               'templates', count(*),
               'notifications_waiting_with_it', coalesce(sum((
                 select count(*)
                   from (
                     select
                       from public.notification_queue queued
                      where queued.config_id = config.id
                        and (case
                               when coalesce(queued.is_processed, false)
                                 then coalesce(queued.outcome, 'done')
                               when coalesce(queued.attempts, 0)
                                    >= coalesce(queued.max_attempts, 5) then 'dead'
                               else 'waiting'
                             end) = 'waiting'
                        and coalesce(queued.created_at, '-infinity'::timestamptz)
                            >= '-infinity'::timestamptz
                      limit 10000
                   ) counted
               )), 0)
             )
           )
      into scope
      from public.notification_config config
     where config.id = (arguments ->> 'config_id')::uuid
       and config.template is distinct from arguments ->> 'template';
  elsif action in ('redrive', 'skip') then
    chosen := public.console_chosen(action, arguments);
    select jsonb_build_object(
             'state', jsonb_build_object(
               'ids', chosen,
               -- a notification that was redriven and has ended again is in another state
               'versions', case when action = 'redrive' then (
                 select jsonb_agg(queued.xmin::text order by queued.id)
                   from public.notification_queue queued
                  where queued.id = any (chosen)
               ) end
             ),
             'numbers', jsonb_strip_nulls(jsonb_build_object(
               'notifications', cardinality(chosen),
               'deliveries', count(*),
               -- a filter by channel chooses notifications, with all their deliveries
               'deliveries_elsewhere', case
                 when arguments -> 'filter' ->> 'destination' is not null
                   then count(*) filter (
                          where delivery.destination <> arguments -> 'filter' ->> 'destination'
                        )
               end,
               'perhaps_posted', count(*) filter (where delivery.in_doubt)
             ))
           )
      into scope
      from public.notification_deliveries delivery
     where delivery.notification_id = any (chosen)
       and delivery.state = any (
             case action when 'redrive' then array['dead', 'expired']
                         else array['pending', 'unknown'] end
           );
  else
    raise exception 'there is no action %', action using errcode = '22023';
  end if;
  return jsonb_build_object('fingerprint', md5(scope::text), 'numbers', scope -> 'numbers');
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'console_chosen(text, jsonb)',
    'console_scope(text, jsonb, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
