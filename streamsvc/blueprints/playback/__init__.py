"""playback: may this be played, here and now, and by how many at once; and how far everybody got."""

from streamsvc.blueprints.playback import playback, verify

BLUEPRINTS = (playback.bp, verify.bp)
