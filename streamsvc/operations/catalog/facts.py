"""One title or episode as the decision about access needs it: for details, for playback, for "why not?"."""

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from streamsvc.database import all_rows, one_row
from streamsvc.models import Episode, Title, TitleDetail, TitlePlan, TitleWindow
from streamsvc.operations.catalog.writing import EVERYWHERE
from streamsvc.rules.access import TitleFacts, Window


@dataclass(frozen=True)
class Item:
    """What can be played: a movie, a series (by one of its episodes) or an episode. `media` {"hls": url, …} or None."""

    id: str
    title_id: str
    title_pk: int
    kind: str
    facts: TitleFacts
    runtime_s: int | None
    media: dict[str, str] | None
    markers: dict[str, float]
    name: str


OF_TITLE = (Title.pk, Title.id, Title.kind, Title.title, Title.min_age, Title.windowed, Title.plan_limited)
TITLE = (
    sa.select(*OF_TITLE, Title.runtime_s, TitleDetail.media, TitleDetail.body)
    .join(TitleDetail, TitleDetail.title_pk == Title.pk)
    .where(Title.id == sa.bindparam("id"), Title.removed_at.is_(None))
)
EPISODE = (
    sa.select(*OF_TITLE, Episode.runtime_s, Episode.media, Episode.markers, Episode.title.label("episode_title"))
    .join(Episode, Episode.title_pk == Title.pk)
    .where(Episode.id == sa.bindparam("id"), Episode.removed_at.is_(None), Title.removed_at.is_(None))
)
WINDOWS = sa.select(TitleWindow.position, TitleWindow.country, TitleWindow.starts_at, TitleWindow.ends_at).where(
    TitleWindow.title_pk == sa.bindparam("pk")
)
PLANS = sa.select(TitlePlan.plan_code).where(TitlePlan.title_pk == sa.bindparam("pk"))


def item(item_id: str) -> Item | None:
    """The item under a title's or an episode's id; None where there is none."""
    if item_id.startswith("epi_"):
        row = one_row(EPISODE, {"id": item_id})
        return row and _item(item_id, "episode", row, row.markers, row.episode_title or row.title)
    row = one_row(TITLE, {"id": item_id})
    return row and _item(item_id, row.kind, row, None, row.title)


def _item(item_id, kind, row, markers, name):
    kept = msgspec.json.decode(markers) if markers else {}
    if kind != "episode":
        kept = msgspec.json.decode(row.body)["markers"]
    media = msgspec.json.decode(row.media) if row.media else None
    return Item(item_id, row.id, row.pk, kind, title_facts(row), row.runtime_s, media, kept, name)


def title_facts(row) -> TitleFacts:
    """The facts of a row with pk, min_age, windowed and plan_limited; most titles need no further query."""
    windows, plans = None, None
    if row.windowed:
        windows = windows_of(row.pk)
    if row.plan_limited:
        plans = frozenset(plan for (plan,) in all_rows(PLANS, {"pk": row.pk}))
    return TitleFacts(row.min_age, windows, plans)


def windows_of(title_pk: int) -> tuple[Window, ...]:
    by_position: dict[int, list] = {}
    for row in all_rows(WINDOWS, {"pk": title_pk}):
        by_position.setdefault(row.position, []).append(row)
    return tuple(
        Window(
            None if rows[0].country == EVERYWHERE else frozenset(row.country for row in rows),
            rows[0].starts_at,
            rows[0].ends_at,
        )
        for rows in by_position.values()
    )
