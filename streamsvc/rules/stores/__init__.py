"""App stores: what their states mean here."""
