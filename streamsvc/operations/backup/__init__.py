"""Backups of the database, and how they are restored."""
