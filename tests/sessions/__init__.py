"""Accounts, ways to sign in, profiles, devices."""
