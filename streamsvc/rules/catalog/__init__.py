"""The title record, text normalization and the stages of a search."""
