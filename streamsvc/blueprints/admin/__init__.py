"""admin: what operators do; every view names the scope that its key needs."""

from streamsvc.blueprints.admin import api_keys, billing_offers, billing_plans, catalog_titles

BLUEPRINTS = (api_keys.bp, billing_offers.bp, billing_plans.bp, catalog_titles.bp)
