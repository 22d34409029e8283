-- Leases: at most one holder of a name at a time, freed by time when a holder dies.

-- Rather than make the dashboard wait, it gives up, and nothing of this file is applied. Try again
-- when less is going on: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

create table if not exists public.worker_leases (
  name text primary key,
  holder uuid not null,
  renewed_at timestamptz not null,
  expires_at timestamptz not null,
  handover jsonb
);

comment on table public.worker_leases is
  'Who may do the work of that name now. A holder renews before expires_at; after it, the '
  'next one to ask takes over.';
comment on column public.worker_leases.handover is
  'What the holder knew at renewed_at and its successor needs, such as the rate budget left.';

do $$
begin
  if not (select relrowsecurity from pg_catalog.pg_class where oid = 'public.worker_leases'::regclass) then
    alter table public.worker_leases enable row level security;
  end if;
end
$$;
revoke all on public.worker_leases from public, anon, authenticated;
grant select, insert, update on public.worker_leases to service_role;

-- Takes or renews the lease: the row when `holder` has it now, nothing when another has it.
-- The row is as the last holder left it, but for holder and expires_at.
create or replace function public.take_worker_lease(
  name text,
  holder uuid,
  ttl interval,
  as_of timestamptz default now()
)
returns setof public.worker_leases
language sql
set search_path = ''
as $$
  insert into public.worker_leases as held (name, holder, renewed_at, expires_at)
  values (take_worker_lease.name, take_worker_lease.holder, as_of, as_of + ttl)
  on conflict on constraint worker_leases_pkey do update
    set holder = excluded.holder,
        expires_at = excluded.expires_at
    where held.holder = excluded.holder or held.expires_at <= as_of
  returning *;
$$;

-- Renews a lease that `holder` still has; false when it was taken over. A lease that ran out
-- and that nobody took is still the holder's. A ttl of zero hands it back.
create or replace function public.renew_worker_lease(
  name text,
  holder uuid,
  ttl interval,
  handover jsonb default null,
  as_of timestamptz default now()
)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update public.worker_leases held
     set renewed_at = as_of,
         expires_at = as_of + ttl,
         handover = coalesce(renew_worker_lease.handover, held.handover)
   where held.name = renew_worker_lease.name
     and held.holder = renew_worker_lease.holder;
  return found;
end
$$;

revoke all on function public.take_worker_lease(text, uuid, interval, timestamptz)
  from public, anon, authenticated;
revoke all on function public.renew_worker_lease(text, uuid, interval, jsonb, timestamptz)
  from public, anon, authenticated;
grant execute on function public.take_worker_lease(text, uuid, interval, timestamptz)
  to service_role;
grant execute on function public.renew_worker_lease(text, uuid, interval, jsonb, timestamptz)
  to service_role;
