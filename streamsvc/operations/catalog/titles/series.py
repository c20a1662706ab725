"""Writes the seasons and episodes of records.

Rows are identified by their numbers, so they keep their ids; those that disappear are marked as removed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Episode, EpisodePlan, Season
from streamsvc.operations.catalog.titles import bulk
from streamsvc.operations.catalog.titles.cards import artwork_json, rating_view, tracks_view
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.operations.catalog.titles.part_rights import encode_rights, insert_part_windows, own_rights
from streamsvc.rules.catalog.record import CatalogRecord
from streamsvc.rules.catalog.record import Episode as EpisodeRecord
from streamsvc.rules.catalog.record import Season as SeasonRecord
from streamsvc.rules.maturity import parse_age_rating
from streamsvc.storage.database import db, insert, new_id

UPDATED_EPISODE_COLUMNS = (
    "title", "synopsis", "runtime_s", "released_on", "markers", "artwork", "media", "variants", "drm_keys",
    "removed_at", "rights", "age_gate", "windowed", "plan_limited", "localizations", "detail",
)  # fmt: skip


def write_series(titles: list[tuple[int, CatalogRecord]], now: datetime) -> None:
    """Replace the seasons and episodes of titles (pk, record) by those of their records."""
    series_pks = [pk for pk, record in titles if record.kind == "series"]
    if not series_pks:
        return
    for model in (Episode, Season):
        for chunk in bulk.in_chunks(series_pks):
            removal = sa.update(model).where(model.title_pk.in_(chunk), model.removed_at.is_(None))
            db.session.execute(removal.values(removed_at=now))
    seasons = [_season_row(pk, season) for pk, record in titles for season in record.seasons]
    _upsert_rows(Season, seasons, ("title_pk", "number"), ("title", "synopsis", "artwork", "removed_at"))
    episodes = [
        (pk, season, episode) for pk, record in titles for season in record.seasons for episode in season.episodes
    ]
    rows = [_episode_row(*episode) for episode in episodes]
    _upsert_rows(Episode, rows, ("title_pk", "season", "number"), UPDATED_EPISODE_COLUMNS)
    _insert_windows_and_plans(episodes)


def _insert_windows_and_plans(episodes: list[tuple[int, SeasonRecord, EpisodeRecord]]) -> None:
    """Insert what the rows of profiles select by: the windows and plans that episodes have of their own."""
    rights = [
        (pk, f"{season.number}/{episode.number}", own_rights(episode, season)) for pk, season, episode in episodes
    ]
    insert_part_windows(rights)
    plans = [(pk, item, plan) for pk, item, own in rights if own for plan in sorted(own.plans or ())]
    bulk.insert_rows(EpisodePlan, ("title_pk", "item", "plan_code"), plans)


def _season_row(title_pk: int, season: SeasonRecord) -> dict:
    return {
        "id": new_id("sea"),
        "title_pk": title_pk,
        "number": season.number,
        "title": season.title,
        "synopsis": season.synopsis,
        "artwork": artwork_json(season.artwork) if season.artwork else None,
        "removed_at": None,
    }


def _episode_row(title_pk: int, season: SeasonRecord, episode: EpisodeRecord) -> dict:
    rights = own_rights(episode, season)
    return {
        "id": new_id("epi"),
        "title_pk": title_pk,
        "season": season.number,
        "number": episode.number,
        "title": episode.title,
        "synopsis": episode.synopsis,
        "runtime_s": episode.runtime_s,
        "released_on": episode.released_on,
        "markers": _encode_if_set(episode.markers),
        "artwork": artwork_json(episode.artwork) if episode.artwork else None,
        "media": _encode_if_set(episode.media),
        "variants": _encode_if_set(episode.variants),
        "drm_keys": _encode_if_set(episode.drm_keys),
        "removed_at": None,
        "rights": encode_rights(rights),
        "age_gate": rights.age_gate if rights else None,
        "windowed": rights is not None and rights.windows is not None,
        "plan_limited": rights is not None and rights.plans is not None,
        "localizations": _encode_if_set(episode.localizations),
        "detail": _encode_if_set(_detail(episode, season)),
    }


def _detail(episode: EpisodeRecord, season: SeasonRecord) -> dict:
    rating = episode.age_rating or season.age_rating
    members = {
        "tracks": tracks_view(episode.tracks),
        "external_ids": episode.external_ids,
        "age_rating": rating and rating_view(parse_age_rating(rating)),
    }
    return {name: value for name, value in members.items() if value}


def _upsert_rows(model: Any, rows: list[dict], key: Sequence[str], updated_columns: Sequence[str]) -> None:
    for chunk in bulk.in_chunks(rows):
        statement = insert(model).values(chunk)
        values = {name: statement.excluded[name] for name in updated_columns}
        db.session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def _encode_if_set(value: Any) -> str | None:
    return encode_json(value) if value else None
