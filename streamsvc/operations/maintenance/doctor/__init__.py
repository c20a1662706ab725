"""`streamsvc doctor`: read-only checks of a running service. Each module here registers some in `findings.py`."""
