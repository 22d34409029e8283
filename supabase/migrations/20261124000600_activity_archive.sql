-- The activity archive's call, kept by name and signature, safe against running twice at once.
--
-- Moving is one statement: what the delete returns is what the insert stores, so no row is in
-- both tables or in neither. Skips rows that another call has locked.

create or replace function public.archive_old_activities(days_to_keep integer)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  moved integer;
begin
  if days_to_keep is null or days_to_keep < 1 then
    raise exception 'days_to_keep must be at least 1, not %', coalesce(days_to_keep::text, 'null')
      using errcode = '22023';
  end if;
  with due as (
    select activity.id
      from public.activity_log activity
     where activity.created_at < now() - make_interval(days => days_to_keep)
       for update skip locked
  ),
  gone as (
    delete from public.activity_log activity
     using due
     where activity.id = due.id
    returning activity.id, activity.user_id, activity.entity_type, activity.entity_id,
              activity.action, activity.details, activity.created_at
  )
  insert into public.archived_activity_log
    (id, user_id, entity_type, entity_id, action, details, created_at)
  select id, user_id, entity_type, entity_id, action, details, created_at
    from gone
  on conflict do nothing;
  get diagnostics moved = row_count;
  return moved;
end
$$;

revoke all on function public.archive_old_activities(integer) from public, anon, authenticated;
grant execute on function public.archive_old_activities(integer) to service_role;
