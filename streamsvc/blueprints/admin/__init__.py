"""admin: what operators do; every view names the scope that its key needs."""

from streamsvc.blueprints.admin import (
    accounts,
    api_keys,
    audit,
    billing_invoices,
    billing_offers,
    billing_plans,
    billing_subscriptions,
    catalog_imports,
    catalog_reports,
    catalog_rows,
    catalog_titles,
    exports,
    playback,
    reports,
    webhooks,
)

BLUEPRINTS = (
    accounts.bp,
    api_keys.bp,
    audit.bp,
    billing_invoices.bp,
    billing_offers.bp,
    billing_plans.bp,
    billing_subscriptions.bp,
    catalog_imports.bp,
    catalog_reports.bp,
    catalog_rows.bp,
    catalog_titles.bp,
    exports.bp,
    playback.bp,
    reports.bp,
    webhooks.bp,
)
