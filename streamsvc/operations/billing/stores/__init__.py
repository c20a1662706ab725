"""Subscriptions that an app store bills: claimed by an account, and kept as the store says they are."""
