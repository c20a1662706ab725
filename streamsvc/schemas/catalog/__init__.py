"""Schemas of the catalogue."""
