"""Progress reports: one at a time, or a batch from a device that was offline."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models.progress import save_play, save_progress
from streamsvc.operations.playback import items
from streamsvc.operations.playback.playables import Playable
from streamsvc.operations.playback.policy import progress_policy
from streamsvc.rules.playback import progress
from streamsvc.rules.playback.inputs import DatedProgressInput, ProgressBatchInput, ProgressInput
from streamsvc.rules.refusals.requests import Invalid, NotFound


def record_progress(
    profile: Any, country: str | None, playable: Playable | None, report: DatedProgressInput, now: datetime
) -> dict:
    """Merge a report (a loaded DatedProgressIn) on an item into the profile's progress; return the resulting progress.

    Raises NotFound if there is no item or the profile's limits hide it in the viewer's country, Invalid for a whole
    series.
    """
    playable = _require_trackable(profile, country, playable)
    return _merge_report(profile, playable, report, report["sent_at"], now)[0]


def record_progress_batch(profile: Any, country: str | None, batch: ProgressBatchInput, now: datetime) -> list[dict]:
    """Merge the reports of a loaded ProgressBatchIn, in any order; return the outcome of each, in the order given."""
    playables, outcomes = {}, []
    for report in batch["items"]:
        item_id = report["item_id"]
        try:
            if item_id not in playables:
                playables[item_id] = items.find_playable(item_id)
            playable = _require_trackable(profile, country, playables[item_id])
            view, applied = _merge_report(profile, playable, report, batch["sent_at"], now)
            outcomes.append({"item_id": item_id, "applied": applied, "reason": None, "progress": view})
        except (NotFound, Invalid):
            outcomes.append({"item_id": item_id, "applied": False, "reason": NotFound.code, "progress": None})
    return outcomes


def _require_trackable(profile: Any, country: str | None, playable: Playable | None) -> Playable:
    """Return the item if the profile may report its progress. Raises NotFound, Invalid."""
    if playable is None or not playable.is_visible_to(profile, country):
        raise NotFound
    if playable.is_series or not playable.has_progress:
        raise Invalid(errors={"item_id": ["Must be the id of a film, an episode or a programme."]})
    return playable


def _merge_report(
    profile: Any, playable: Playable, report: ProgressInput, sent_at: datetime | None, now: datetime
) -> tuple[dict, bool]:
    """Return the resulting progress, and whether this report determines it."""
    item, time = playable.item, progress.date_report(report["at"], sent_at, profile.session_id, now)
    normalized = progress.normalize_report(
        item,
        report["position_s"],
        report["duration_s"],
        time,
        progress_policy(),
        restarted_at=time.at if report["restart"] else None,
    )
    row = save_progress(profile.profile_id, item, normalized, now)
    if report["play_id"]:
        save_play(profile.profile_id, item, report["play_id"], normalized.at, normalized.watched_at)
    return progress_view(row), (row.at, row.position_s) == (normalized.at, normalized.position_s)


def progress_view(row: sa.Row) -> dict:
    """Return a row of progress as in ProgressOut."""
    return {
        "item_id": row.item_id,
        "title_id": row.title_id,
        "position_s": row.position_s,
        "duration_s": row.duration_s,
        "resume_s": progress.resume_position_s(
            row.position_s, row.duration_s, row.watched_at, row.restarted_at, progress_policy()
        ),
        "watched": row.watched_at is not None,
        "finished": progress.is_finished(row.watched_at, row.restarted_at),
        "at": row.at,
    }
