"""Who may play what, streams and their heartbeats, progress, playback tokens."""
