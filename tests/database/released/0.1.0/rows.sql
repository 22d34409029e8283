-- Rows of a database of this version. Written by `make freeze`.

set session_replication_role = replica; -- in any order, without triggers

insert into activity_log overriding system value
select * from jsonb_populate_recordset(null::activity_log, '[
{"id": "ac000000-0000-4000-8000-000000000001", "action": "status_changed", "details": {"spent": 1234567.8901234567890}, "user_id": "a0000000-0000-4000-8000-000000000001", "entity_id": "e0000000-0000-4000-8000-000000000001", "created_at": "2026-11-20T10:00:00+00:00", "entity_type": "request"}
]');

insert into ad_metrics overriding system value
select * from jsonb_populate_recordset(null::ad_metrics, '[
{"date": "2026-11-23", "kind": "ad", "ad_id": "23851000000000001", "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "currency": "EUR", "measures": {"reach": 3100, "spend": 40.00, "clicks": 50, "impressions": 4000}, "platform": "meta", "time_zone": "Europe/Berlin", "account_id": "1203300000000001", "ad_group_id": "6101", "attribution": null, "campaign_id": "6001", "is_complete": true}
]');

insert into archived_activity_leftovers overriding system value
select * from jsonb_populate_recordset(null::archived_activity_leftovers, '[
{"row_id": "ac000000-0000-4000-8000-000000000003", "columns": {"mood": "calm"}, "restored_at": "2026-12-01T09:00:00+00:00"}
]');

insert into archived_activity_log overriding system value
select * from jsonb_populate_recordset(null::archived_activity_log, '[
{"id": "ac000000-0000-4000-8000-000000000002", "note": "restored", "action": "status_changed", "details": {"spent": 1234567.8901234567890}, "user_id": "a0000000-0000-4000-8000-000000000001", "entity_id": "e0000000-0000-4000-8000-000000000001", "created_at": "2026-07-01T10:00:00+00:00", "archived_at": "2026-11-28T16:29:08.236257+00:00", "entity_type": "request"},
{"id": "ac000000-0000-4000-8000-000000000003", "note": "restored", "action": "corrected", "details": {"spent": 1234567.8901234567890}, "user_id": "a0000000-0000-4000-8000-000000000001", "entity_id": "e0000000-0000-4000-8000-000000000001", "created_at": "2025-09-01T10:00:00+00:00", "archived_at": "2026-11-28T16:29:08.236257+00:00", "entity_type": "request"}
]');

insert into assets overriding system value
select * from jsonb_populate_recordset(null::assets, '[
{"id": "67078e66-5060-4dc4-b9ab-6b24e3f984be", "name": "menu-v3.pdf", "created_at": "2026-11-28T16:29:08.320584+00:00", "request_id": "e0000000-0000-4000-8000-000000000001"}
]');

insert into auth.users overriding system value
select * from jsonb_populate_recordset(null::auth.users, '[
{"id": "a0000000-0000-4000-8000-000000000001", "aud": "authenticated", "role": "authenticated", "email": null, "phone": null, "created_at": "2026-11-28T16:29:07.566247+00:00", "deleted_at": null, "invited_at": null, "updated_at": "2026-11-28T16:29:07.566247+00:00", "instance_id": null, "is_sso_user": false, "banned_until": null, "is_anonymous": false, "is_super_admin": null, "last_sign_in_at": null, "raw_app_meta_data": {}, "email_confirmed_at": null, "encrypted_password": null, "phone_confirmed_at": null, "raw_user_meta_data": {}},
{"id": "a0000000-0000-4000-8000-000000000002", "aud": "authenticated", "role": "authenticated", "email": null, "phone": null, "created_at": "2026-11-28T16:29:07.566247+00:00", "deleted_at": null, "invited_at": null, "updated_at": "2026-11-28T16:29:07.566247+00:00", "instance_id": null, "is_sso_user": false, "banned_until": null, "is_anonymous": false, "is_super_admin": null, "last_sign_in_at": null, "raw_app_meta_data": {}, "email_confirmed_at": null, "encrypted_password": null, "phone_confirmed_at": null, "raw_user_meta_data": {}},
{"id": "a0000000-0000-4000-8000-000000000003", "aud": "authenticated", "role": "authenticated", "email": null, "phone": null, "created_at": "2026-11-28T16:29:07.566247+00:00", "deleted_at": null, "invited_at": null, "updated_at": "2026-11-28T16:29:07.566247+00:00", "instance_id": null, "is_sso_user": false, "banned_until": null, "is_anonymous": false, "is_super_admin": null, "last_sign_in_at": null, "raw_app_meta_data": {}, "email_confirmed_at": null, "encrypted_password": null, "phone_confirmed_at": null, "raw_user_meta_data": {}}
]');

insert into clients overriding system value
select * from jsonb_populate_recordset(null::clients, '[
{"id": "c0000000-0000-4000-8000-000000000001", "name": "Nordlys Outdoor", "status": "active", "created_at": "2026-11-28T16:29:07.566247+00:00", "contact_name": null, "contact_email": null},
{"id": "c0000000-0000-4000-8000-000000000002", "name": "Café Lumière", "status": "active", "created_at": "2026-11-28T16:29:07.566247+00:00", "contact_name": null, "contact_email": null}
]');

insert into console_actions overriding system value
select * from jsonb_populate_recordset(null::console_actions, '[
{"id": "ca000000-0000-4000-8000-000000000001", "who": "ava", "error": null, "action": "skip", "outcome": "done", "session": "s1", "subject": "d1000000-0000-4000-8000-000000000001", "touched": {}, "began_at": "2026-11-24T09:00:00+00:00", "ended_at": "2026-11-24T09:00:01+00:00", "arguments": {}, "confirmed": {}, "renewed_at": "2026-11-24T09:00:00+00:00"}
]');

insert into metric_accounts overriding system value
select * from jsonb_populate_recordset(null::metric_accounts, '[
{"token": null, "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "failures": 0, "platform": "meta", "account_id": "1203300000000001", "not_before": null, "window_days": null, "attempted_at": "2026-11-24T09:00:05+00:00", "leased_until": null, "connection_id": "b0000000-0000-4000-8000-000000000001", "failing_since": null, "whole_read_at": "2026-11-24T09:00:05+00:00", "reported_since": null, "reported_problem": null, "round_started_at": null}
]');

insert into metric_ad_links overriding system value
select * from jsonb_populate_recordset(null::metric_ad_links, '[
{"id": "23851000000000001", "level": "ad", "platform": "meta", "is_current": true, "request_id": "e0000000-0000-4000-8000-000000000001"},
{"id": "23851000000000002", "level": "ad", "platform": "meta", "is_current": true, "request_id": "e0000000-0000-4000-8000-000000000002"},
{"id": "23851000000000003", "level": "ad", "platform": "meta", "is_current": true, "request_id": "e0000000-0000-4000-8000-000000000002"},
{"id": "23851000000000005", "level": "ad", "platform": "meta", "is_current": true, "request_id": "e0000000-0000-4000-8000-000000000005"},
{"id": "23851000000000006", "level": "ad", "platform": "meta", "is_current": true, "request_id": "e0000000-0000-4000-8000-000000000005"}
]');

insert into metric_backfills overriding system value
select * from jsonb_populate_recordset(null::metric_backfills, '[
{"since": "2026-01-01", "until": "2026-03-31", "platform": "meta", "account_id": "1203300000000001", "started_at": "2026-11-24T10:00:00+00:00", "finished_at": null}
]');

insert into metric_connection_states overriding system value
select * from jsonb_populate_recordset(null::metric_connection_states, '[
{"parked_at": null, "is_reported": false, "parked_token": null, "connection_id": "b0000000-0000-4000-8000-000000000001", "parked_reason": null, "parked_credentials": null, "worked_credentials": "d1"}
]');

insert into metric_days overriding system value
select * from jsonb_populate_recordset(null::metric_days, '[
{"date": "2026-11-23", "digest": "6f1e0b", "problem": null, "read_at": "2026-11-24T09:00:05+00:00", "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "failures": 0, "platform": "meta", "rows_read": 2, "try_after": null, "account_id": "1203300000000001", "rows_named": 1, "spend_read": 50.25, "clicks_read": 61, "spend_named": 40.00, "spend_total": 50.25, "connection_id": "b0000000-0000-4000-8000-000000000001", "impressions_read": 5000}
]');

insert into metric_ledger overriding system value
select * from jsonb_populate_recordset(null::metric_ledger, '[
{"is_one": true, "whole_from": "2025-11-24"}
]');

insert into metric_named_ads overriding system value
select * from jsonb_populate_recordset(null::metric_named_ads, '[
{"id": "23851000000000001", "level": "ad", "named_at": "2026-11-24T09:00:00+00:00", "platform": "meta"},
{"id": "23851000000000002", "level": "ad", "named_at": "2026-11-24T09:00:00+00:00", "platform": "meta"},
{"id": "23851000000000003", "level": "ad", "named_at": "2026-11-24T09:00:00+00:00", "platform": "meta"},
{"id": "23851000000000005", "level": "ad", "named_at": "2026-11-24T09:00:00+00:00", "platform": "meta"},
{"id": "23851000000000006", "level": "ad", "named_at": "2026-11-24T09:00:00+00:00", "platform": "meta"}
]');

insert into metric_names overriding system value
select * from jsonb_populate_recordset(null::metric_names, '[
{"id": "23851000000000001", "name": "Spring film, 15 s", "level": "ad", "platform": "meta", "account_id": "1203300000000001"}
]');

insert into metric_platform_pauses overriding system value
select * from jsonb_populate_recordset(null::metric_platform_pauses, '[
{"app": "77localsample01", "reason": "the daily quota is used up", "platform": "linkedin", "paused_until": "2026-11-25T00:00:00+00:00"}
]');

insert into metric_spend_changes overriding system value
select * from jsonb_populate_recordset(null::metric_spend_changes, '[
{"date": "2026-11-23", "number": 1, "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "platform": "meta", "new_spend": 40, "old_spend": 39.5, "account_id": "1203300000000001", "changed_at": "2026-11-24T09:00:07+00:00", "request_id": "e0000000-0000-4000-8000-000000000001"}
]');

insert into metric_staged_rows overriding system value
select * from jsonb_populate_recordset(null::metric_staged_rows, '[
{"part": 0, "rows": [], "token": "aaaaaaaa-0000-4000-8000-000000000001"}
]');

insert into metric_sync_logs overriding system value
select * from jsonb_populate_recordset(null::metric_sync_logs, '[
{"id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "status": "success", "details": {"window": ["2026-11-23", "2026-11-23"]}, "end_time": "2026-11-24T09:00:09+00:00", "created_at": "2026-11-28T16:29:07.849282+00:00", "start_time": "2026-11-24T09:00:05+00:00", "error_message": null, "metrics_created": 7, "metrics_updated": 0, "platform_connection_id": "b0000000-0000-4000-8000-000000000001"}
]');

insert into metric_unnamed_ads overriding system value
select * from jsonb_populate_recordset(null::metric_unnamed_ads, '[
{"kind": "ad", "ad_id": "23851000000000009", "spend": 10.25, "ad_name": "Test ad", "currency": "EUR", "platform": "meta", "last_date": "2026-11-23", "account_id": "1203300000000001", "first_date": "2026-11-23", "ad_group_id": "6101", "campaign_id": "6001", "ad_group_name": null, "campaign_name": null, "round_started_at": "2026-11-24T09:00:05+00:00"}
]');

insert into metric_unsettled_requests overriding system value
select * from jsonb_populate_recordset(null::metric_unsettled_requests, '[
{"before": "infinity", "platform": "meta", "request_id": "e0000000-0000-4000-8000-000000000002"}
]');

insert into notification_config overriding system value
select * from jsonb_populate_recordset(null::notification_config, '[
{"id": "f0000000-0000-4000-8000-000000000001", "user_id": null, "template": "*{{request_title}}* moved from {{old_status}} to *{{new_status}}*", "is_active": true, "channel_id": null, "created_at": "2026-11-28T16:29:07.566247+00:00", "event_type": "status_change", "entity_type": "request"},
{"id": "f0000000-0000-4000-8000-000000000002", "user_id": null, "template": "{{author}} on *{{request_title}}*: {{comment}}", "is_active": true, "channel_id": null, "created_at": "2026-11-28T16:29:07.566247+00:00", "event_type": "comment_added", "entity_type": "comment"},
{"id": "f0000000-0000-4000-8000-000000000003", "user_id": null, "template": null, "is_active": true, "channel_id": null, "created_at": "2026-11-28T16:29:07.566247+00:00", "event_type": "asset_uploaded", "entity_type": "asset"},
{"id": "f0000000-0000-4000-8000-000000000004", "user_id": "a0000000-0000-4000-8000-000000000001", "template": "You are now responsible for *{{request_title}}*", "is_active": true, "channel_id": null, "created_at": "2026-11-28T16:29:07.566247+00:00", "event_type": "assigned", "entity_type": "request"},
{"id": "f0000000-0000-4000-8000-000000000005", "user_id": null, "template": ":rotating_light: {{client}} has spent {{percent}} % of its budget", "is_active": true, "channel_id": "C0LEADERS00", "created_at": "2026-11-28T16:29:07.566247+00:00", "event_type": "budget_alert", "entity_type": "request"},
{"id": "f0000000-0000-4000-8000-000000000006", "user_id": null, "template": "{{request_title}} is due on {{due_date}}", "is_active": false, "channel_id": "C0PROJECTS0", "created_at": "2026-11-28T16:29:07.566247+00:00", "event_type": "due_soon", "entity_type": "request"}
]');

insert into notification_deliveries overriding system value
select * from jsonb_populate_recordset(null::notification_deliveries, '[
{"id": "0655a414-e9cd-4c23-9c76-f7baf9a98ba2", "error": null, "state": "sent", "tries": [], "due_at": "2026-11-24T08:59:40+00:00", "history": [], "post_id": "0655a414-e9cd-4c23-9c76-f7baf9a98ba2", "attempts": 0, "in_doubt": false, "ages_from": "2026-11-24T08:59:40+00:00", "config_id": "f0000000-0000-4000-8000-000000000001", "parent_ts": null, "queued_at": "2026-11-24T08:59:40+00:00", "claimed_by": null, "created_at": "2026-11-24T09:00:00+00:00", "error_code": null, "message_ts": "1795683602.000100", "request_id": null, "settled_at": "2026-11-24T09:00:02+00:00", "claim_token": null, "destination": "C0CREATIVE0", "lost_claims": 0, "looked_since": null, "looked_down_to": null, "conversation_id": "C0CREATIVE0", "last_attempt_at": "2026-11-24T09:00:01+00:00", "next_attempt_at": null, "notification_id": "d1000000-0000-4000-8000-000000000001", "first_attempt_at": "2026-11-24T09:00:01+00:00", "possible_duplicate": false},
{"id": "84de1bba-2a4e-44a9-ab71-ed48a93c23e2", "error": "the worker died while it may have been posting", "state": "unknown", "tries": [], "due_at": "2026-11-24T09:00:30+00:00", "history": [], "post_id": "84de1bba-2a4e-44a9-ab71-ed48a93c23e2", "attempts": 0, "in_doubt": true, "ages_from": "2026-11-24T09:00:30+00:00", "config_id": "f0000000-0000-4000-8000-000000000005", "parent_ts": null, "queued_at": "2026-11-28T16:29:08.119407+00:00", "claimed_by": "dddddddd-0000-4000-8000-000000000004", "created_at": "2026-11-24T09:01:00+00:00", "error_code": "worker_lost", "message_ts": null, "request_id": null, "settled_at": null, "claim_token": "dd995ca9-fe0f-4e9d-b450-90aa669764da", "destination": "C0LEADERS00", "lost_claims": 1, "looked_since": null, "looked_down_to": null, "conversation_id": null, "last_attempt_at": "2026-11-24T09:01:01+00:00", "next_attempt_at": null, "notification_id": "d1000000-0000-4000-8000-000000000002", "first_attempt_at": "2026-11-24T09:01:01+00:00", "possible_duplicate": false}
]');

insert into notification_queue overriding system value
select * from jsonb_populate_recordset(null::notification_queue, '[
{"id": "d1000000-0000-4000-8000-000000000001", "outcome": "sent", "attempts": 0, "config_id": "f0000000-0000-4000-8000-000000000001", "entity_id": "e0000000-0000-4000-8000-000000000001", "routed_at": null, "created_at": "2026-11-24T08:59:40+00:00", "event_data": {"new_status": "needs_review", "old_status": "in_progress", "request_id": "e0000000-0000-4000-8000-000000000001", "request_title": "Spring launch film"}, "last_error": null, "claim_token": null, "enqueue_key": null, "entity_type": "request", "is_processed": true, "max_attempts": 5, "processed_at": "2026-11-24T09:00:02+00:00", "claimed_until": null, "next_attempt_at": "2026-11-24T08:59:40+00:00"},
{"id": "d1000000-0000-4000-8000-000000000002", "outcome": null, "attempts": 0, "config_id": "f0000000-0000-4000-8000-000000000005", "entity_id": "e0000000-0000-4000-8000-000000000002", "routed_at": "2026-11-24T09:01:00+00:00", "created_at": "2026-11-28T16:29:08.119407+00:00", "event_data": null, "last_error": null, "claim_token": null, "enqueue_key": null, "entity_type": "request", "is_processed": false, "max_attempts": 5, "processed_at": null, "claimed_until": null, "next_attempt_at": "2026-11-24T09:00:30+00:00"}
]');

insert into notification_unrouted overriding system value
select * from jsonb_populate_recordset(null::notification_unrouted, '[
{"due_at": "2026-11-24T09:00:30+00:00", "reason": "no channel takes it", "lookups": 0, "in_doubt": false, "ages_from": "2026-11-28T16:29:08.119407+00:00", "config_id": "f0000000-0000-4000-8000-000000000005", "lookup_at": "2026-11-24T09:10:00+00:00", "queued_at": "2026-11-28T16:29:08.119407+00:00", "notification_id": "d1000000-0000-4000-8000-000000000002"}
]');

insert into performance_metrics overriding system value
select * from jsonb_populate_recordset(null::performance_metrics, '[
{"id": "1783b73d-46d6-4935-a8d0-1d57ca3af7df", "date": "2026-11-23", "value": 3100, "source": "api_sync", "derived": true, "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "asset_id": null, "platform": "meta", "created_at": "2026-11-24T09:00:07+00:00", "request_id": "e0000000-0000-4000-8000-000000000001", "updated_at": "2026-11-24T09:00:07+00:00", "is_complete": true, "metric_type": "reach", "source_detail": {"ads": 1, "ad_id": "23851000000000001", "ad_name": "Spring film, 15 s", "currency": "EUR", "time_zones": ["Europe/Berlin"], "account_ids": ["1203300000000001"]}},
{"id": "3c23ea0f-7692-42a3-ac47-1120935f2977", "date": "2026-11-23", "value": 0.8, "source": "api_sync", "derived": true, "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "asset_id": null, "platform": "meta", "created_at": "2026-11-24T09:00:07+00:00", "request_id": "e0000000-0000-4000-8000-000000000001", "updated_at": "2026-11-24T09:00:07+00:00", "is_complete": true, "metric_type": "cpc", "source_detail": {"ads": 1, "ad_id": "23851000000000001", "ad_name": "Spring film, 15 s", "currency": "EUR", "time_zones": ["Europe/Berlin"], "account_ids": ["1203300000000001"]}},
{"id": "8142a2e0-7228-4186-8ee2-b12e824296ad", "date": "2026-11-23", "value": 40, "source": "api_sync", "derived": true, "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "asset_id": null, "platform": "meta", "created_at": "2026-11-24T09:00:07+00:00", "request_id": "e0000000-0000-4000-8000-000000000001", "updated_at": "2026-11-24T09:00:07+00:00", "is_complete": true, "metric_type": "spend", "source_detail": {"ads": 1, "ad_id": "23851000000000001", "ad_name": "Spring film, 15 s", "currency": "EUR", "time_zones": ["Europe/Berlin"], "account_ids": ["1203300000000001"]}},
{"id": "a422cbcf-8acb-4763-b0dc-3f152d9c7352", "date": "2026-11-23", "value": 1.25, "source": "api_sync", "derived": true, "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "asset_id": null, "platform": "meta", "created_at": "2026-11-24T09:00:07+00:00", "request_id": "e0000000-0000-4000-8000-000000000001", "updated_at": "2026-11-24T09:00:07+00:00", "is_complete": true, "metric_type": "ctr", "source_detail": {"ads": 1, "ad_id": "23851000000000001", "ad_name": "Spring film, 15 s", "currency": "EUR", "time_zones": ["Europe/Berlin"], "account_ids": ["1203300000000001"]}},
{"id": "e39f730c-e5a5-446c-97af-dafae2800974", "date": "2026-11-23", "value": 50, "source": "api_sync", "derived": true, "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "asset_id": null, "platform": "meta", "created_at": "2026-11-24T09:00:07+00:00", "request_id": "e0000000-0000-4000-8000-000000000001", "updated_at": "2026-11-24T09:00:07+00:00", "is_complete": true, "metric_type": "clicks", "source_detail": {"ads": 1, "ad_id": "23851000000000001", "ad_name": "Spring film, 15 s", "currency": "EUR", "time_zones": ["Europe/Berlin"], "account_ids": ["1203300000000001"]}},
{"id": "f4995c02-231a-4be3-8c93-4d66a0ac41bd", "date": "2026-11-23", "value": 4000, "source": "api_sync", "derived": true, "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "asset_id": null, "platform": "meta", "created_at": "2026-11-24T09:00:07+00:00", "request_id": "e0000000-0000-4000-8000-000000000001", "updated_at": "2026-11-24T09:00:07+00:00", "is_complete": true, "metric_type": "impressions", "source_detail": {"ads": 1, "ad_id": "23851000000000001", "ad_name": "Spring film, 15 s", "currency": "EUR", "time_zones": ["Europe/Berlin"], "account_ids": ["1203300000000001"]}},
{"id": "fe96b92d-db6f-468f-b162-174e555ed927", "date": "2026-11-23", "value": 10, "source": "api_sync", "derived": true, "sync_id": "d7caa6ed-8d60-48c5-a11e-c055bb1aa1dc", "asset_id": null, "platform": "meta", "created_at": "2026-11-24T09:00:07+00:00", "request_id": "e0000000-0000-4000-8000-000000000001", "updated_at": "2026-11-24T09:00:07+00:00", "is_complete": true, "metric_type": "cpm", "source_detail": {"ads": 1, "ad_id": "23851000000000001", "ad_name": "Spring film, 15 s", "currency": "EUR", "time_zones": ["Europe/Berlin"], "account_ids": ["1203300000000001"]}}
]');

insert into platform_connections overriding system value
select * from jsonb_populate_recordset(null::platform_connections, '[
{"id": "b0000000-0000-4000-8000-000000000001", "platform": "meta", "is_active": true, "account_id": "act_1203300000000001", "created_at": "2026-11-28T16:29:07.566247+00:00", "created_by": "a0000000-0000-4000-8000-000000000001", "credentials": {"app_id": "4820000000000001", "app_secret": "local-meta-app-secret-0000000001", "access_token": "EAALOCALmetaSampleToken000000000000000001"}, "account_name": "Nordlys Outdoor", "last_synced_at": "2026-11-24T09:00:05+00:00", "sync_frequency": 1440},
{"id": "b0000000-0000-4000-8000-000000000002", "platform": "google_ads", "is_active": false, "account_id": "123-456-7890", "created_at": "2026-11-28T16:29:07.566247+00:00", "created_by": "a0000000-0000-4000-8000-000000000001", "credentials": {"client_id": "400000000001-local.apps.googleusercontent.com", "client_secret": "GOCSPX-local-sample-secret", "refresh_token": "1//local-google-sample-refresh-token", "login_customer_id": "987-654-3210"}, "account_name": "Nordlys Outdoor", "last_synced_at": null, "sync_frequency": 1440},
{"id": "b0000000-0000-4000-8000-000000000003", "platform": "tiktok", "is_active": false, "account_id": "7012345678901234567", "created_at": "2026-11-28T16:29:07.566247+00:00", "created_by": "a0000000-0000-4000-8000-000000000001", "credentials": {"access_token": "localtiktoksampletoken000000000000000001"}, "account_name": "Nordlys Outdoor", "last_synced_at": null, "sync_frequency": 1440},
{"id": "b0000000-0000-4000-8000-000000000004", "platform": "linkedin", "is_active": false, "account_id": "507000001", "created_at": "2026-11-28T16:29:07.566247+00:00", "created_by": "a0000000-0000-4000-8000-000000000001", "credentials": {"client_id": "77localsample01", "client_secret": "WPL_AP1.local-linkedin-sample-secret", "refresh_token": "AQlocalLinkedinSampleRefreshToken000000000001"}, "account_name": "Café Lumière", "last_synced_at": null, "sync_frequency": 1440}
]');

insert into profiles overriding system value
select * from jsonb_populate_recordset(null::profiles, '[
{"id": "a0000000-0000-4000-8000-000000000001", "role": "account_manager", "slack_id": "U0AVA00000", "last_name": "Lindqvist", "created_at": "2026-11-28T16:29:07.566247+00:00", "first_name": "Ava", "updated_at": "2026-11-28T16:29:07.566247+00:00", "slack_access_token": null, "slack_notification_preferences": null},
{"id": "a0000000-0000-4000-8000-000000000002", "role": "designer", "slack_id": "U0BEN00000", "last_name": "Okafor", "created_at": "2026-11-28T16:29:07.566247+00:00", "first_name": "Ben", "updated_at": "2026-11-28T16:29:07.566247+00:00", "slack_access_token": null, "slack_notification_preferences": null},
{"id": "a0000000-0000-4000-8000-000000000003", "role": "analyst", "slack_id": null, "last_name": "Mendes", "created_at": "2026-11-28T16:29:07.566247+00:00", "first_name": "Carla", "updated_at": "2026-11-28T16:29:07.566247+00:00", "slack_access_token": null, "slack_notification_preferences": null}
]');

insert into requests overriding system value
select * from jsonb_populate_recordset(null::requests, '[
{"id": "e0000000-0000-4000-8000-000000000001", "title": "Spring launch film", "status": "needs_review", "due_date": null, "metadata": {"meta_ad_id": "23851000000000001"}, "priority": "high", "client_id": "c0000000-0000-4000-8000-000000000001", "created_at": "2026-11-28T16:29:07.566247+00:00", "created_by": null, "updated_at": "2026-11-28T16:29:07.566247+00:00", "assigned_to": "a0000000-0000-4000-8000-000000000002", "description": null, "request_type": "creative"},
{"id": "e0000000-0000-4000-8000-000000000002", "title": "Retargeting, autumn", "status": "in_progress", "due_date": null, "metadata": {"meta_ad_id": ["23851000000000002", "23851000000000003"], "google_ad_id": 700000000001}, "priority": "medium", "client_id": "c0000000-0000-4000-8000-000000000001", "created_at": "2026-11-28T16:29:07.566247+00:00", "created_by": null, "updated_at": "2026-11-28T16:29:07.566247+00:00", "assigned_to": "a0000000-0000-4000-8000-000000000003", "description": null, "request_type": "performance"},
{"id": "e0000000-0000-4000-8000-000000000003", "title": "Menu & window signs", "status": "new_request", "due_date": null, "metadata": null, "priority": "low", "client_id": "c0000000-0000-4000-8000-000000000002", "created_at": "2026-11-28T16:29:07.566247+00:00", "created_by": null, "updated_at": "2026-11-28T16:29:07.566247+00:00", "assigned_to": null, "description": null, "request_type": "creative"},
{"id": "e0000000-0000-4000-8000-000000000004", "title": "New website", "status": "in_progress", "due_date": null, "metadata": {"linkedin_creative_id": [330000001, "330000002"]}, "priority": "medium", "client_id": "c0000000-0000-4000-8000-000000000002", "created_at": "2026-11-28T16:29:07.566247+00:00", "created_by": null, "updated_at": "2026-11-28T16:29:07.566247+00:00", "assigned_to": "a0000000-0000-4000-8000-000000000001", "description": null, "request_type": "project"},
{"id": "e0000000-0000-4000-8000-000000000005", "title": "Winter boots, all channels", "status": "in_progress", "due_date": null, "metadata": {"meta_ad_id": ["23851000000000005", "23851000000000006"], "google_ad_id": ["700000000003", "700000000004"], "tiktok_ad_id": ["1790000000000001", 1790000000000002]}, "priority": "high", "client_id": "c0000000-0000-4000-8000-000000000001", "created_at": "2026-11-28T16:29:07.566247+00:00", "created_by": null, "updated_at": "2026-11-28T16:29:07.566247+00:00", "assigned_to": "a0000000-0000-4000-8000-000000000003", "description": null, "request_type": "performance"},
{"id": "e0000000-0000-4000-8000-000000000006", "title": "Spring launch, search and video", "status": "in_progress", "due_date": null, "metadata": {"google_ad_id": [700000000002, 700000000005], "tiktok_ad_id": "1790000000000003"}, "priority": "medium", "client_id": "c0000000-0000-4000-8000-000000000001", "created_at": "2026-11-28T16:29:07.566247+00:00", "created_by": null, "updated_at": "2026-11-28T16:29:07.566247+00:00", "assigned_to": null, "description": null, "request_type": "performance"}
]');

insert into retention_policies overriding system value
select * from jsonb_populate_recordset(null::retention_policies, '[
{"id": "a92686b6-18ad-451e-8fa9-9b8a1d83bebb", "created_at": "2026-11-28T16:29:07.566247+00:00", "updated_at": "2026-11-28T16:29:07.566247+00:00", "entity_type": "notification_queue", "last_purged_at": null, "last_archived_at": null, "active_retention_days": 30, "archive_retention_days": 90},
{"id": "dd90bb01-46f4-4667-8278-c9700b1fa3f7", "created_at": "2026-11-28T16:29:07.566247+00:00", "updated_at": "2026-11-28T16:29:07.566247+00:00", "entity_type": "activity_log", "last_purged_at": "2026-11-22T02:00:02+00:00", "last_archived_at": "2026-11-22T02:00:02+00:00", "active_retention_days": 90, "archive_retention_days": 365}
]');

insert into retention_progress overriding system value
select * from jsonb_populate_recordset(null::retention_progress, '[
{"error": null, "purged": 1, "status": "complete", "stayed": [], "archived": 2, "remaining": 0, "batch_rows": {}, "updated_at": "2026-11-22T02:00:02+00:00", "entity_type": "activity_log", "verified_bytes": 310}
]');

insert into slack_connected_channels overriding system value
select * from jsonb_populate_recordset(null::slack_connected_channels, '[
{"id": "193140ea-e74e-4ece-8d9a-5c87ec177202", "channel_id": "C0PROJECTS0", "created_at": "2026-11-28T16:29:07.566247+00:00", "channel_name": "projects", "request_type": "project", "notification_types": null},
{"id": "88eb6e9a-f7af-4b51-bb39-bff55e8ad93e", "channel_id": "C0PERFORM00", "created_at": "2026-11-28T16:29:07.566247+00:00", "channel_name": "performance", "request_type": "performance", "notification_types": ["status_change", "comment_added"]},
{"id": "9fe093b5-eb02-455d-a540-bbaf6f4cb309", "channel_id": "C0CREATIVE0", "created_at": "2026-11-28T16:29:07.566247+00:00", "channel_name": "creative", "request_type": "creative", "notification_types": null}
]');

insert into slack_destinations overriding system value
select * from jsonb_populate_recordset(null::slack_destinations, '[
{"probes": 0, "probe_at": null, "park_code": null, "parked_at": null, "paused_to": null, "not_before": "2026-11-24T09:02:01+00:00", "paused_for": "00:00:00", "destination": "C0LEADERS00", "park_reason": null, "paused_from": null, "last_post_at": null, "paused_since": null, "conversation_id": null},
{"probes": 0, "probe_at": null, "park_code": null, "parked_at": null, "paused_to": null, "not_before": null, "paused_for": "00:00:00", "destination": "C0CREATIVE0", "park_reason": null, "paused_from": null, "last_post_at": "2026-11-24T09:00:01.6+00:00", "paused_since": null, "conversation_id": "C0CREATIVE0"}
]');

insert into slack_threads overriding system value
select * from jsonb_populate_recordset(null::slack_threads, '[
{"parent_ts": "1795683602.000100", "request_id": "e0000000-0000-4000-8000-000000000001", "destination": "C0CREATIVE0", "last_post_at": "2026-11-24T09:00:02+00:00"}
]');

insert into slack_workspace overriding system value
select * from jsonb_populate_recordset(null::slack_workspace, '[
{"only_one": true, "paused_to": null, "stop_code": "token_revoked", "paused_for": "00:00:00", "stopped_at": "2026-11-24T09:00:03+00:00", "paused_from": null, "stop_reason": "the token was revoked"}
]');

insert into worker_leases overriding system value
select * from jsonb_populate_recordset(null::worker_leases, '[
{"name": "notifications", "holder": "dddddddd-0000-4000-8000-000000000004", "lingers": false, "handover": null, "wanted_at": null, "expires_at": "2026-11-24T09:02:31+00:00", "renewed_at": "2026-11-24T09:01:01+00:00"},
{"name": "retention", "holder": "aaaaaaaa-0000-4000-8000-000000000001", "lingers": false, "handover": null, "wanted_at": "2026-11-22T02:00:01+00:00", "expires_at": "2026-11-22T02:00:02+00:00", "renewed_at": "2026-11-22T02:00:02+00:00"}
]');

insert into worker_runs overriding system value
select * from jsonb_populate_recordset(null::worker_runs, '[
{"id": "d5721c74-0886-4955-ae82-e5cc6e60cb73", "error": null, "counts": {"sent": 1}, "worker": "notifications", "outcome": "drained", "ended_at": "2026-11-24T09:00:04+00:00", "succeeded": true, "started_at": "2026-11-24T09:00:00+00:00", "error_class": null}
]');

reset session_replication_role;
