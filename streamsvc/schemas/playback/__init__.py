"""Shapes of playback and progress."""
