-- A sample agency, for trying the workers out. Never run on a real project.
--
-- Three people, two clients, six requests, of which five have ads, the channels and the ad
-- accounts that the dashboard connected, and a queue with a bit of everything: plain
-- notifications, hostile text, a direct message, a private channel, an inactive config, and one
-- that is a month old. The keys of the ad accounts are those of the local fakes.

insert into auth.users (id) values
  ('a0000000-0000-4000-8000-000000000001'),
  ('a0000000-0000-4000-8000-000000000002'),
  ('a0000000-0000-4000-8000-000000000003')
on conflict do nothing;

insert into public.profiles (id, first_name, last_name, role, slack_id) values
  ('a0000000-0000-4000-8000-000000000001', 'Ava', 'Lindqvist', 'account_manager', 'U0AVA00000'),
  ('a0000000-0000-4000-8000-000000000002', 'Ben', 'Okafor', 'designer', 'U0BEN00000'),
  ('a0000000-0000-4000-8000-000000000003', 'Carla', 'Mendes', 'analyst', null);

insert into public.clients (id, name, status) values
  ('c0000000-0000-4000-8000-000000000001', 'Nordlys Outdoor', 'active'),
  ('c0000000-0000-4000-8000-000000000002', 'Café Lumière', 'active');

insert into public.requests
  (id, title, client_id, request_type, status, priority, assigned_to, metadata)
values
  ('e0000000-0000-4000-8000-000000000001', 'Spring launch film',
   'c0000000-0000-4000-8000-000000000001', 'creative', 'needs_review', 'high',
   'a0000000-0000-4000-8000-000000000002', '{"meta_ad_id": "23851000000000001"}'),
  ('e0000000-0000-4000-8000-000000000002', 'Retargeting, autumn',
   'c0000000-0000-4000-8000-000000000001', 'performance', 'in_progress', 'medium',
   'a0000000-0000-4000-8000-000000000003',
   '{"meta_ad_id": ["23851000000000002", "23851000000000003"], "google_ad_id": 700000000001}'),
  ('e0000000-0000-4000-8000-000000000003', 'Menu & window signs',
   'c0000000-0000-4000-8000-000000000002', 'creative', 'new_request', 'low', null, null),
  ('e0000000-0000-4000-8000-000000000004', 'New website',
   'c0000000-0000-4000-8000-000000000002', 'project', 'in_progress', 'medium',
   'a0000000-0000-4000-8000-000000000001',
   '{"linkedin_creative_id": [330000001, "330000002"]}'),
  ('e0000000-0000-4000-8000-000000000005', 'Winter boots, all channels',
   'c0000000-0000-4000-8000-000000000001', 'performance', 'in_progress', 'high',
   'a0000000-0000-4000-8000-000000000003',
   '{"meta_ad_id": ["23851000000000005", "23851000000000006"], "google_ad_id": ["700000000003", "700000000004"], "tiktok_ad_id": ["1790000000000001", 1790000000000002]}'),
  ('e0000000-0000-4000-8000-000000000006', 'Spring launch, search and video',
   'c0000000-0000-4000-8000-000000000001', 'performance', 'in_progress', 'medium', null,
   '{"google_ad_id": [700000000002, 700000000005], "tiktok_ad_id": "1790000000000003"}');

insert into public.platform_connections
  (id, platform, account_id, account_name, credentials, is_active, last_synced_at, created_by)
values
  ('b0000000-0000-4000-8000-000000000001', 'meta', 'act_1203300000000001', 'Nordlys Outdoor',
   '{"access_token": "EAALOCALmetaSampleToken000000000000000001", "app_id": "4820000000000001", "app_secret": "local-meta-app-secret-0000000001"}',
   true, null, 'a0000000-0000-4000-8000-000000000001'),
  ('b0000000-0000-4000-8000-000000000002', 'google_ads', '123-456-7890', 'Nordlys Outdoor',
   '{"refresh_token": "1//local-google-sample-refresh-token", "client_id": "400000000001-local.apps.googleusercontent.com", "client_secret": "GOCSPX-local-sample-secret", "login_customer_id": "987-654-3210"}',
   true, null, 'a0000000-0000-4000-8000-000000000001'),
  ('b0000000-0000-4000-8000-000000000003', 'tiktok', '7012345678901234567', 'Nordlys Outdoor',
   '{"access_token": "localtiktoksampletoken000000000000000001"}',
   true, null, 'a0000000-0000-4000-8000-000000000001'),
  ('b0000000-0000-4000-8000-000000000004', 'linkedin', '507000001', 'Café Lumière',
   '{"refresh_token": "AQlocalLinkedinSampleRefreshToken000000000001", "client_id": "77localsample01", "client_secret": "WPL_AP1.local-linkedin-sample-secret"}',
   true, null, 'a0000000-0000-4000-8000-000000000001');

insert into public.slack_connected_channels
  (request_type, channel_id, channel_name, notification_types)
values
  ('creative', 'C0CREATIVE0', 'creative', null),
  ('performance', 'C0PERFORM00', 'performance', '["status_change", "comment_added"]'),
  ('project', 'C0PROJECTS0', 'projects', null);

insert into public.notification_config
  (id, entity_type, event_type, channel_id, user_id, is_active, template)
