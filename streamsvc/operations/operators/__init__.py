"""Operators: their roles, credentials and sign-in, and how they impersonate viewers."""
