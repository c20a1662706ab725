"""playback: streams, progress, the profiles' own rows, watchlists and ratings."""

from streamsvc.blueprints.playback import licenses, manifests, playback, progress, rows, verify, watchlist_and_ratings

BLUEPRINTS = (playback.bp, verify.bp, manifests.bp, licenses.bp, progress.bp, rows.bp, watchlist_and_ratings.bp)
