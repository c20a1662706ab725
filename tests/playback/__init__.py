"""The playback decision, streams, progress."""
