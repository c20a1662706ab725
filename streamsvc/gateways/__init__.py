"""Clients of external services: payment providers, mail, webhooks, OpenID Connect, VIES."""
