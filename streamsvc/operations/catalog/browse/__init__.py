"""Browsing the catalogue: filters, people, collections, title pages, similar titles and coverage."""
