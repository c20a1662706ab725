"""Shapes of accounts, sessions, devices, profiles and ways to sign in."""
