-- Notifications, part 1: what the workers store about each notification and its deliveries.
--
-- The dashboard's columns of notification_queue stay authoritative for the dashboard: done is
-- `is_processed`, dead is `attempts` at its maximum. New columns there are nullable and derived. A
-- row that is neither is waiting: that predicate is repeated word for word in each index and query
-- here.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

do $$
begin
  if (
    select count(*) from pg_catalog.pg_attribute
     where attrelid = 'public.notification_queue'::regclass and not attisdropped
       and attname in ('routed_at', 'claim_token', 'claimed_until', 'outcome', 'enqueue_key')
  ) < 5 then
    alter table public.notification_queue
      add column if not exists routed_at timestamptz,
      add column if not exists claim_token uuid,
      add column if not exists claimed_until timestamptz,
      add column if not exists outcome text,
      add column if not exists enqueue_key text;
  end if;
end
$$;

comment on column public.notification_queue.routed_at is
  'When its destinations were looked up; null until then, and again once it has ended, so that a '
  'row that is reset to waiting is found.';
comment on column public.notification_queue.claim_token is
  'Token of the last claim of the row by lock_and_get_notifications.';
comment on column public.notification_queue.claimed_until is
  'When the lease of that claim ends.';
comment on column public.notification_queue.outcome is
  'How it ended: sent, skipped, expired or dead; null while it waits.';
comment on column public.notification_queue.enqueue_key is
  'The producer''s own key for the notification: while one with that key waits, a second is '
  'refused, so that a producer may safely try again.';

-- What waits and is not yet routed, by when it is due.
do $$
begin
  if to_regclass('public.notification_queue_unrouted_idx') is null then
    create index notification_queue_unrouted_idx
      on public.notification_queue (
      (coalesce(next_attempt_at, '-infinity'::timestamptz)),
      created_at,
      id
    )
    where coalesce(is_processed, false) = false
      and coalesce(attempts, 0) < coalesce(max_attempts, 5)
      and routed_at is null;
  end if;
end
$$;

do $$
begin
  if to_regclass('public.notification_queue_enqueue_key') is null then
    create unique index notification_queue_enqueue_key
      on public.notification_queue (enqueue_key)
      where enqueue_key is not null
        and coalesce(is_processed, false) = false
        and coalesce(attempts, 0) < coalesce(max_attempts, 5);
  end if;
end
$$;

-- Dead letters and expired notifications: for people to list, newest first, of all or of one
-- config.
do $$
begin
  if to_regclass('public.notification_queue_ended_idx') is null then
    create index notification_queue_ended_idx
      on public.notification_queue (created_at desc nulls last, id)
      where (coalesce(is_processed, false) = false
             and coalesce(attempts, 0) >= coalesce(max_attempts, 5))
         or outcome = 'expired';
  end if;
end
$$;
do $$
begin
  if to_regclass('public.notification_queue_config_ended_idx') is null then
    create index notification_queue_config_ended_idx
      on public.notification_queue (config_id, created_at desc nulls last, id)
      where (coalesce(is_processed, false) = false
             and coalesce(attempts, 0) >= coalesce(max_attempts, 5))
         or outcome = 'expired';
  end if;
end
$$;

create table if not exists public.notification_deliveries (
  id uuid primary key default gen_random_uuid(),
  notification_id uuid not null references public.notification_queue (id) on delete cascade,
  config_id uuid not null,
  destination text not null,
  state text not null default 'pending',
  due_at timestamptz not null,
  queued_at timestamptz not null,
  ages_from timestamptz not null,
  attempts integer not null default 0,
  next_attempt_at timestamptz,
  claimed_by uuid,
  claim_token uuid,
  lost_claims integer not null default 0,
  post_id uuid,
  parent_ts text,
  first_attempt_at timestamptz,
  last_attempt_at timestamptz,
  looked_since timestamptz,
  looked_down_to text,
  conversation_id text,
  message_ts text,
  request_id text,
  error_code text,
  error text,
  in_doubt boolean not null default false,
  possible_duplicate boolean not null default false,
  history jsonb not null default '[]',
  tries jsonb not null default '[]',
  created_at timestamptz not null default now(),
  settled_at timestamptz,
  constraint notification_deliveries_destination_key unique (notification_id, destination),
  constraint notification_deliveries_state_check
    check (state in ('pending', 'sending', 'unknown', 'sent', 'skipped', 'expired', 'dead')),
  constraint notification_deliveries_sent_check
    check (state <> 'sent' or message_ts is not null)
);

