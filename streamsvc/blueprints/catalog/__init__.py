"""catalog: titles, search and browsing."""

from streamsvc.blueprints.catalog import browse, search, titles

BLUEPRINTS = (titles.bp, search.bp, browse.bp)
