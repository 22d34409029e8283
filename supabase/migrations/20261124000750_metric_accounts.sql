-- Metrics, part 2: the account is what is synced; a connection is how it is read.
--
--   metric_platform, metric_account_id  the one form in which an account is known
--   metric_accounts                     who holds an account, and how far its syncs are
--   metric_connection_states            connections that are parked, or that have worked
--   metric_platform_pauses              apps that a platform has asked to wait
--   metric_backfills                    past ranges that an operator asked for
--   metric_connections                  the connections, each with its account

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- The platform's main name. The aliases are those of the platforms' files.
create or replace function public.metric_platform(name text)
returns text
language sql
immutable
set search_path = ''
as $$
  select case lower(btrim(name))
    when 'facebook' then 'meta'
    when 'instagram' then 'meta'
    when 'google' then 'google_ads'
    else lower(btrim(name))
  end;
$$;

-- An account's id as the platform itself writes it: act_1 and 1, 123-456-7890 and 1234567890 are
-- the same. What is not an id stays as it is, so that the error can name it.
create or replace function public.metric_account_id(written text)
returns text
language sql
immutable
set search_path = ''
as $$
  select case when digits.plain ~ '^[0-9]+$' then digits.plain else coalesce(btrim(written), '') end
    from (
      select regexp_replace(
               translate(
                 regexp_replace(
                   coalesce(written, ''),
                   '[\s\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]+',
                   '', 'g'
                 ),
                 '"''-‐‑‒–—―', ''
               ),
               '^(act_|urn:li:sponsoredAccount:|customers/)', ''
             ) as plain
    ) digits;
$$;

-- Distinguishes sets of credentials without storing them.
create or replace function public.credentials_digest(credentials jsonb)
returns text
language sql
immutable
set search_path = ''
as $$
  select encode(sha256(convert_to(coalesce(credentials::text, ''), 'UTF8')), 'hex');
$$;

-- The same for the token alone, which many connections may share.
create or replace function public.token_digest(credentials jsonb)
returns text
language sql
immutable
set search_path = ''
as $$
  select public.credentials_digest(
    jsonb_build_array(credentials -> 'access_token', credentials -> 'refresh_token')
  );
$$;

-- The app to which a platform's limit for apps applies: the connection's own client, or '' for the
-- deployment's. Google limits the Cloud project, whose number its client ids begin with.
create or replace function public.metric_app(credentials jsonb)
returns text
language sql
immutable
set search_path = ''
as $$
  select split_part(
           btrim(coalesce(credentials ->> 'client_id', credentials ->> 'app_id', '')), '-', 1
         );
$$;

create table if not exists public.metric_accounts (
  platform text collate "C" not null,
  account_id text collate "C" not null,
  token uuid unique,
  leased_until timestamptz,
  sync_id uuid,
  connection_id uuid,
  attempted_at timestamptz,
  round_started_at timestamptz,
  whole_read_at timestamptz,
  window_days integer,
  failures integer not null default 0,
  not_before timestamptz,
  failing_since timestamptz,
  reported_problem text,
  reported_since timestamptz,
  primary key (platform, account_id)
);

comment on table public.metric_accounts is
  'How far the syncs of an account are, and which sync may work on it now.';
comment on column public.metric_accounts.token is
  'The fencing token: the plan''s while its message is in the queue, then the sync''s own. No '
  'other token can write for the account.';
comment on column public.metric_accounts.connection_id is 'The connection that last read it.';
comment on column public.metric_accounts.round_started_at is
  'Start of the first of the syncs that together read the range; null once the last is done.';
comment on column public.metric_accounts.whole_read_at is
  'Start of the newest sync, or round of syncs, that read the whole look-back.';
comment on column public.metric_accounts.window_days is
  'How many days are read at once; learned from the account''s size and speed.';
comment on column public.metric_accounts.failing_since is
  'Since when no sync has made progress; null where the last one did.';
comment on column public.metric_accounts.reported_problem is
  'The problem that a notification has reported and that persists: failing, or unread_days.';