comment on table public.notification_deliveries is
  'One notification to one destination: the unit that is attempted, recorded and redriven.';
comment on column public.notification_deliveries.destination is
  'A Slack channel (C..., G...) or, for a direct message, a Slack user (U...).';
comment on column public.notification_deliveries.state is
  'pending: to be posted; sending: announced, a worker may be posting it; unknown: it may have '
  'been posted and is looked for first; sent, skipped, expired, dead: final.';
comment on column public.notification_deliveries.due_at is
  'When it was first due: its place among those of its destination, regardless of later waits.';
comment on column public.notification_deliveries.queued_at is
  'created_at of its notification, or when it was routed if that is null; orders those that were '
  'due at the same moment.';
comment on column public.notification_deliveries.ages_from is
  'due_at by its destination''s own clock, which is paused while the destination is parked.';
comment on column public.notification_deliveries.next_attempt_at is
  'Not to be posted before this; null when it only waits for its turn.';
comment on column public.notification_deliveries.claimed_by is
  'The run that has it in flight; valid while that run holds the drainer''s lease.';
comment on column public.notification_deliveries.claim_token is
  'Fencing token of that claim.';
comment on column public.notification_deliveries.lost_claims is
  'How many runs died while it was announced.';
comment on column public.notification_deliveries.post_id is
  'The post that carries it, identified by its first delivery: stored in the Slack message as '
  'metadata, so that the message can be found again.';
comment on column public.notification_deliveries.parent_ts is
  'The message in whose thread it is; the first message of a thread refers to itself. Until it is '
  'sent, the thread for which it was announced. Null outside of threads.';
comment on column public.notification_deliveries.looked_since is
  'Since when it is being looked for in the history; looked_down_to is the last message read.';
comment on column public.notification_deliveries.conversation_id is
  'Where Slack put it: the channel, or the D... conversation of a direct message.';
comment on column public.notification_deliveries.request_id is
  'Slack''s own id of the request (x-slack-req-id), for their support.';
comment on column public.notification_deliveries.in_doubt is
  'An earlier attempt may have posted it, and this was never resolved; stays set when it ends.';
comment on column public.notification_deliveries.possible_duplicate is
  'A copy may already exist: it is, or was, posted with a note that says so.';
comment on column public.notification_deliveries.history is
  'Earlier outcomes, before a redrive: [{ended_at, state, attempts, error_code, error}].';
comment on column public.notification_deliveries.tries is
  'The latest 50 failed attempts and searches: [{at, result, code, error}].';

-- Ready to be claimed, by destination and in the order of delivery.
do $$
begin
  if to_regclass('public.notification_deliveries_ready_idx') is null then
    create index notification_deliveries_ready_idx
      on public.notification_deliveries (destination, due_at, queued_at, notification_id)
      where state in ('pending', 'unknown') and claim_token is null and next_attempt_at is null;
  end if;
end
$$;
-- To become ready at a given time.
do $$
begin
  if to_regclass('public.notification_deliveries_delayed_idx') is null then
    create index notification_deliveries_delayed_idx
      on public.notification_deliveries (next_attempt_at)
      where state in ('pending', 'unknown') and next_attempt_at is not null;
  end if;
end
$$;
do $$
begin
  if to_regclass('public.notification_deliveries_claimed_idx') is null then
    create index notification_deliveries_claimed_idx
      on public.notification_deliveries (claimed_by)
      where claimed_by is not null;
  end if;
