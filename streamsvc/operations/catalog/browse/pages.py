"""One title, its seasons and its episodes, as JSON assembled from stored fragments."""

from datetime import date
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.http.pagination import paginate_list
from streamsvc.models import Episode, Season, Title, TitleCard, TitleDetail
from streamsvc.operations.catalog.browse import similar
from streamsvc.operations.catalog.reading import facts
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.shown_cards import shown_cards
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.titles.cards import complete_detail
from streamsvc.operations.catalog.titles.json_fragments import encode_json, json_list, json_member, merge_json_objects
from streamsvc.rules.catalog.inputs import EpisodesInput, TitleInput
from streamsvc.rules.inputs import ShortListInput
from streamsvc.rules.playback.access import decide_access
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import fetch_all, fetch_one, format_utc

EXPANSIONS = {"seasons", "credits", "similar"}
TITLE_COLUMNS = (*facts.ACCESS_COLUMNS, Title.id, Title.kind)
NOT_REMOVED = Title.removed_at.is_(None)
TITLE_BY_ID = CompiledStatement(
    sa.select(*TITLE_COLUMNS, TitleCard.body.label("card"), TitleDetail.body.label("detail"))
    .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
    .join(TitleDetail, TitleDetail.title_pk == Title.pk)
    .where(Title.id == sa.bindparam("id"), NOT_REMOVED)
)
TITLE_ACCESS_BY_ID = sa.select(*TITLE_COLUMNS).where(Title.id == sa.bindparam("id"), NOT_REMOVED)
EPISODE_COLUMNS = [column for column in Episode.__table__.c if column.name not in ("media", "variants", "drm_keys")]
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
    sa.select(
        *TITLE_COLUMNS,
        *(column.label(f"episode_{column.name}") for column in EPISODE_COLUMNS),
    )
    .join(Title, Title.pk == Episode.title_pk)
    .where(Episode.id == sa.bindparam("id"), Episode.removed_at.is_(None), NOT_REMOVED)
)


def title_json(title_id: str, query: TitleInput, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """Return a title's card, details and availability. Raises Invalid, and NotFound if the profile's limits hide it."""
    expand = set(filter(None, query["expand"].split(",")))
    if expand - EXPANSIONS:
        raise Invalid(errors={"expand": [f"Must be a comma-separated list of {', '.join(sorted(EXPANSIONS))}."]})
    row = _require_row(TITLE_BY_ID.one(id=title_id))
    fragments = [_availability_json(row, audience)]
    [card] = shown_cards([(row.pk, row.card)], audience, snapshot, query["locale"])
    if "seasons" in expand:
        fragments.append(encode_json({"seasons": _season_views(row, with_episodes=True)}))
    if "similar" in expand:
        cards = similar.list_similar_cards(row.pk, audience)
        fragments.append(json_member("similar", json_list(shown_cards(cards, audience, snapshot, query["locale"]))))
    return merge_json_objects(card, complete_detail(row.detail), *fragments)


def seasons_json(title_id: str, query: ShortListInput, audience: Audience) -> str:
    """Return a page of a series' seasons. Raises NotFound."""
    row = _require_row(fetch_one(TITLE_ACCESS_BY_ID, {"id": title_id}))
    _availability_json(row, audience)
    return encode_json(paginate_list(_season_views(row), query, f"seasons:{row.id}", _series_position))


def episodes_json(title_id: str, query: EpisodesInput, audience: Audience) -> str:
    """Return a page of a series' episodes, or of one season's if the query names it. Raises NotFound."""
    row = _require_row(fetch_one(TITLE_ACCESS_BY_ID, {"id": title_id}))
    _availability_json(row, audience)
    if query["season"] is None:
        rows = fetch_all(EPISODES_OF_TITLE, {"pk": row.pk})
    else:
        rows = fetch_all(EPISODES_OF_SEASON, {"pk": row.pk, "season": query["season"]})
    episodes = [_episode_view(row.id, dict(episode._mapping)) for episode in rows]
    return encode_json(paginate_list(episodes, query, f"episodes:{row.id}:{query['season']}", _series_position))


def episode_json(episode_id: str, audience: Audience) -> str:
    """Return an episode with its availability. Raises NotFound."""
    row = _require_row(fetch_one(EPISODE_BY_ID, {"id": episode_id}))
    availability = _availability_json(row, audience, row.episode_released_on)
    columns = {
        name.removeprefix("episode_"): value for name, value in row._mapping.items() if name.startswith("episode_")
    }
    return merge_json_objects(encode_json(_episode_view(row.id, columns)), availability)


def _series_position(view: dict) -> list[int]:
    """Return the sort position of a season or an episode in its series."""
    return [view.get("season", 0), view["number"]]


def _require_row(row: Any | None) -> Any:
    """Return the row. Raises NotFound if there is none."""
    if row is None:
        raise NotFound
    return row


def _availability_json(row: Any, audience: Audience, released_on: date | None = None) -> str:
    """Return `{"availability": …}` for a title's row, or for its episode that was or will be released on a day.

    Raises NotFound if the profile's limits hide it.
    """
    title = facts.load_title_facts(row, row.id, released_on, audience.facts.title_rules is not None)
    decision = decide_access(title, audience.facts, clock.now())
    if decision.hidden:
        raise NotFound
    return encode_json(
        {
            "availability": {
                "playable": decision.playable,
                "reason": decision.reason,
                "starts_at": format_utc(decision.starts_at),
                "ends_at": format_utc(decision.ends_at),
            }
        }
    )


def _season_views(row: Any, with_episodes: bool = False) -> list[dict]:
    """Return a title's seasons in order, each with its episode count and, on request, its episodes."""
    by_season: dict[int, list[dict]] = {}
    for episode in fetch_all(EPISODES_OF_TITLE, {"pk": row.pk}):
        by_season.setdefault(episode.season, []).append(_episode_view(row.id, dict(episode._mapping)))
    views = []
    for season in fetch_all(SEASONS_OF_TITLE, {"pk": row.pk}):
        episodes = by_season.get(season.number, [])
        views.append(_season_view(season, len(episodes)) | ({"episodes": episodes} if with_episodes else {}))
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


def _episode_view(title_id: str, columns: dict[str, Any]) -> dict:
    def stored_json(name: str, default: Any) -> Any:
        return msgspec.Raw(columns[name].encode()) if columns[name] else default

    return {
        "id": columns["id"],
        "title_id": title_id,
        "season": columns["season"],
        "number": columns["number"],
        "title": columns["title"],
        "synopsis": columns["synopsis"],
        "runtime_s": columns["runtime_s"],
        "released_on": columns["released_on"],
        "markers": stored_json("markers", {}),
        "artwork": stored_json("artwork", []),
    }
