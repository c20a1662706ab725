"""Loads the facts about a title that access decisions need, for details, playback and explanations."""

from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.models import Facet, TitleFacet, TitlePlan, TitleWindow
from streamsvc.models.catalog.visibility import EVERYWHERE
from streamsvc.rules.playback.access import TitleFacts, Window
from streamsvc.rules.playback.part_rights import NO_RIGHTS, PartRights
from streamsvc.storage.database import fetch_all

WINDOWS_OF_TITLE = sa.select(
    TitleWindow.position, TitleWindow.country, TitleWindow.starts_at, TitleWindow.ends_at
).where(TitleWindow.title_pk == sa.bindparam("pk"))
GENRES_OF_TITLE = (
    sa.select(Facet.code)
    .join(TitleFacet, TitleFacet.facet_pk == Facet.pk)
    .where(TitleFacet.title_pk == sa.bindparam("pk"), Facet.kind == "genre")
)
PLANS_OF_TITLE = sa.select(TitlePlan.plan_code).where(TitlePlan.title_pk == sa.bindparam("pk"))


def load_title_facts(row: Any, title_id: str, with_genres: bool = False) -> TitleFacts:
    """Return the facts of a row with `pk`, `min_age`, `windowed` and `plan_limited`.

    Queries windows and plans only if the title has any; most titles need no further query. `with_genres`: for a viewer
    with title rules.
    """
    windows, plans = None, None
    if row.windowed:
        windows = list_title_windows(row.pk)
    if row.plan_limited:
        plans = frozenset(plan for (plan,) in fetch_all(PLANS_OF_TITLE, {"pk": row.pk}))
    genres = list_title_genres(row.pk) if with_genres else frozenset()
    return TitleFacts(row.min_age, windows, plans, None, title_id, genres)


_rights_decoder = msgspec.json.Decoder(PartRights)


def decode_rights(text: str | None) -> PartRights:
    """Return the stored rights of an episode or an extra; a film has none of its own."""
    return _rights_decoder.decode(text) if text else NO_RIGHTS


def list_title_genres(title_pk: int) -> frozenset[str]:
    """Return the codes of a title's genres."""
    return frozenset(code for (code,) in fetch_all(GENRES_OF_TITLE, {"pk": title_pk}))


def list_title_windows(title_pk: int) -> tuple[Window, ...]:
    """Return a title's licence windows, each with all its countries."""
    by_position: dict[int, list] = {}
    for row in fetch_all(WINDOWS_OF_TITLE, {"pk": title_pk}):
        by_position.setdefault(row.position, []).append(row)
    return tuple(
        Window(
            None if rows[0].country == EVERYWHERE else frozenset(row.country for row in rows),
            rows[0].starts_at,
            rows[0].ends_at,
        )
        for rows in by_position.values()
    )
