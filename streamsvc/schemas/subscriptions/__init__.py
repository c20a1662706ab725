"""Shapes of subscriptions, plans, invoices and payments."""
