"""The operator's rules of viewing progress, from the settings."""

from streamsvc.rules.playback.progress import ProgressPolicy
from streamsvc.settings import current_settings


def progress_policy() -> ProgressPolicy:
    """Return the thresholds in effect."""
    settings = current_settings()
    return ProgressPolicy(
        settings.watched_percent,
        settings.resume_after_s,
        settings.resume_after_percent,
        settings.continue_watching_days,
    )