create table if not exists public.metric_connection_states (
  connection_id uuid primary key references public.platform_connections (id) on delete cascade,
  parked_at timestamptz,
  parked_reason text,
  parked_credentials text,
  parked_token text,
  worked_credentials text,
  is_reported boolean not null default false
);

comment on table public.metric_connection_states is
  'Connections whose credentials were refused, or have worked.';
comment on column public.metric_connection_states.parked_credentials is
  'Digest of the credentials that were refused; the connection is tried again once they change.';
comment on column public.metric_connection_states.parked_token is
  'Digest of the token in them: it is reported once, however many connections share it.';
comment on column public.metric_connection_states.is_reported is
  'Whether a notification reported it, so that another follows when the last connection that '
  'shares the token works again.';
comment on column public.metric_connection_states.worked_credentials is
  'Digest of credentials that have worked: after a first refusal of these, the platform is asked '
  'again.';

do $$
begin
  if to_regclass('public.metric_connection_states_token_idx') is null then
    create index metric_connection_states_token_idx
      on public.metric_connection_states (parked_token);
  end if;
end
$$;

create table if not exists public.metric_platform_pauses (
  platform text collate "C" not null,
  app text not null default '',
  paused_until timestamptz not null,
  reason text not null,
  primary key (platform, app)
);

comment on table public.metric_platform_pauses is
  'Apps that a platform limits as a whole: no requests are sent for them until then. `app` is '
  'the id of a connection''s own app or client; empty for the deployment''s.';

create table if not exists public.metric_backfills (
  platform text collate "C" not null,
  account_id text collate "C" not null,
  since date not null,
  until date not null,
  started_at timestamptz not null,
  finished_at timestamptz,
  primary key (platform, account_id, since, until)
);

comment on table public.metric_backfills is
  'Ranges requested from the command line; one without finished_at continues where it stopped.';

-- All connections, or those of one account, and what keeps each from syncing.
create or replace function public.metric_connections(
  platform text default null,
  account_id text default null,
  as_of timestamptz default now()
)
returns table (
  id uuid,
  platform text,
  account_id text,
  is_active boolean,
  due_at timestamptz,
  minutes integer,
  is_parked boolean,
  paused_until timestamptz
)
language sql
stable
set search_path = ''
as $$
  select connection.id,
         public.metric_platform(connection.platform),
         public.metric_account_id(connection.account_id),
         coalesce(connection.is_active, false),
         -- a time in the future is not when anything was synced
         case
           when connection.last_synced_at <= as_of then connection.last_synced_at
                + make_interval(mins => coalesce(connection.sync_frequency, 1440))
           else '-infinity'
         end,
         coalesce(connection.sync_frequency, 1440),
         coalesce(
           state.parked_at is not null
           and state.parked_credentials = public.credentials_digest(connection.credentials),
           false
         ),
         pause.paused_until
    from public.platform_connections connection
    left join public.metric_connection_states state on state.connection_id = connection.id
    left join public.metric_platform_pauses pause
      on pause.platform = public.metric_platform(connection.platform)
     and pause.app = public.metric_app(connection.credentials)
     and pause.paused_until > as_of
   where metric_connections.platform is null
      or (public.metric_platform(connection.platform) = metric_connections.platform
          and public.metric_account_id(connection.account_id) = metric_connections.account_id);
$$;

do $$
declare
  table_name text;
  signature text;
begin
  foreach table_name in array array[
    'metric_accounts', 'metric_connection_states', 'metric_platform_pauses', 'metric_backfills'
  ]
  loop
    if not (select relrowsecurity from pg_catalog.pg_class
             where oid = format('public.%I', table_name)::regclass) then
      execute format('alter table public.%I enable row level security', table_name);
    end if;
    execute format('revoke all on public.%I from public, anon, authenticated', table_name);
    execute format('grant select, insert, update on public.%I to service_role', table_name);
  end loop;
  foreach signature in array array[
    'metric_platform(text)',
    'metric_account_id(text)',
    'credentials_digest(jsonb)',
    'token_digest(jsonb)',
    'metric_app(jsonb)',
    'metric_connections(text, text, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
