"""subscriptions: what is sold, who has it, and the money."""

BLUEPRINTS = ()
