"""One title, its seasons and its episodes, as JSON from ready pieces."""

import msgspec
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.http.pagination import paginate_list
from streamsvc.models import Episode, Season, Title, TitleCard, TitleDetail
from streamsvc.operations.catalog.browse import similar
from streamsvc.operations.catalog.reading import facts, lists
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.titles.json_fragments import encode_json, json_list, json_member, merge_json_objects
from streamsvc.rules.playback.access import decide_access
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import fetch_all, fetch_one, format_utc

EXPANSIONS = {"seasons", "credits", "similar"}
ACCESS_COLUMNS = (Title.pk, Title.id, Title.kind, Title.min_age, Title.windowed, Title.plan_limited)
NOT_REMOVED = Title.removed_at.is_(None)
TITLE_BY_ID = CompiledStatement(
    sa.select(*ACCESS_COLUMNS, TitleCard.body.label("card"), TitleDetail.body.label("detail"))
    .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
    .join(TitleDetail, TitleDetail.title_pk == Title.pk)
    .where(Title.id == sa.bindparam("id"), NOT_REMOVED)
)
TITLE_ACCESS_BY_ID = sa.select(*ACCESS_COLUMNS).where(Title.id == sa.bindparam("id"), NOT_REMOVED)
SEASONS_OF_TITLE = (
    sa.select(Season.id, Season.number, Season.title)
    .where(Season.title_pk == sa.bindparam("pk"), Season.removed_at.is_(None))
    .order_by(Season.number)
)
EPISODES_OF_TITLE = (
    sa.select(Episode)
    .with_only_columns(*(column for column in Episode.__table__.c if column.name != "media"))
    .where(Episode.title_pk == sa.bindparam("pk"), Episode.removed_at.is_(None))
    .order_by(Episode.season, Episode.number)
)
EPISODES_OF_SEASON = EPISODES_OF_TITLE.where(Episode.season == sa.bindparam("season"))
EPISODE_BY_ID = (
    sa.select(
        *ACCESS_COLUMNS,
        *(column.label(f"episode_{column.name}") for column in Episode.__table__.c if column.name != "media"),
    )
    .join(Title, Title.pk == Episode.title_pk)
    .where(Episode.id == sa.bindparam("id"), Episode.removed_at.is_(None), NOT_REMOVED)
)


def title_json(title_id: str, query: dict, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """A title's card with credits, tracks and what the viewer may do. Raises NotFound where maturity hides it."""
    expand = set(filter(None, query["expand"].split(",")))
    if expand - EXPANSIONS:
        raise Invalid(errors={"expand": [f"Give any of {', '.join(sorted(EXPANSIONS))}, by commas."]})
    row = TITLE_BY_ID.one(id=title_id)
    pieces = [_availability_json(row, audience)]
    [card] = lists.localized_cards([(row.pk, row.card)], query["locale"] or audience.language, snapshot)
    if "seasons" in expand:
        pieces.append(encode_json({"seasons": _season_views(row, with_episodes=True)}))
    if "similar" in expand:
        cards = similar.list_similar_cards(row.pk, audience)
        pieces.append(
            json_member(
                "similar", json_list(lists.localized_cards(cards, query["locale"] or audience.language, snapshot))
            )
        )
    return merge_json_objects(card, row.detail, *pieces)


def seasons_json(title_id: str, query: dict, audience: Audience) -> str:
    """A page of a series' seasons. Raises NotFound."""
    row = fetch_one(TITLE_ACCESS_BY_ID, {"id": title_id})
    _availability_json(row, audience)
    return encode_json(paginate_list(_season_views(row), query, f"seasons:{row.id}", _series_position))


def episodes_json(title_id: str, query: dict, audience: Audience) -> str:
    """A page of episodes, of one season where it is given. Raises NotFound."""
    row = fetch_one(TITLE_ACCESS_BY_ID, {"id": title_id})
    _availability_json(row, audience)
    if query["season"] is None:
        found = fetch_all(EPISODES_OF_TITLE, {"pk": row.pk})
    else:
        found = fetch_all(EPISODES_OF_SEASON, {"pk": row.pk, "season": query["season"]})
    told = [_episode_view(row.id, dict(e._mapping)) for e in found]
    return encode_json(paginate_list(told, query, f"episodes:{row.id}:{query['season']}", _series_position))


def episode_json(episode_id: str, audience: Audience) -> str:
    """One episode with what the viewer may do. Raises NotFound."""
    row = fetch_one(EPISODE_BY_ID, {"id": episode_id})
    told = _availability_json(row, audience)
    columns = {name.removeprefix("episode_"): v for name, v in row._mapping.items() if name.startswith("episode_")}
    return merge_json_objects(encode_json(_episode_view(row.id, columns)), told)


def _series_position(view):
    """Where a season or an episode stands in its series."""
    return [view.get("season", 0), view["number"]]


def _availability_json(row, audience):
    """`{"availability": …}` for a title's row. Raises NotFound where there is no row or maturity hides it."""
    found = row and decide_access(facts.load_title_facts(row), audience.facts, clock.now())
    if found is None or found.hidden:
        raise NotFound
    return encode_json(
        {
            "availability": {
                "playable": found.playable,
                "reason": found.reason,
                "starts_at": format_utc(found.starts_at),
                "ends_at": format_utc(found.ends_at),
            }
        }
    )


def _season_views(row, with_episodes=False):
    by_season: dict[int, list[dict]] = {}
    for found in fetch_all(EPISODES_OF_TITLE, {"pk": row.pk}):
        by_season.setdefault(found.season, []).append(_episode_view(row.id, dict(found._mapping)))
    told = []
    for season in fetch_all(SEASONS_OF_TITLE, {"pk": row.pk}):
        theirs = by_season.get(season.number, [])
        one = {"id": season.id, "number": season.number, "title": season.title, "episode_count": len(theirs)}
        told.append(one | ({"episodes": theirs} if with_episodes else {}))
    return told


def _episode_view(title_id, columns):
    def ready(name, otherwise):
        return msgspec.Raw(columns[name].encode()) if columns[name] else otherwise

    return {
        "id": columns["id"],
        "title_id": title_id,
        "season": columns["season"],
        "number": columns["number"],
        "title": columns["title"],
        "synopsis": columns["synopsis"],
        "runtime_s": columns["runtime_s"],
        "released_on": columns["released_on"],
        "markers": ready("markers", {}),
        "artwork": ready("artwork", []),
    }
