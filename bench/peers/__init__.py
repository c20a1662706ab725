"""Peers: other stacks that do the same work as streamsvc on the same SQLite file, and give the same answers."""
