-- A row for each table that no page of docs/architecture/ fills: `make freeze` keeps them with a
-- release.

insert into assets (request_id, name) select id, 'menu-v3.pdf' from requests limit 1;

insert into archived_activity_leftovers (row_id, columns, restored_at)
values ('ac000000-0000-4000-8000-000000000003', '{"mood": "calm"}', '2026-12-01 09:00:00+00');

insert into console_actions
  (id, action, subject, arguments, who, session, began_at, renewed_at, ended_at, outcome, confirmed,
   touched)
values
  ('ca000000-0000-4000-8000-000000000001', 'skip', 'd1000000-0000-4000-8000-000000000001', '{}',
   'ava', 's1', '2026-11-24 09:00:00+00', '2026-11-24 09:00:00+00', '2026-11-24 09:00:01+00', 'done',
   '{}', '{}');

insert into metric_backfills (platform, account_id, since, until, started_at)
values ('meta', '1203300000000001', '2026-01-01', '2026-03-31', '2026-11-24 10:00:00+00');

insert into metric_ledger (whole_from) values ('2025-11-24');

insert into metric_platform_pauses (platform, app, paused_until, reason)
values ('linkedin', '77localsample01', '2026-11-25 00:00:00+00', 'the daily quota is used up');

insert into metric_spend_changes
  (platform, account_id, request_id, date, number, sync_id, old_spend, new_spend, changed_at)
select 'meta', '1203300000000001', 'e0000000-0000-4000-8000-000000000001', '2026-11-23', 1, sync_id,
       39.5, 40, '2026-11-24 09:00:07+00'
  from ad_metrics;

insert into metric_staged_rows (token, part, rows)
values ('aaaaaaaa-0000-4000-8000-000000000001', 0, '[]');

insert into metric_unnamed_ads
  (platform, account_id, campaign_id, ad_group_id, ad_id, ad_name, spend, currency, first_date,
   last_date, round_started_at)
values
  ('meta', '1203300000000001', '6001', '6101', '23851000000000009', 'Test ad', 10.25, 'EUR',
   '2026-11-23', '2026-11-23', '2026-11-24 09:00:05+00');

insert into metric_unsettled_requests (platform, request_id)
values ('meta', 'e0000000-0000-4000-8000-000000000002');

insert into notification_unrouted
  (notification_id, config_id, due_at, queued_at, ages_from, reason, lookup_at)
select id, config_id, next_attempt_at, created_at, created_at, 'no channel takes it',
       '2026-11-24 09:10:00+00'
  from notification_queue where id = 'd1000000-0000-4000-8000-000000000002';

insert into slack_threads (destination, request_id, parent_ts, last_post_at)
values ('C0CREATIVE0', 'e0000000-0000-4000-8000-000000000001', '1795683602.000100',
        '2026-11-24 09:00:02+00');

insert into slack_workspace (stopped_at, stop_code, stop_reason)
values ('2026-11-24 09:00:03+00', 'token_revoked', 'the token was revoked');

insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, counts)
values ('notifications', '2026-11-24 09:00:00+00', '2026-11-24 09:00:04+00', 'drained', true,
        '{"sent": 1}');
