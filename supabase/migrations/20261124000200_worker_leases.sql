-- Leases: at most one holder of a name at a time, freed by expiry when a holder dies.
--
-- A run that finds the lease taken leaves a request in the row; a holder that can release it early
-- reads that with its next renewal.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

create table if not exists public.worker_leases (
  name text primary key,
  holder uuid not null,
  renewed_at timestamptz not null,
  expires_at timestamptz not null,
  lingers boolean not null default false,
  wanted_at timestamptz,
  handover jsonb
);

comment on table public.worker_leases is
  'Who may do the work of that name now. A holder renews before expires_at; after that, the '
  'next run to ask takes over.';
comment on column public.worker_leases.holder is
  'The run that holds it; the nil UUID once it was released.';
comment on column public.worker_leases.lingers is
  'The holder keeps polling for work, and releases the lease when another run requests it.';
comment on column public.worker_leases.wanted_at is
  'When another run last requested it in vain.';
comment on column public.worker_leases.handover is
  'What the holder knew at renewed_at and its successor needs, such as the remaining rate budget.';

do $$
begin
  if not (select relrowsecurity from pg_catalog.pg_class where oid = 'public.worker_leases'::regclass) then
    alter table public.worker_leases enable row level security;
  end if;
end
$$;
revoke all on public.worker_leases from public, anon, authenticated;
grant select, insert, update on public.worker_leases to service_role;

-- Takes or renews the lease. Returns the row if `holder` has it now, and nothing if another has it,
-- which then sees the request. Apart from what is set here, the row is as the last holder left it.
create or replace function public.take_worker_lease(
  name text,
  holder uuid,
  ttl interval,
  lingers boolean default false,
  as_of timestamptz default now()
)
returns setof public.worker_leases
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
    insert into public.worker_leases as held (name, holder, renewed_at, expires_at, lingers)
    values (
      take_worker_lease.name, take_worker_lease.holder, as_of, as_of + ttl,
      take_worker_lease.lingers
    )
    on conflict on constraint worker_leases_pkey do update
      set holder = excluded.holder,
          expires_at = excluded.expires_at,
          lingers = excluded.lingers,
          wanted_at = null
      where held.holder = excluded.holder or held.expires_at <= as_of
    returning held.*;
  if not found then
    update public.worker_leases held
       set wanted_at = as_of
     where held.name = take_worker_lease.name;
  end if;
end
$$;

-- Whether `holder` has the lease, which is locked until the caller's transaction ends: no one takes
-- over in between. A lease that expired but was not taken is still the holder's.
create or replace function public.holds_worker_lease(name text, holder uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  perform
    from public.worker_leases held
   where held.name = holds_worker_lease.name
     and held.holder = holds_worker_lease.holder
     for share;
  return found;
end
$$;

-- Renews a lease that `holder` still has: {held, wanted}. `held` is false if it was taken over or
-- released; `wanted` says that another run requested it within the last `patience`.
create or replace function public.renew_worker_lease(
  name text,
  holder uuid,
  ttl interval,
  handover jsonb default null,
  patience interval default '5 seconds',
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted boolean;
begin
  update public.worker_leases held
     set renewed_at = as_of,
         expires_at = as_of + ttl,
         handover = coalesce(renew_worker_lease.handover, held.handover)
   where held.name = renew_worker_lease.name
     and held.holder = renew_worker_lease.holder
  returning coalesce(held.wanted_at > as_of - patience, false) into wanted;
  return jsonb_build_object('held', found, 'wanted', coalesce(wanted, false));
end
$$;

-- Releases the lease, so that no late renewal revives it.
create or replace function public.return_worker_lease(
  name text,
  holder uuid,
  handover jsonb default null,
  as_of timestamptz default now()
)
returns void
language sql
set search_path = ''
as $$
  update public.worker_leases held
     set holder = '00000000-0000-0000-0000-000000000000',
         renewed_at = as_of,
         expires_at = as_of,
         handover = coalesce(return_worker_lease.handover, held.handover)
   where held.name = return_worker_lease.name
     and held.holder = return_worker_lease.holder;
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'take_worker_lease(text, uuid, interval, boolean, timestamptz)',
    'holds_worker_lease(text, uuid)',
    'renew_worker_lease(text, uuid, interval, jsonb, interval, timestamptz)',
    'return_worker_lease(text, uuid, jsonb, timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;
