"""admin: what operators do; every view names the scope that its key needs."""

BLUEPRINTS = ()
