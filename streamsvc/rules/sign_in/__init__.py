"""Formats, lifetimes and strength of credentials."""
