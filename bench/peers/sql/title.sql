SELECT t.pk, t.min_age, t.windowed, t.plan_limited, t.rated_per_country, d.body AS detail, (
    SELECT body FROM title_cards c WHERE c.title_pk = t.pk AND +c.locale IN ('', :language, :base_language)
    ORDER BY c.locale DESC LIMIT 1
) AS card, EXISTS (SELECT 1 FROM extras e WHERE e.title_pk = t.pk AND e.removed_at IS NULL) AS has_extras
FROM titles t JOIN title_details d ON d.title_pk = t.pk
WHERE t.id = :id AND t.removed_at IS NULL
