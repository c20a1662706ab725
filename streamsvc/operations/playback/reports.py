"""How far profiles got: reports in, one at a time or the pile of a device that was offline."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models.progress import save_progress
from streamsvc.operations.playback import items
from streamsvc.operations.playback.items import Playable
from streamsvc.rules.playback import progress
from streamsvc.rules.playback.access import is_age_allowed
from streamsvc.rules.refusals.requests import Invalid, NotFound


def record_progress(profile, item_id: str, report: dict, now: datetime) -> dict:
    """Merge one report (a loaded ProgressIn) for a profile's row of the viewer; the progress as it then stands.

    Raises NotFound for what the profile may not know of, Invalid for a series as a whole.
    """
    return _merge_report(profile, _require_trackable(profile, items.find_playable(item_id)), report, now)[0]


def record_progress_batch(profile, reports: list[dict], now: datetime) -> list[dict]:
    """Merge many reports (loaded ReportIns), in whatever order they come: what became of each, in that order."""
    found, outcomes = {}, []
    for told in reports:
        item_id = told["item_id"]
        try:
            if item_id not in found:
                found[item_id] = items.find_playable(item_id)
            stands, applied = _merge_report(profile, _require_trackable(profile, found[item_id]), told, now)
            outcomes.append({"item_id": item_id, "applied": applied, "reason": None, "progress": stands})
        except (NotFound, Invalid):
            outcomes.append({"item_id": item_id, "applied": False, "reason": NotFound.code, "progress": None})
    return outcomes


def _require_trackable(profile, playable: Playable | None) -> Playable:
    if playable is None or not is_age_allowed(playable.row.min_age, profile.max_age):
        raise NotFound
    if playable.is_series:
        raise Invalid(errors={"item_id": ["A series is watched episode by episode; give the id of one."]})
    return playable


def _merge_report(profile, playable, report, now):
    said = progress.normalize_report(
        playable.item,
        report["position_s"],
        report["duration_s"],
        report["at"],
        now,
        restarted_at=min(report["at"], now) if report["restart"] else None,
    )
    row = save_progress(profile.profile_id, playable.item, said)
    return progress_view(row), (row.at, row.position_s) == (said.at, said.position_s)


def progress_view(row: sa.Row) -> dict:
    """A row of progress as its viewer sees it."""
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
