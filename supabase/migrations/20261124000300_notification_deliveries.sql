-- Notifications, part 1: what the workers remember of each delivery.
--
-- The dashboard's columns of notification_queue stay the truth for the dashboard: done is
-- `is_processed`, dead is `attempts` at its maximum. What is new there is nullable and derived.

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

do $$
begin
  if (
    select count(*) from pg_catalog.pg_attribute
     where attrelid = 'public.notification_queue'::regclass and not attisdropped
       and attname in ('claim_token', 'claimed_until', 'first_due_at', 'lost_claims', 'outcome', 'enqueue_key')
  ) < 6 then
    alter table public.notification_queue
      add column if not exists claim_token uuid,
      add column if not exists claimed_until timestamptz,
      add column if not exists first_due_at timestamptz,
      add column if not exists lost_claims integer,
      add column if not exists outcome text,
      add column if not exists enqueue_key text;
  end if;
end
$$;

comment on column public.notification_queue.claim_token is
  'Fencing token of the claim that holds the row; null when none does.';
comment on column public.notification_queue.claimed_until is
  'End of the lease of that claim.';
comment on column public.notification_queue.first_due_at is
  'When the row was first due; set when next_attempt_at moves away from it.';
comment on column public.notification_queue.lost_claims is
  'How many claims of the row ended by their lease running out, so by a dead worker.';
comment on column public.notification_queue.outcome is
  'How it ended: sent, skipped, expired or dead; null while it waits.';

comment on column public.notification_queue.enqueue_key is
  'The producer''s own name for the notification: while one of that name waits, a second is '
  'refused, so that a producer may safely try again.';

create table if not exists public.notification_deliveries (
  id uuid primary key default gen_random_uuid(),
  notification_id uuid not null references public.notification_queue (id) on delete cascade,
  destination text not null,
  state text not null default 'pending',
  attempts integer not null default 0,
  next_attempt_at timestamptz,
  first_attempt_at timestamptz,
  last_attempt_at timestamptz,
  conversation_id text,
  message_ts text,
  request_id text,
  error_code text,
  error text,
  possible_duplicate boolean not null default false,
  history jsonb not null default '[]',
  created_at timestamptz not null default now(),
  settled_at timestamptz,
  constraint notification_deliveries_destination_key unique (notification_id, destination),
  constraint notification_deliveries_state_check
    check (state in ('pending', 'sending', 'unknown', 'sent', 'skipped', 'expired', 'dead')),
  constraint notification_deliveries_sent_check
    check (state <> 'sent' or message_ts is not null)
);

comment on table public.notification_deliveries is
  'One notification to one destination: the unit that is tried, recorded and redriven.';
comment on column public.notification_deliveries.id is
  'Travels in the Slack message as metadata, so that the message can be found again.';
comment on column public.notification_deliveries.destination is
  'A Slack channel (C..., G...) or, for a direct message, a Slack user (U...).';
comment on column public.notification_deliveries.state is
  'pending: to be tried; sending: a worker may be posting it; unknown: it may have been '
  'posted; sent, skipped, expired, dead: final.';
comment on column public.notification_deliveries.conversation_id is
  'Where Slack put it: the channel, or the D... conversation of a direct message.';
comment on column public.notification_deliveries.request_id is
  'Slack''s own id of the request (x-slack-req-id), for their support.';
comment on column public.notification_deliveries.possible_duplicate is
  'Posted again although an earlier try could not be ruled out.';
comment on column public.notification_deliveries.history is
  'Earlier lives, ended and redriven: [{ended_at, state, attempts, error_code, error}].';

create table if not exists public.slack_destinations (
  destination text primary key,
  conversation_id text,
  last_post_at timestamptz,
  not_before timestamptz
);

comment on table public.slack_destinations is
  'What is known of a destination between runs: the opened direct message, the pace, the wait '
  'that Slack asked for.';

create table if not exists public.notification_pauses (
  id uuid primary key default gen_random_uuid(),
  config_id uuid references public.notification_config (id) on delete cascade,
  code text not null,
  reason text not null,
  destination text,
  started_at timestamptz not null default now(),
  probed_at timestamptz,
  ended_at timestamptz
);

comment on table public.notification_pauses is
  'When delivery stood still, for one config (parked) or for all (config_id null: the Slack '
  'token was refused). A notification does not age meanwhile.';
comment on column public.notification_pauses.destination is
  'The destination that was refused; null when the pause is not for a destination''s sake.';
comment on column public.notification_pauses.probed_at is
  'When a run last asked Slack whether the destination is well again.';

-- The claim reads this in order, config by config, and never meets a row that is done or dead.
do $$
begin
  if to_regclass('public.notification_queue_due_idx') is null then
    create index notification_queue_due_idx
      on public.notification_queue (
      config_id,
      (coalesce(first_due_at, next_attempt_at, '-infinity'::timestamptz)),
      created_at,
      id
    )
    where coalesce(is_processed, false) = false
      and coalesce(attempts, 0) < coalesce(max_attempts, 5);
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

-- Dead letters: few, and looked for by people.
do $$
begin
  if to_regclass('public.notification_queue_dead_idx') is null then
    create index notification_queue_dead_idx
      on public.notification_queue (created_at)
      where coalesce(is_processed, false) = false
        and coalesce(attempts, 0) >= coalesce(max_attempts, 5);
  end if;
end
$$;

do $$
begin
  if to_regclass('public.notification_pauses_open_key') is null then
    create unique index notification_pauses_open_key
      on public.notification_pauses (config_id) nulls not distinct where ended_at is null;
  end if;
end
$$;
do $$
begin
  if to_regclass('public.notification_pauses_config_idx') is null then
    create index notification_pauses_config_idx
      on public.notification_pauses (config_id);
  end if;
end
$$;

do $$
begin
  if not (select relrowsecurity from pg_catalog.pg_class where oid = 'public.notification_deliveries'::regclass) then
    alter table public.notification_deliveries enable row level security;
  end if;
end
$$;
do $$
begin
  if not (select relrowsecurity from pg_catalog.pg_class where oid = 'public.slack_destinations'::regclass) then
    alter table public.slack_destinations enable row level security;
  end if;
end
$$;
do $$
begin
  if not (select relrowsecurity from pg_catalog.pg_class where oid = 'public.notification_pauses'::regclass) then
    alter table public.notification_pauses enable row level security;
  end if;
end
$$;
revoke all on
  public.notification_deliveries,
  public.slack_destinations,
  public.notification_pauses
from public, anon, authenticated;
grant select, insert, update, delete on public.notification_deliveries to service_role;
grant select, insert, update on public.slack_destinations to service_role;
grant select, insert, update on public.notification_pauses to service_role;
