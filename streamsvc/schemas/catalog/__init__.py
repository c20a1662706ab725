"""Shapes of the catalogue."""
