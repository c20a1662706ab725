"""One title, its seasons and its episodes, as JSON assembled from stored fragments."""

from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.http.pagination import paginate_list
from streamsvc.models import Episode, Extra, Season, Title, TitleCard, TitleDetail
from streamsvc.operations.catalog.browse import similar
from streamsvc.operations.catalog.browse.parts import TitleParts, availability_view
from streamsvc.operations.catalog.reading import facts
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.shown_cards import shown_cards
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.titles.cards import complete_detail
from streamsvc.operations.catalog.titles.json_fragments import (
    encode_json,
    json_list,
    json_member,
    merge_json_objects,
    select_members,
)
from streamsvc.rules.catalog.inputs import EpisodesInput, LocaleInput, TitleInput
from streamsvc.rules.catalog.posters import draw_poster
from streamsvc.rules.inputs import ShortListInput
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import fetch_all, fetch_one

EXPANSIONS = {"seasons", "credits", "similar"}
TITLE_COLUMNS = (*facts.ACCESS_COLUMNS, Title.id)
NOT_REMOVED = Title.removed_at.is_(None)
TITLE_BY_ID = CompiledStatement(
    sa.select(
        *TITLE_COLUMNS,
        TitleCard.body.label("card"),
        TitleDetail.body.label("detail"),
        sa.exists().where(Extra.title_pk == Title.pk, Extra.removed_at.is_(None)).label("has_extras"),
    )
    .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
    .join(TitleDetail, TitleDetail.title_pk == Title.pk)
    .where(Title.id == sa.bindparam("id"), NOT_REMOVED)
)
TITLE_ACCESS_BY_ID = sa.select(*TITLE_COLUMNS).where(Title.id == sa.bindparam("id"), NOT_REMOVED)
UNSHOWN_COLUMNS = ("media", "variants", "drm_keys", "age_gate", "windowed", "plan_limited", "removed_at")
EPISODE_COLUMNS = [column for column in Episode.__table__.c if column.name not in UNSHOWN_COLUMNS]
SEASONS_OF_TITLE = (
    sa.select(Season.id, Season.number, Season.title, Season.synopsis, Season.artwork)
    .where(Season.title_pk == sa.bindparam("pk"), Season.removed_at.is_(None))
    .order_by(Season.number)
)
EPISODES_OF_TITLE = (
    sa.select(Episode)
    .with_only_columns(*EPISODE_COLUMNS)
    .where(Episode.title_pk == sa.bindparam("pk"), Episode.removed_at.is_(None))
    .order_by(Episode.season, Episode.number)
)
EPISODES_OF_SEASON = EPISODES_OF_TITLE.where(Episode.season == sa.bindparam("season"))
EPISODE_BY_ID = (
    sa.select(Episode)
    .with_only_columns(*EPISODE_COLUMNS)
    .where(Episode.id == sa.bindparam("id"), Episode.removed_at.is_(None))
)
TITLE_ACCESS_BY_PK = sa.select(*TITLE_COLUMNS).where(Title.pk == sa.bindparam("pk"), NOT_REMOVED)


