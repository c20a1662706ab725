"""What a viewer does with a profile's own things: hide, forget, want, rate; and how titles stand with the profile."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Progress, Rated, Watchlisted
from streamsvc.operations.playback import items
from streamsvc.operations.playback.reports import stands
from streamsvc.rules.playback.access import suits
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import affected, all_rows, insert


def title_for(profile, title_id: str) -> str:
    """The title's id, if the profile may know of it. Raises NotFound; an episode is no title."""
    playable = items.find(title_id)
    if playable is None or playable.row.season is not None or not suits(playable.row.min_age, profile.max_age):
        raise NotFound
    return playable.row.title_id


def hide(profile_id: str, item_id: str, now: datetime) -> None:
    """Take an item out of "continue watching", until it is watched on."""
    affected(
        sa.update(Progress).where(Progress.profile_id == profile_id, Progress.item_id == item_id).values(hidden_at=now)
    )


def forget(profile_id: str, item_id: str | None) -> None:
    """Drop an item from the history, or all of it."""
    one = [Progress.item_id == item_id] if item_id else []
    affected(sa.delete(Progress).where(Progress.profile_id == profile_id, *one))


def want(profile_id: str, title_id: str, now: datetime) -> None:
    row = {"profile_id": profile_id, "title_id": title_id, "added_at": now}
    affected(insert(Watchlisted).values(row).on_conflict_do_nothing(index_elements=["profile_id", "title_id"]))


def want_no_more(profile_id: str, title_id: str) -> None:
    affected(sa.delete(Watchlisted).where(Watchlisted.profile_id == profile_id, Watchlisted.title_id == title_id))


def rate(profile_id: str, title_id: str, rating: str, now: datetime) -> None:
    row = {"profile_id": profile_id, "title_id": title_id, "rating": rating, "rated_at": now}
    changed = {"rating": rating, "rated_at": now}
    affected(insert(Rated).values(row).on_conflict_do_update(index_elements=["profile_id", "title_id"], set_=changed))


def rate_no_more(profile_id: str, title_id: str) -> None:
    affected(sa.delete(Rated).where(Rated.profile_id == profile_id, Rated.title_id == title_id))


def states(profile_id: str, ids: list[str]) -> list[dict]:
    """How each of these titles and episodes stands with the profile, in their order; unknown ids stand at nothing."""

    def found(rows, key, *columns):
        select = sa.select(key, *columns).where(rows.profile_id == profile_id, key.in_(ids))
        return {row[0]: row for row in all_rows(select)}

    progress = found(Progress, Progress.item_id, *Progress.__table__.c)
    wanted = found(Watchlisted, Watchlisted.title_id)
    rated = found(Rated, Rated.title_id, Rated.rating)
    return [
        {
            "id": id_,
            "progress": stands(progress[id_]) if id_ in progress else None,
            "in_watchlist": id_ in wanted,
            "rating": rated[id_].rating if id_ in rated else None,
        }
        for id_ in ids
    ]
