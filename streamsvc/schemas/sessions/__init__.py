"""Schemas of accounts, sessions, devices, profiles and sign-in methods."""
