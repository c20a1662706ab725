"""Rules of access, streams and heartbeats, progress, and playback tokens."""
