"""Playback: playable items, access, stream limits, progress, and the viewer's own rows."""
