"""catalog: what there is to watch, and how it is found."""

from streamsvc.blueprints.catalog import browse, search, titles

BLUEPRINTS = (titles.bp, search.bp, browse.bp)
