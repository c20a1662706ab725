"""Writing titles: records, series, cards, the search index and popularity."""
