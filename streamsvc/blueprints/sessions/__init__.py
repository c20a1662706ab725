"""sessions: who signs in, with what, as which profile."""

BLUEPRINTS = ()
