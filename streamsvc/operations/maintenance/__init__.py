"""Health checks, housekeeping, the worker's loop and the demo data."""
