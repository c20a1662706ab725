"""Audit events, mails and webhooks, written in the transaction of what they report."""
