SELECT s.id AS session_id, s.device_id, s.lifetime, s.profile_id AS selected_profile_id, s.created_at, s.authenticated_at,
    s.last_seen_at, s.impersonated_by, s.impersonation_reason, d.name AS device_name, d.kind AS device_kind,
    a.id AS account_id, a.email, a.email_verified_at, a.name AS account_name, a.country, a.time_zone, a.locale,
    a.created_at AS account_created_at, a.store_access, p.id AS profile_id, p.name AS profile_name, p.avatar, p.language,
    p.kids, p.max_age, p.autoplay, p.restrictions, p.pin_hash IS NOT NULL AS has_pin, u.id AS subscription_id, u.status,
    u.source, u.price_id, u.access_until, u.period_start, u.period_end, u.trial_end, u.cancel_at, u.paused_at,
    u.resumes_at, u.addon_grants, n.code AS plan, n.features, n.includes
FROM sessions s
JOIN accounts a ON a.id = s.account_id AND a.status = 'active'
JOIN devices d ON d.id = s.device_id
LEFT JOIN profiles p ON p.account_id = a.id AND p.deleted_at IS NULL
LEFT JOIN subscriptions u
    ON u.account_id = a.id AND u.status IN ('incomplete', 'trialing', 'active', 'past_due', 'paused')
LEFT JOIN plans n ON n.id = u.plan_id
WHERE s.token_hash = :token_hash AND s.ended_at IS NULL AND s.dpop_jkt IS NULL
    AND s.service_epoch >= (SELECT coalesce(max(number), 0) FROM service_epoch)
ORDER BY p.id
