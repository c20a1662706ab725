"""Schemas of playback and progress."""
