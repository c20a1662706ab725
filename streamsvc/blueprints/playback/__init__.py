"""playback: may this be played, here and now, and by how many at once; and how far everybody got."""

from streamsvc.blueprints.playback import opinions, playback, progress, rows, verify

BLUEPRINTS = (playback.bp, verify.bp, progress.bp, rows.bp, opinions.bp)