end
$$;
-- Those that expire first.
do $$
begin
  if to_regclass('public.notification_deliveries_ageing_idx') is null then
    create index notification_deliveries_ageing_idx
      on public.notification_deliveries (destination, ages_from)
      where state in ('pending', 'unknown');
  end if;
end
$$;
-- Which configs have something waiting for which destinations.
do $$
begin
  if to_regclass('public.notification_deliveries_config_idx') is null then
    create index notification_deliveries_config_idx
      on public.notification_deliveries (config_id, destination)
      where state in ('pending', 'unknown');
  end if;
end
$$;
-- The messages of a thread.
do $$
begin
  if to_regclass('public.notification_deliveries_thread_idx') is null then
    create index notification_deliveries_thread_idx
      on public.notification_deliveries (destination, parent_ts, message_ts)
      where parent_ts is not null;
  end if;
end
$$;
-- Those that were being posted when runs died.
do $$
begin
  if to_regclass('public.notification_deliveries_suspect_idx') is null then
    create index notification_deliveries_suspect_idx
      on public.notification_deliveries (due_at)
      where state in ('pending', 'unknown') and lost_claims >= 3;
  end if;
end
$$;
do $$
begin
  if to_regclass('public.notification_deliveries_error_idx') is null then
    create index notification_deliveries_error_idx
      on public.notification_deliveries (error_code, settled_at desc)
      where state in ('dead', 'expired');
  end if;
end
$$;
do $$
begin
  if to_regclass('public.notification_deliveries_config_error_idx') is null then
    create index notification_deliveries_config_error_idx
      on public.notification_deliveries (config_id, error_code, settled_at desc)
      where state in ('dead', 'expired');
  end if;
end
$$;

create table if not exists public.notification_unrouted (
  notification_id uuid primary key references public.notification_queue (id) on delete cascade,
  config_id uuid not null,
  due_at timestamptz not null,
  queued_at timestamptz not null,
  ages_from timestamptz not null,
  in_doubt boolean not null default false,
  reason text,
  lookups integer not null default 0,
  lookup_at timestamptz not null
);

comment on table public.notification_unrouted is
  'Notifications that wait for a destination, separate from all others.';
comment on column public.notification_unrouted.ages_from is
  'due_at by the clock of all delivery, which is paused while delivery is stopped.';
comment on column public.notification_unrouted.in_doubt is
  'It may have been posted to a destination that it no longer goes to.';
comment on column public.notification_unrouted.reason is
  'What is missing, in words that name the fix.';
comment on column public.notification_unrouted.lookup_at is
  'When its destinations are looked up again: after 1 minute, growing to 10.';

do $$
begin
  if to_regclass('public.notification_unrouted_lookup_idx') is null then
    create index notification_unrouted_lookup_idx
      on public.notification_unrouted (lookup_at, due_at, queued_at);
  end if;
end
$$;
do $$
begin
  if to_regclass('public.notification_unrouted_config_idx') is null then
    create index notification_unrouted_config_idx
      on public.notification_unrouted (config_id, due_at, queued_at);
  end if;
end
$$;
do $$
begin
  if to_regclass('public.notification_unrouted_ageing_idx') is null then
    create index notification_unrouted_ageing_idx
      on public.notification_unrouted (ages_from);
  end if;
end
$$;

do $$
declare
  table_name text;
begin
  foreach table_name in array array[
    'notification_deliveries', 'notification_unrouted'
  ]
  loop
    if not (select relrowsecurity from pg_catalog.pg_class
             where oid = format('public.%I', table_name)::regclass) then
      execute format('alter table public.%I enable row level security', table_name);
    end if;
    execute format('revoke all on public.%I from public, anon, authenticated', table_name);
  end loop;
end
$$;
grant select, insert, update, delete on
  public.notification_deliveries,
  public.notification_unrouted
to service_role;
