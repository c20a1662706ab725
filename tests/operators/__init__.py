"""Operators, impersonation, the audit log."""
