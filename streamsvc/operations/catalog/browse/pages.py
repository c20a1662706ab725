"""One title, its seasons and its episodes, as JSON from ready pieces."""

import msgspec
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.http.pagination import short_page
from streamsvc.models import Episode, Season, Title, TitleCard, TitleDetail
from streamsvc.operations.catalog.browse import similar
from streamsvc.operations.catalog.reading import facts, lists
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.version import Known
from streamsvc.operations.catalog.titles.json_fragments import dumped, joined, json_list, member
from streamsvc.rules.playback.access import verdict
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.compiled_statements import Prepared
from streamsvc.storage.database import all_rows, one_row, utc_text

EXPANSIONS = {"seasons", "credits", "similar"}
RIGHTS = (Title.pk, Title.id, Title.kind, Title.min_age, Title.windowed, Title.plan_limited)
THERE = Title.removed_at.is_(None)
TITLE = Prepared(
    sa.select(*RIGHTS, TitleCard.body.label("card"), TitleDetail.body.label("detail"))
    .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
    .join(TitleDetail, TitleDetail.title_pk == Title.pk)
    .where(Title.id == sa.bindparam("id"), THERE)
)
RIGHTS_ALONE = sa.select(*RIGHTS).where(Title.id == sa.bindparam("id"), THERE)
SEASONS = (
    sa.select(Season.id, Season.number, Season.title)
    .where(Season.title_pk == sa.bindparam("pk"), Season.removed_at.is_(None))
    .order_by(Season.number)
)
EPISODES = (
    sa.select(Episode)
    .with_only_columns(*(column for column in Episode.__table__.c if column.name != "media"))
    .where(Episode.title_pk == sa.bindparam("pk"), Episode.removed_at.is_(None))
    .order_by(Episode.season, Episode.number)
)
EPISODES_OF_SEASON = EPISODES.where(Episode.season == sa.bindparam("season"))
EPISODE = (
    sa.select(
        *RIGHTS, *(column.label(f"episode_{column.name}") for column in Episode.__table__.c if column.name != "media")
    )
    .join(Title, Title.pk == Episode.title_pk)
    .where(Episode.id == sa.bindparam("id"), Episode.removed_at.is_(None), THERE)
)


def title(title_id: str, asked: dict, audience: Audience, known: Known) -> str:
    """A title's card with credits, tracks and what the viewer may do. Raises NotFound where maturity hides it."""
    expand = set(filter(None, asked["expand"].split(",")))
    if expand - EXPANSIONS:
        raise Invalid(errors={"expand": [f"Give any of {', '.join(sorted(EXPANSIONS))}, by commas."]})
    row = TITLE.one(id=title_id)
    pieces = [_availability(row, audience)]
    [card] = lists.told([(row.pk, row.card)], asked["locale"] or audience.language, known)
    if "seasons" in expand:
        pieces.append(dumped({"seasons": _seasons(row, with_episodes=True)}))
    if "similar" in expand:
        cards = similar.to_title(row.pk, audience)
        pieces.append(member("similar", json_list(lists.told(cards, asked["locale"] or audience.language, known))))
    return joined(card, row.detail, *pieces)


def seasons(title_id: str, asked: dict, audience: Audience) -> str:
    """A page of a series' seasons. Raises NotFound."""
    row = one_row(RIGHTS_ALONE, {"id": title_id})
    _availability(row, audience)
    return dumped(short_page(_seasons(row), asked, f"seasons:{row.id}", _place))


def episodes(title_id: str, asked: dict, audience: Audience) -> str:
    """A page of episodes, of one season where it is given. Raises NotFound."""
    row = one_row(RIGHTS_ALONE, {"id": title_id})
    _availability(row, audience)
    if asked["season"] is None:
        found = all_rows(EPISODES, {"pk": row.pk})
    else:
        found = all_rows(EPISODES_OF_SEASON, {"pk": row.pk, "season": asked["season"]})
    told = [_episode(row.id, dict(e._mapping)) for e in found]
    return dumped(short_page(told, asked, f"episodes:{row.id}:{asked['season']}", _place))


def episode(episode_id: str, audience: Audience) -> str:
    """One episode with what the viewer may do. Raises NotFound."""
    row = one_row(EPISODE, {"id": episode_id})
    told = _availability(row, audience)
    columns = {name.removeprefix("episode_"): v for name, v in row._mapping.items() if name.startswith("episode_")}
    return joined(dumped(_episode(row.id, columns)), told)


def _place(told):
    """Where a season or an episode stands in its series."""
    return [told.get("season", 0), told["number"]]


def _availability(row, audience):
    """`{"availability": …}` for a title's row. Raises NotFound where there is no row or maturity hides it."""
    found = row and verdict(facts.title_facts(row), audience.facts, clock.now())
    if found is None or found.hidden:
        raise NotFound
    return dumped(
        {
            "availability": {
                "playable": found.playable,
                "reason": found.reason,
                "starts_at": utc_text(found.starts_at),
                "ends_at": utc_text(found.ends_at),
            }
        }
    )


def _seasons(row, with_episodes=False):
    by_season: dict[int, list[dict]] = {}
    for found in all_rows(EPISODES, {"pk": row.pk}):
        by_season.setdefault(found.season, []).append(_episode(row.id, dict(found._mapping)))
    told = []
    for season in all_rows(SEASONS, {"pk": row.pk}):
        theirs = by_season.get(season.number, [])
        one = {"id": season.id, "number": season.number, "title": season.title, "episode_count": len(theirs)}
        told.append(one | ({"episodes": theirs} if with_episodes else {}))
    return told


def _episode(title_id, columns):
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
