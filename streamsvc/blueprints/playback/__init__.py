"""playback: may this be played, here and now, and by how many at once; and how far everybody got."""

from streamsvc.blueprints.playback import playback, progress, rows, verify, watchlist_and_ratings

BLUEPRINTS = (playback.bp, verify.bp, progress.bp, rows.bp, watchlist_and_ratings.bp)
