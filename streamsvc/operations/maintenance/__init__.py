"""What keeps the service running: health, housekeeping, the worker's loop, the demo data."""
