"""What the endpoints, the worker and the command line do with the catalogue."""
