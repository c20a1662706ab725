"""Operators' work on invoices: review of drafts, one-off charges, corrections, and disputes."""