def title_json(title_id: str, query: TitleInput, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """Return a title's card, details and availability. Raises Invalid, and NotFound if the profile's limits hide it."""
    expand = set(filter(None, query["expand"].split(",")))
    if expand - EXPANSIONS:
        raise Invalid(errors={"expand": [f"Must be a comma-separated list of {', '.join(sorted(EXPANSIONS))}."]})
    row, language = _require_row(TITLE_BY_ID.one(id=title_id)), query["locale"] or audience.language
    parts, availability = _open_title(row, audience)
    fragments = [encode_json(availability)]
    [card] = shown_cards([(row.pk, row.card)], audience, snapshot, query["locale"])
    selected = query["selected"]
    if row.has_extras and (selected is None or "extras" in selected):
        fragments.append(encode_json({"extras": parts.extra_views()}))
    if "seasons" in expand:
        fragments.append(encode_json({"seasons": _season_views(parts, language, with_episodes=True)}))
    if "similar" in expand:
        cards = similar.list_similar_cards(row.pk, audience)
        fragments.append(json_member("similar", json_list(shown_cards(cards, audience, snapshot, query["locale"]))))
    body = merge_json_objects(card, complete_detail(row.detail), *fragments)
    return body if selected is None else select_members(body, expand.union(selected))


def poster_svg(title_id: str, audience: Audience) -> str:
    """Return the drawn poster of a title. Raises NotFound if the profile's limits hide it."""
    row = _require_row(TITLE_BY_ID.one(id=title_id))
    _open_title(row, audience)
    card = msgspec.json.decode(row.card)
    return draw_poster(card["title"], str(card.get("year") or ""))


def seasons_json(title_id: str, query: ShortListInput, audience: Audience) -> str:
    """Return a page of a series' seasons. Raises NotFound."""
    row = _require_row(fetch_one(TITLE_ACCESS_BY_ID, {"id": title_id}))
    parts, _ = _open_title(row, audience)
    return encode_json(paginate_list(_season_views(parts, None), query, f"seasons:{row.id}", _season_position))


def episodes_json(title_id: str, query: EpisodesInput, audience: Audience) -> str:
    """Return a page of a series' episodes, or of one season's if the query names it. Raises NotFound."""
    row = _require_row(fetch_one(TITLE_ACCESS_BY_ID, {"id": title_id}))
    parts, _ = _open_title(row, audience)
    if query["season"] is None:
        rows = fetch_all(EPISODES_OF_TITLE, {"pk": row.pk})
    else:
        rows = fetch_all(EPISODES_OF_SEASON, {"pk": row.pk, "season": query["season"]})
    shown = [episode for episode, _ in parts.visible_episodes(rows)]
    page = paginate_list(shown, query, f"episodes:{row.id}:{query['season']}", _episode_position)
    page["items"] = parts.episode_views(page["items"], query["locale"] or audience.language)
    return encode_json(page)


def episode_json(episode_id: str, query: LocaleInput, audience: Audience) -> str:
    """Return an episode with its availability. Raises NotFound, also if the profile's limits hide it or its series."""
    episode = _require_row(fetch_one(EPISODE_BY_ID, {"id": episode_id}))
    row = _require_row(fetch_one(TITLE_ACCESS_BY_PK, {"pk": episode.title_pk}))
    parts, _ = _open_title(row, audience)
    views = parts.episode_views([episode], query["locale"] or audience.language)
    return encode_json(_require_row(next(iter(views), None)))


def _season_position(view: dict) -> list[int]:
    """Return the sort position of a season in its series."""
    return [0, view["number"]]


def _episode_position(row: Any) -> list[int]:
    """Return the sort position of an episode in its series."""
    return [row.season, row.number]


def _require_row(row: Any | None) -> Any:
    """Return the row. Raises NotFound if there is none."""
    if row is None:
        raise NotFound
    return row


def _open_title(row: Any, audience: Audience) -> tuple[TitleParts, dict]:
    """Return the parts of a title's row, and `{"availability": …}`. Raises NotFound if the profile's limits hide it."""
    parts = TitleParts(row, audience, clock.now())
    decision = parts.decide()
    if decision.hidden:
        raise NotFound
    return parts, {"availability": availability_view(decision)}


def _season_views(parts: TitleParts, language: str | None, with_episodes: bool = False) -> list[dict]:
    """Return a title's seasons in order, each with the number of episodes shown and, on request, the episodes.

    Without the seasons whose episodes are all hidden.
    """
    rows = fetch_all(EPISODES_OF_TITLE, {"pk": parts.pk})
    by_season: dict[int, list[Any]] = {episode.season: [] for episode in rows}
    for episode, _ in parts.visible_episodes(rows):
        by_season[episode.season].append(episode)
    views = []
    for season in fetch_all(SEASONS_OF_TITLE, {"pk": parts.pk}):
        episodes = by_season.get(season.number, [])
        if episodes or season.number not in by_season:
            view = _season_view(season, len(episodes))
            views.append(view | ({"episodes": parts.episode_views(episodes, language)} if with_episodes else {}))
    return views


def _season_view(season: sa.Row, episode_count: int) -> dict:
    return {
        "id": season.id,
        "number": season.number,
        "title": season.title,
        "synopsis": season.synopsis,
        "artwork": msgspec.Raw(season.artwork.encode()) if season.artwork else [],
        "episode_count": episode_count,
    }
