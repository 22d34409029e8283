-- What people do in the console: who, when, what, and how it ended. Retention deletes rows after a
-- year, together with those of worker_runs.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

create table if not exists public.console_actions (
  id uuid primary key,
  action text not null,
  subject text not null default '',
  arguments jsonb not null,
  who text not null,
  session text not null,
  began_at timestamptz not null,
  renewed_at timestamptz not null,
  ended_at timestamptz,
  outcome text,
  confirmed jsonb not null,
  touched jsonb not null default '{}',
  error text
);

comment on table public.console_actions is 'What people did in the console.';
comment on column public.console_actions.id is
  'Made with the page that asks for confirmation, so that each confirmation acts once.';
comment on column public.console_actions.subject is
  'What it is done to: one action of a kind runs on it at a time.';
comment on column public.console_actions.session is
  'The beginning of a hash of the session, the same for all actions from one browser.';
comment on column public.console_actions.renewed_at is
  'When it last reported while it runs; it counts as interrupted two minutes later.';
comment on column public.console_actions.outcome is
  'done, failed, busy (refused: what it needs is in use), stopped or interrupted; null while it '
  'runs.';
comment on column public.console_actions.confirmed is 'What it was to affect, in numbers.';
comment on column public.console_actions.touched is 'What it has affected, in numbers.';

do $$
begin
  if to_regclass('public.console_actions_began_at_idx') is null then
    create index console_actions_began_at_idx on public.console_actions (began_at desc, id desc);
  end if;
  if to_regclass('public.console_actions_under_way_idx') is null then
    create unique index console_actions_under_way_idx
      on public.console_actions (action, subject) where ended_at is null;
  end if;
  if not (
    select relrowsecurity
      from pg_catalog.pg_class
     where oid = 'public.console_actions'::regclass
  ) then
    alter table public.console_actions enable row level security;
  end if;
end
$$;
revoke all on public.console_actions from public, anon, authenticated;
grant select, insert, update, delete on public.console_actions to service_role;