values
  -- the three that the dashboard ships: routed by slack_connected_channels
  ('f0000000-0000-4000-8000-000000000001', 'request', 'status_change', null, null, true,
   '*{{request_title}}* moved from {{old_status}} to *{{new_status}}*'),
  ('f0000000-0000-4000-8000-000000000002', 'comment', 'comment_added', null, null, true,
   '{{author}} on *{{request_title}}*: {{comment}}'),
  ('f0000000-0000-4000-8000-000000000003', 'asset', 'asset_uploaded', null, null, true, null),
  -- for one person, for one channel, switched off
  ('f0000000-0000-4000-8000-000000000004', 'request', 'assigned', null,
   'a0000000-0000-4000-8000-000000000001', true,
   'You are now responsible for *{{request_title}}*'),
  ('f0000000-0000-4000-8000-000000000005', 'request', 'budget_alert', 'C0LEADERS00', null, true,
   ':rotating_light: {{client}} has spent {{percent}} % of its budget'),
  ('f0000000-0000-4000-8000-000000000006', 'request', 'due_soon', 'C0PROJECTS0', null, false,
   '{{request_title}} is due on {{due_date}}');

insert into public.notification_queue
  (id, config_id, entity_id, entity_type, event_data, created_at, next_attempt_at)
values
  ('d0000000-0000-4000-8000-000000000001', 'f0000000-0000-4000-8000-000000000001',
   'e0000000-0000-4000-8000-000000000001', 'request',
   '{"request_title": "Spring launch film", "old_status": "in_progress", "new_status": "needs_review", "request_id": "e0000000-0000-4000-8000-000000000001"}',
   now() - interval '9 minutes', now() - interval '9 minutes'),
  ('d0000000-0000-4000-8000-000000000002', 'f0000000-0000-4000-8000-000000000001',
   'e0000000-0000-4000-8000-000000000002', 'request',
   '{"request_title": "Retargeting, autumn", "old_status": "new_request", "new_status": "in_progress", "request_id": "e0000000-0000-4000-8000-000000000002"}',
   now() - interval '8 minutes', now() - interval '8 minutes'),
  -- a client's text that tries to call the whole workspace
  ('d0000000-0000-4000-8000-000000000003', 'f0000000-0000-4000-8000-000000000002',
   'e0000000-0000-4000-8000-000000000001', 'comment',
   '{"request_title": "Spring launch film", "author": "Nordlys <!channel>", "comment": "@here love it & ship it <https://evil.example|click>", "request_id": "e0000000-0000-4000-8000-000000000001"}',
   now() - interval '7 minutes', now() - interval '7 minutes'),
  ('d0000000-0000-4000-8000-000000000004', 'f0000000-0000-4000-8000-000000000002',
   'e0000000-0000-4000-8000-000000000002', 'comment',
   '{"request_title": "Retargeting, autumn", "author": "Carla Mendes", "comment": "CTR is up 0.4 points since Monday", "request_id": "e0000000-0000-4000-8000-000000000002"}',
   now() - interval '6 minutes', now() - interval '6 minutes'),
  -- no template: a plain line is made of what is known
  ('d0000000-0000-4000-8000-000000000005', 'f0000000-0000-4000-8000-000000000003',
   'e0000000-0000-4000-8000-000000000003', 'asset',
   '{"request_title": "Menu & window signs", "name": "menu-v3.pdf", "request_id": "e0000000-0000-4000-8000-000000000003"}',
   now() - interval '5 minutes', now() - interval '5 minutes'),
  ('d0000000-0000-4000-8000-000000000006', 'f0000000-0000-4000-8000-000000000004',
   'e0000000-0000-4000-8000-000000000004', 'request',
   '{"request_title": "New website", "request_id": "e0000000-0000-4000-8000-000000000004"}',
   now() - interval '4 minutes', now() - interval '4 minutes'),
  ('d0000000-0000-4000-8000-000000000007', 'f0000000-0000-4000-8000-000000000005',
   'e0000000-0000-4000-8000-000000000002', 'request',
   '{"client": "Nordlys Outdoor", "percent": 91.5}',
   now() - interval '3 minutes', now() - interval '3 minutes'),
  ('d0000000-0000-4000-8000-000000000008', 'f0000000-0000-4000-8000-000000000001',
   'e0000000-0000-4000-8000-000000000004', 'request',
   '{"request_title": "New website", "old_status": "new_request", "new_status": "in_progress", "request_id": "e0000000-0000-4000-8000-000000000004"}',
   now() - interval '2 minutes', now() - interval '2 minutes'),
  -- of a config that is switched off: recorded as skipped
  ('d0000000-0000-4000-8000-000000000009', 'f0000000-0000-4000-8000-000000000006',
   'e0000000-0000-4000-8000-000000000004', 'request',
   '{"request_title": "New website", "due_date": "2026-12-01"}',
   now() - interval '1 minute', now() - interval '1 minute'),
  -- last month's: recorded as expired, not posted
  ('d0000000-0000-4000-8000-000000000010', 'f0000000-0000-4000-8000-000000000001',
   'e0000000-0000-4000-8000-000000000001', 'request',
   '{"request_title": "Spring launch film", "old_status": "new_request", "new_status": "in_progress"}',
   now() - interval '31 days', now() - interval '31 days');

insert into public.retention_policies
  (entity_type, active_retention_days, archive_retention_days)
values
  ('activity_log', 90, 365),
  ('notification_queue', 30, 90);

-- A year and a half of activity, one entry every four hours: most of it past its time.
insert into public.activity_log (user_id, entity_type, entity_id, action, details, created_at)
select 'a0000000-0000-4000-8000-000000000001', 'request',
       'e0000000-0000-4000-8000-000000000001', 'status_changed',
       jsonb_build_object('number', number),
       now() - number * interval '4 hours'
  from generate_series(1, 3000) number;
