"""The `streamsvc` command line."""
