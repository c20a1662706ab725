"""Seasons and episodes of records. A row is known by its numbers, so it keeps its id; what is gone is marked so."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Episode, Season
from streamsvc.operations.catalog.titles import bulk
from streamsvc.operations.catalog.titles.cards import artwork_json
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.rules.catalog.record import CatalogRecord as Record
from streamsvc.storage.database import db, insert, new_id

UPDATED_EPISODE_COLUMNS = ("title", "synopsis", "runtime_s", "released_on", "markers", "artwork", "media", "removed_at")


def write_series(titles: list[tuple[int, Record]], now: datetime) -> None:
    """Make the seasons and episodes of these titles (pk, record) what their records say."""
    of_series = [pk for pk, record in titles if record.kind == "series"]
    if not of_series:
        return
    for model in (Episode, Season):
        for some in bulk.in_chunks(of_series):
            gone = sa.update(model).where(model.title_pk.in_(some), model.removed_at.is_(None))
            db.session.execute(gone.values(removed_at=now))
    seasons = [
        {"id": new_id("sea"), "title_pk": pk, "number": season.number, "title": season.title, "removed_at": None}
        for pk, record in titles
        for season in record.seasons
    ]
    _upsert_rows(Season, seasons, ("title_pk", "number"), ("title", "removed_at"))
    episodes = [
        _episode_row(pk, season.number, episode)
        for pk, record in titles
        for season in record.seasons
        for episode in season.episodes
    ]
    _upsert_rows(Episode, episodes, ("title_pk", "season", "number"), UPDATED_EPISODE_COLUMNS)


def _episode_row(title_pk, season, episode):
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
        "removed_at": None,
    }


def _upsert_rows(model, rows, key, changing):
    for some in bulk.in_chunks(rows):
        statement = insert(model).values(some)
        values = {name: statement.excluded[name] for name in changing}
        db.session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def _encode_if_set(value):
    return encode_json(value) if value else None
