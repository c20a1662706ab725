"""Live channels and their guides: written, imported, read."""
