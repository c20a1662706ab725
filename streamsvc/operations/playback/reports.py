"""Progress reports: one at a time, or a batch from a device that was offline."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models.progress import save_progress
from streamsvc.operations.playback import items
from streamsvc.operations.playback.items import Playable
from streamsvc.rules.playback import progress
from streamsvc.rules.playback.access import is_age_allowed
from streamsvc.rules.playback.inputs import ProgressInput, ProgressReportInput
from streamsvc.rules.refusals.requests import Invalid, NotFound


def record_progress(profile: Any, item_id: str, report: ProgressInput, now: datetime) -> dict:
    """Merge a report (a loaded ProgressIn) into the profile's progress; return the resulting progress.

    Raises NotFound if the profile's age limit hides the item, Invalid for a whole series.
    """
    return _merge_report(profile, _require_trackable(profile, items.find_playable(item_id)), report, now)[0]


def record_progress_batch(profile: Any, reports: list[ProgressReportInput], now: datetime) -> list[dict]:
    """Merge reports (loaded ProgressReportIns), in any order; return the outcome of each, in the order given."""
    playables, outcomes = {}, []
    for report in reports:
        item_id = report["item_id"]
        try:
            if item_id not in playables:
                playables[item_id] = items.find_playable(item_id)
            view, applied = _merge_report(profile, _require_trackable(profile, playables[item_id]), report, now)
            outcomes.append({"item_id": item_id, "applied": applied, "reason": None, "progress": view})
        except (NotFound, Invalid):
            outcomes.append({"item_id": item_id, "applied": False, "reason": NotFound.code, "progress": None})
    return outcomes


def _require_trackable(profile: Any, playable: Playable | None) -> Playable:
    """Return the item if the profile may report its progress. Raises NotFound, Invalid."""
    if playable is None or not is_age_allowed(playable.row.min_age, profile.max_age):
        raise NotFound
    if playable.is_series:
        raise Invalid(errors={"item_id": ["Must be the id of a film or an episode, not of a series."]})
    return playable


def _merge_report(profile: Any, playable: Playable, report: ProgressInput, now: datetime) -> tuple[dict, bool]:
    """Return the resulting progress, and whether this report determines it."""
    normalized = progress.normalize_report(
        playable.item,
        report["position_s"],
        report["duration_s"],
        report["at"],
        now,
        restarted_at=min(report["at"], now) if report["restart"] else None,
    )
    row = save_progress(profile.profile_id, playable.item, normalized)
    return progress_view(row), (row.at, row.position_s) == (normalized.at, normalized.position_s)


def progress_view(row: sa.Row) -> dict:
    """Return a row of progress as in ProgressOut."""
    return {
        "item_id": row.item_id,
        "title_id": row.title_id,
        "position_s": row.position_s,
        "duration_s": row.duration_s,
        "resume_s": progress.resume_position_s(row.position_s, row.duration_s, row.watched_at, row.restarted_at),
        "watched": row.watched_at is not None,
        "finished": progress.is_finished(row.watched_at, row.restarted_at),
        "at": row.at,
    }
