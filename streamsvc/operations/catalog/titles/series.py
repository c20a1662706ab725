"""Writes the seasons and episodes of records.

Rows are identified by their numbers, so they keep their ids; those that disappear are marked as removed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Episode, Season
from streamsvc.operations.catalog.titles import bulk
from streamsvc.operations.catalog.titles.cards import artwork_json
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.rules.catalog.record import CatalogRecord
from streamsvc.rules.catalog.record import Episode as EpisodeRecord
from streamsvc.rules.catalog.record import Season as SeasonRecord
from streamsvc.storage.database import db, insert, new_id

UPDATED_EPISODE_COLUMNS = (
    "title", "synopsis", "runtime_s", "released_on", "markers", "artwork", "media", "variants", "drm_keys",
    "removed_at",
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
        _episode_row(pk, season.number, episode)
        for pk, record in titles
        for season in record.seasons
        for episode in season.episodes
    ]
    _upsert_rows(Episode, episodes, ("title_pk", "season", "number"), UPDATED_EPISODE_COLUMNS)


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


def _episode_row(title_pk: int, season: int, episode: EpisodeRecord) -> dict:
    return {
        "id": new_id("epi"),
        "title_pk": title_pk,
        "season": season,
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
    }


def _upsert_rows(model: Any, rows: list[dict], key: Sequence[str], updated_columns: Sequence[str]) -> None:
    for chunk in bulk.in_chunks(rows):
        statement = insert(model).values(chunk)
        values = {name: statement.excluded[name] for name in updated_columns}
        db.session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def _encode_if_set(value: Any) -> str | None:
    return encode_json(value) if value else None
