"""playback: may this be played, here and now, and by how many at once."""

BLUEPRINTS = ()
