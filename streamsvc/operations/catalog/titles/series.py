"""Seasons and episodes of records. A row is known by its numbers, so it keeps its id; what is gone is marked so."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Episode, Season
from streamsvc.operations.catalog.titles import bulk
from streamsvc.operations.catalog.titles.cards import artwork_json
from streamsvc.operations.catalog.titles.json_fragments import dumped
from streamsvc.rules.catalog.record import Title as Record
from streamsvc.storage.database import db, insert, new_id

CHANGING = ("title", "synopsis", "runtime_s", "released_on", "markers", "artwork", "media", "removed_at")


def write(titles: list[tuple[int, Record]], now: datetime) -> None:
    """Make the seasons and episodes of these titles (pk, record) what their records say."""
    of_series = [pk for pk, record in titles if record.kind == "series"]
    if not of_series:
        return
    for model in (Episode, Season):
        for some in bulk.slices(of_series):
            gone = sa.update(model).where(model.title_pk.in_(some), model.removed_at.is_(None))
            db.session.execute(gone.values(removed_at=now))
    seasons = [
        {"id": new_id("sea"), "title_pk": pk, "number": season.number, "title": season.title, "removed_at": None}
        for pk, record in titles
        for season in record.seasons
    ]
    _put(Season, seasons, ("title_pk", "number"), ("title", "removed_at"))
    episodes = [
        _episode(pk, season.number, episode)
        for pk, record in titles
        for season in record.seasons
        for episode in season.episodes
    ]
    _put(Episode, episodes, ("title_pk", "season", "number"), CHANGING)


def _episode(title_pk, season, episode):
    return {
        "id": new_id("epi"),
        "title_pk": title_pk,
        "season": season,
        "number": episode.number,
        "title": episode.title,
        "synopsis": episode.synopsis,
        "runtime_s": episode.runtime_s,
        "released_on": episode.released_on,
        "markers": _json(episode.markers),
        "artwork": artwork_json(episode.artwork) if episode.artwork else None,
        "media": _json(episode.media),
        "removed_at": None,
    }


def _put(model, rows, key, changing):
    for some in bulk.slices(rows):
        statement = insert(model).values(some)
        values = {name: statement.excluded[name] for name in changing}
        db.session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def _json(value):
    return dumped(value) if value else None
