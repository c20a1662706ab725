"""catalog: titles, channels, search and browsing."""

from streamsvc.blueprints.catalog import browse, channels, search, titles

BLUEPRINTS = (titles.bp, search.bp, browse.bp, channels.bp)
