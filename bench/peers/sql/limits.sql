-- Rights, ratings, profiles, plans and sessions of every kind that decides what a viewer may see.

CREATE TEMP TABLE moments AS SELECT
    strftime('%Y-%m-%d %H:%M:%S.000000', 'now', '-9 days') AS past,
    strftime('%Y-%m-%d %H:%M:%S.000000', 'now', '-2 days') AS recent,
    strftime('%Y-%m-%d %H:%M:%S.000000', 'now', '+2 days') AS soon,
    strftime('%Y-%m-%d %H:%M:%S.000000', 'now', '+9 days') AS future;

UPDATE titles SET windowed = pk % 16 < 7, plan_limited = pk % 16 IN (6, 7, 8, 9), rated_per_country = pk % 16 IN (10, 11),
    removed_at = CASE WHEN pk % 16 = 12 THEN (SELECT past FROM moments) END,
    min_age = CASE WHEN pk % 16 IN (10, 11) THEN 16 WHEN pk % 16 = 13 THEN 6 ELSE min_age END,
    age_gate = CASE WHEN pk % 16 IN (10, 11) THEN 18 WHEN pk % 16 = 13 THEN 6 ELSE age_gate END;
INSERT INTO title_windows (title_pk, country, position, starts_at, ends_at)
    SELECT pk, '*', 0, past, recent FROM titles, moments WHERE pk % 16 = 0
    UNION ALL SELECT pk, '*', 0, soon, future FROM titles, moments WHERE pk % 16 = 1
    UNION ALL SELECT pk, 'DE', 0, past, future FROM titles, moments WHERE pk % 16 = 2
    UNION ALL SELECT pk, 'US', 0, NULL, future FROM titles, moments WHERE pk % 16 = 3
    UNION ALL SELECT pk, 'DE', 0, NULL, recent FROM titles, moments WHERE pk % 16 = 4
    UNION ALL SELECT pk, 'DE', 1, soon, NULL FROM titles, moments WHERE pk % 16 = 4
    UNION ALL SELECT pk, '*', 0, past, soon FROM titles, moments WHERE pk % 16 = 5
    UNION ALL SELECT pk, 'DE', 1, recent, NULL FROM titles, moments WHERE pk % 16 = 5
    UNION ALL SELECT pk, 'AT', 1, recent, NULL FROM titles, moments WHERE pk % 16 = 5
    UNION ALL SELECT pk, 'AT', 0, past, NULL FROM titles, moments WHERE pk % 16 = 6;
INSERT INTO title_plans (title_pk, plan_code)
    SELECT pk, 'premium' FROM titles WHERE pk % 16 IN (6, 7)
    UNION ALL SELECT pk, 'mobile' FROM titles WHERE pk % 16 IN (7, 8);
INSERT INTO title_age_ratings (title_pk, country, label, min_age, age_gate)
    SELECT pk, 'DE', '12', 12, 12 FROM titles WHERE pk % 16 = 10
    UNION ALL SELECT pk, 'US', 'R', 17, 17 FROM titles WHERE pk % 16 = 10
    UNION ALL SELECT pk, 'DE', '18', 18, 18 FROM titles WHERE pk % 16 = 11;
INSERT INTO facets (kind, code) VALUES ('rating', 'DE'), ('rating', 'US');
INSERT INTO title_cards (title_pk, locale, body)
    SELECT title_pk, 'de', json_set(body, '$.title', 'Auf Deutsch') FROM title_cards
    WHERE locale = '' AND title_pk % 16 IN (10, 15) ON CONFLICT DO NOTHING;
UPDATE catalog_state SET version = version + 1;

CREATE TEMP TABLE viewers AS
    SELECT s.id AS session_id, s.account_id, s.profile_id, row_number() OVER (ORDER BY s.id) AS number FROM sessions s;
UPDATE profiles SET max_age = 12, language = 'de-AT' WHERE id IN (SELECT profile_id FROM viewers WHERE number % 15 = 1);
UPDATE profiles SET kids = 1 WHERE id IN (SELECT profile_id FROM viewers WHERE number % 15 = 2);
UPDATE profiles SET max_age = 17, avatar = 'owl' WHERE id IN (SELECT profile_id FROM viewers WHERE number % 15 = 3);
UPDATE accounts SET country = 'US', name = 'Ada', email_verified_at = created_at
    WHERE id IN (SELECT account_id FROM viewers WHERE number % 15 IN (3, 4));
INSERT INTO profiles (id, account_id, name, kids, max_age, autoplay, pin_hash, created_at)
    SELECT 'pro_zz' || number, account_id, 'Second', 0, 16, 0, 'x', past FROM viewers, moments WHERE number % 15 IN (5, 6);
INSERT INTO profiles (id, account_id, name, kids, autoplay, created_at, deleted_at)
    SELECT 'pro_yy' || number, account_id, 'Deleted', 1, 1, past, recent FROM viewers, moments WHERE number % 15 = 6;
UPDATE sessions SET profile_id = NULL WHERE id IN (SELECT session_id FROM viewers WHERE number % 15 = 6);
UPDATE accounts SET locale = 'de' WHERE id IN (SELECT account_id FROM viewers WHERE number % 15 = 6);
UPDATE subscriptions SET status = 'canceled' WHERE account_id IN (SELECT account_id FROM viewers WHERE number % 15 = 7);
UPDATE subscriptions SET status = 'past_due', access_until = (SELECT recent FROM moments)
    WHERE account_id IN (SELECT account_id FROM viewers WHERE number % 15 = 8);
UPDATE subscriptions SET status = 'trialing', plan_id = (SELECT id FROM plans WHERE code = 'mobile'), trial_end = period_end,
    cancel_at = period_end, access_until = (SELECT soon FROM moments), source = 'stripe'
    WHERE account_id IN (SELECT account_id FROM viewers WHERE number % 15 = 9);
UPDATE subscriptions SET status = 'paused', paused_at = (SELECT recent FROM moments), resumes_at = (SELECT soon FROM moments)
    WHERE account_id IN (SELECT account_id FROM viewers WHERE number % 15 = 10);
UPDATE sessions SET ended_at = (SELECT recent FROM moments) WHERE id IN (SELECT session_id FROM viewers WHERE number % 15 = 11);
UPDATE sessions SET lifetime = 'browser', last_seen_at = strftime('%Y-%m-%d %H:%M:%S.000000', 'now', '-20 days')
    WHERE id IN (SELECT session_id FROM viewers WHERE number % 15 = 12);
UPDATE sessions SET lifetime = 'browser', created_at = strftime('%Y-%m-%d %H:%M:%S.000001', 'now', '-80 days')
    WHERE id IN (SELECT session_id FROM viewers WHERE number % 15 = 13);
UPDATE accounts SET status = 'disabled' WHERE id IN (SELECT account_id FROM viewers WHERE number % 15 = 14);
