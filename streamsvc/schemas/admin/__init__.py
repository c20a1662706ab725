"""Schemas of the operators' API."""
