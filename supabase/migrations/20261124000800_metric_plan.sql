-- Metrics, part 3: which accounts are due.
--
--   due_accounts        the accounts that are due
--   plan_metric_syncs   leases as many of them as can be done in time
--   drop_metric_plans   releases those whose message could not be sent
--
-- Durations are passed as intervals, so that only the database's clock is compared with its rows.

-- Rather than make the dashboard wait, this file gives up and nothing of it is applied. Try again
-- when there is less activity: docs/deploy.md, Large tables.
set local lock_timeout = '1s';

-- Logs that say in_progress although their sync has ended: of killed workers, and of older ones.
-- `sync_id` null: all of them.
create or replace function public.close_orphaned_sync_logs(
  sync_id uuid,
  longest interval,
  as_of timestamptz default now()
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  closed integer;
begin
  update public.metric_sync_logs log
     set status = 'failed',
         end_time = as_of,
         error_message = 'The sync ended without a result: its worker was killed or ran out of time',
         details = coalesce(log.details, '{}'::jsonb) || '{"code": "orphaned"}'::jsonb
   where log.status = 'in_progress'
     and (close_orphaned_sync_logs.sync_id is null or log.id = close_orphaned_sync_logs.sync_id)
     and not exists (
           select from public.metric_accounts account
            where account.sync_id = log.id and account.leased_until > as_of
         )
     -- an older worker that still runs alongside this one keeps its log for that long
     and (log.start_time is null
          or log.start_time <= as_of - close_orphaned_sync_logs.longest
          or exists (
               select from public.metric_accounts account where account.sync_id = log.id
             ));
  get diagnostics closed = row_count;
  return closed;
end
$$;

-- The accounts that are due, and since when: by the shortest frequency of the connections that may
-- read them, or immediately where the account was never read completely.
create or replace function public.due_accounts(as_of timestamptz default now())
returns table (platform text, account_id text, waiting_since timestamptz)
language sql
stable
set search_path = ''
as $$
  select candidate.platform,
         candidate.account_id,
         greatest(
           case when account.whole_read_at is null then '-infinity' else min(candidate.due_at) end,
           coalesce(account.attempted_at, '-infinity')
         )
    from public.metric_connections(null, null, as_of) candidate
    left join public.metric_accounts account
      on account.platform = candidate.platform and account.account_id = candidate.account_id
   where candidate.is_active
     and not candidate.is_parked
     and candidate.paused_until is null
     and (account.leased_until is null or account.leased_until <= as_of)
     and (account.not_before is null or account.not_before <= as_of)
   group by candidate.platform, candidate.account_id, account.whole_read_at, account.attempted_at
  having account.whole_read_at is null or min(candidate.due_at) <= as_of;
$$;

-- Leases what is due for `lease` and returns
--   {"planned": [{"platform", "account_id", "token"}], "in_flight", "left", "orphans"}.
-- At most as many are in flight as `concurrency` syncs can finish within a lease, going by how long
-- recent syncs took; none takes longer than `longest`. A second planner at the same time plans
-- nothing.
create or replace function public.plan_metric_syncs(
  concurrency integer,
  lease interval,
  longest interval,
  as_of timestamptz default now()
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  orphans integer;
  in_flight integer;
  due integer;
  typical numeric;
  room integer;
  planned jsonb;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('plan_metric_syncs', 0)) then
    return jsonb_build_object('planned', '[]'::jsonb, 'in_flight', 0, 'left', 0, 'orphans', 0);
  end if;

  orphans := public.close_orphaned_sync_logs(null, longest, as_of);
  delete from public.metric_staged_rows staged
   where not exists (select from public.metric_accounts account where account.token = staged.token);

  select count(*) into in_flight
    from public.metric_accounts account
   where account.leased_until > as_of;
  select count(*) into due from public.due_accounts(as_of);

  -- half a minute until there is a sync to go by
  select coalesce(avg(extract(epoch from recent.end_time - recent.start_time)), 30)
    into typical
    from (
      select log.status, log.start_time, log.end_time
        from public.metric_sync_logs log
       where log.start_time > as_of - interval '7 days'
       order by log.start_time desc
       limit 200
    ) recent
   where recent.status in ('success', 'partial') and recent.end_time >= recent.start_time;
  typical := least(greatest(typical, 5), extract(epoch from longest));
  room := greatest(
    concurrency,
    floor(concurrency * extract(epoch from lease - longest) / typical)
  ) - in_flight;

  with chosen as (
    select due.platform, due.account_id
      from public.due_accounts(as_of) due
     order by due.waiting_since, due.platform, due.account_id
     limit greatest(room, 0)
  ),
  leased as (
    insert into public.metric_accounts as account
      (platform, account_id, token, leased_until, attempted_at)
    select chosen.platform, chosen.account_id, gen_random_uuid(), as_of + lease, as_of
      from chosen
    on conflict on constraint metric_accounts_pkey do update
      set token = excluded.token,
          leased_until = excluded.leased_until,
          attempted_at = excluded.attempted_at
      -- a backfill may have been quicker
      where account.leased_until is null or account.leased_until <= as_of
    returning account.platform, account.account_id, account.token
  )
  select coalesce(jsonb_agg(to_jsonb(leased)), '[]') into planned from leased;

  return jsonb_build_object(
    'planned', planned,
    'in_flight', in_flight,
    'left', due - jsonb_array_length(planned),
    'orphans', orphans
  );
end
$$;

-- Releases plans (by their tokens) whose message was not sent, so that they are planned again.
create or replace function public.drop_metric_plans(
  tokens uuid[],
  as_of timestamptz default now()
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  dropped integer;
begin
  update public.metric_accounts account
     set leased_until = as_of, token = null
   where account.token = any (tokens);
  get diagnostics dropped = row_count;
  return dropped;
end
$$;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'close_orphaned_sync_logs(uuid, interval, timestamptz)',
    'due_accounts(timestamptz)',
    'plan_metric_syncs(integer, interval, interval, timestamptz)',
    'drop_metric_plans(uuid[], timestamptz)'
  ]
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end
$$;

notify pgrst, 'reload schema';
