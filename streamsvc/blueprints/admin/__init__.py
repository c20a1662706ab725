"""admin: what operators do; every view names the scope that its key needs."""

from streamsvc.blueprints.admin import api_keys, billing_plans

BLUEPRINTS = (api_keys.bp, billing_plans.bp)
