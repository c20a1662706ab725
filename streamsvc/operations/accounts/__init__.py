"""Accounts and what belongs to them: profiles, devices, PINs, API keys, personal data."""
