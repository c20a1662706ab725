SELECT f.title_pk, f.sort_title, f.rank, r.label, r.min_age, r.title_pk IS NOT NULL AS is_rated_here, (
    SELECT body FROM title_cards c WHERE c.title_pk = t.pk AND +c.locale IN ('', :language, :base_language)
    ORDER BY c.locale DESC LIMIT 1
) AS card
FROM title_facets f
JOIN titles t ON t.pk = f.title_pk
LEFT JOIN title_age_ratings r ON t.rated_per_country AND r.title_pk = t.pk AND r.country = :country
WHERE f.facet_pk = :facet_pk AND t.removed_at IS NULL
    AND (t.age_gate <= :max_age OR (t.rated_per_country AND coalesce(r.age_gate, t.min_age, 99) <= :max_age))
    AND (NOT t.windowed OR EXISTS (
        SELECT 1 FROM title_windows w WHERE w.title_pk = t.pk AND w.country IN ('*', :country)
            AND (w.starts_at IS NULL OR w.starts_at <= :now) AND (w.ends_at IS NULL OR w.ends_at > :now)
    ))
    AND (NOT t.plan_limited OR EXISTS (
        SELECT 1 FROM title_plans l WHERE l.title_pk = t.pk
            AND (:plans IS NULL OR l.plan_code IN (SELECT value FROM json_each(:plans)))
    ))
ORDER BY {order} LIMIT :limit
