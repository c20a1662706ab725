"""Shapes of the operators' API."""
