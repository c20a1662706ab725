"""A viewer's own rows: continue watching, next up, history, watchlist. Each is a page of one index, newest first.

What a profile may not see is in none of them, by the same condition as in the catalogue's lists. History alone also
tells of what is no longer licensed: that it was watched stays true.
"""

from datetime import datetime

import msgspec
import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Episode, Progress, Title, TitleCard, Watchlisted
from streamsvc.models.catalog.visibility import VISIBLE
from streamsvc.operations.catalog.reading import lists, version
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.playback.reports import stands
from streamsvc.rules.playback.progress import BEGUN_S, BEGUN_SHARE, FORGOTTEN_AFTER
from streamsvc.storage.database import UtcTime, all_rows, one_row

PROFILE_ID = sa.bindparam("profile_id")
LIMIT = sa.bindparam("limit")
AFTER_AT, AFTER_ID = sa.bindparam("after_at", type_=UtcTime), sa.bindparam("after_id", type_=sa.String)
SINCE = sa.bindparam("since", type_=UtcTime)
EPISODE = (
    Episode.id.label("episode_id"),
    Episode.season.label("episode_season"),
    Episode.number.label("episode_number"),
    Episode.title.label("episode_title"),
    Episode.runtime_s.label("episode_runtime_s"),
)
COUNT = "count"
PROGRESS = tuple(column for column in Progress.__table__.c if column.name not in ("season", "episode"))


def finished(of):
    """rules/playback/progress.py:is_finished, in SQL."""
    return sa.and_(of.watched_at.is_not(None), sa.or_(of.restarted_at.is_(None), of.restarted_at <= of.watched_at))


def begun(of):
    """rules/playback/progress.py:is_begun, in SQL."""
    return sa.or_(of.position_s >= BEGUN_S, of.position_s >= of.duration_s * BEGUN_SHARE)


def goes_on(of):
    return sa.and_(begun(of), sa.not_(finished(of)), sa.or_(of.hidden_at.is_(None), of.hidden_at < of.at))


def _page(select, at, id_):
    """The select, newest first, after the place of a cursor, if there is one; under COUNT how long the list is."""
    here, there = sa.tuple_(at, id_), sa.tuple_(AFTER_AT, AFTER_ID)
    ordered = select.order_by(at.desc(), id_.desc()).limit(LIMIT)
    count = sa.select(sa.func.count()).select_from(select.with_only_columns(at).subquery())
    return {False: ordered, True: ordered.where(here < there), COUNT: count}


_own_card = sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == "")
_newer = sa.orm.aliased(Progress)
_watched = sa.orm.aliased(Progress)
_begun = sa.orm.aliased(Progress)

_PROGRESSED = (
    sa.select(
        Title.pk,
        TitleCard.body,
        *PROGRESS,
        *EPISODE,
        Progress.at.label("sorted_at"),
        Progress.item_id.label("sorted_id"),
    )
    .join(Title, Title.id == Progress.title_id)
    .join(TitleCard, _own_card)
    .outerjoin(Episode, sa.and_(Episode.id == Progress.item_id, Episode.removed_at.is_(None)))
    .where(Progress.profile_id == PROFILE_ID)
)
CONTINUE = _page(
    _PROGRESSED.where(
        VISIBLE,
        goes_on(Progress),
        Progress.at > SINCE,
        sa.or_(Progress.season.is_(None), Episode.id.is_not(None)),
        sa.not_(
            sa.exists().where(
                _newer.profile_id == PROFILE_ID,
                _newer.title_id == Progress.title_id,
                sa.tuple_(_newer.at, _newer.item_id) > sa.tuple_(Progress.at, Progress.item_id),
                goes_on(_newer),
            )
        ),
    ),
    Progress.at,
    Progress.item_id,
)
"""What was begun and is not finished; of a series the episode that was on last."""
HISTORY = _page(
    _PROGRESSED.where(Title.removed_at.is_(None), Title.age_gate <= sa.bindparam("max_age", type_=sa.Integer)),
    Progress.at,
    Progress.item_id,
)


def _next_up():
    """The first unwatched episode behind the one watched last, of every series; specials come in no order."""
    of_title = {"partition_by": Progress.title_id}
    latest_first = [Progress.watched_at.desc(), Progress.season.desc(), Progress.episode.desc()]
    watched = (
        sa.select(
            Progress.title_id,
            Progress.season,
            Progress.episode,
            Progress.watched_at,
            sa.func.row_number().over(order_by=latest_first, **of_title).label("place"),
        )
        .where(Progress.profile_id == PROFILE_ID, Progress.watched_at.is_not(None), Progress.season > 0)
        .subquery()
    )
    in_order = [Episode.season, Episode.number]
    behind = (
        sa.select(
            Title.pk,
            *EPISODE,
            watched.c.title_id,
            watched.c.watched_at,
            sa.func.row_number().over(partition_by=Title.pk, order_by=in_order).label("place"),
        )
        .join(Title, Title.id == watched.c.title_id)
        .join(Episode, Episode.title_pk == Title.pk)
        .where(
            watched.c.place == 1,
            watched.c.watched_at > SINCE,
            VISIBLE,
            sa.tuple_(*in_order) > sa.tuple_(watched.c.season, watched.c.episode),
            Episode.removed_at.is_(None),
            sa.or_(Episode.released_on.is_(None), Episode.released_on <= sa.bindparam("today", type_=sa.Date)),
            sa.not_(
                sa.exists().where(
                    _watched.profile_id == PROFILE_ID,
                    _watched.item_id == Episode.id,
                    _watched.watched_at.is_not(None),
                )
            ),
            sa.not_(
                sa.exists().where(
                    _begun.profile_id == PROFILE_ID, _begun.title_id == watched.c.title_id, goes_on(_begun)
                )
            ),
        )
        .subquery()
    )
    columns = [column for column in behind.c if column.name != "place"]
    sorted_by = (behind.c.watched_at.label("sorted_at"), behind.c.title_id.label("sorted_id"))
    first = (
        sa.select(behind.c.pk, TitleCard.body, *columns[1:], *sorted_by)
        .join(TitleCard, sa.and_(TitleCard.title_pk == behind.c.pk, TitleCard.locale == ""))
        .where(behind.c.place == 1)
    )
    return _page(first, behind.c.watched_at, behind.c.title_id)


NEXT_UP = _next_up()
WATCHLIST = _page(
    sa.select(
        Title.pk,
        TitleCard.body,
        Watchlisted.added_at,
        Watchlisted.added_at.label("sorted_at"),
        Watchlisted.title_id.label("sorted_id"),
    )
    .join(Title, Title.id == Watchlisted.title_id)
    .join(TitleCard, _own_card)
    .where(Watchlisted.profile_id == PROFILE_ID, VISIBLE),
    Watchlisted.added_at,
    Watchlisted.title_id,
)


def page(select: dict, name: str, profile_id: str, audience: Audience, asked: dict, now: datetime, tell) -> bytes:
    """A page of one of the statements above as JSON; `tell(row, card)` gives an item."""
    scope = f"{name}:{profile_id}"
    after = pagination.decode(scope, asked["cursor"])
    at, id_ = (datetime.fromisoformat(after[0]), after[1]) if after else (None, None)
    parameters = audience.parameters() | {
        "profile_id": profile_id,
        "since": now - FORGOTTEN_AFTER,
        "today": now.date(),
        "limit": asked["limit"] + 1,
        "after_at": at,
        "after_id": id_,
    }
    found = all_rows(select[after is not None], parameters)
    shown = pagination.page(found, asked["limit"], scope, lambda one: [one.sorted_at.isoformat(), one.sorted_id])
    cards = lists.told(shown["items"], audience.language, version.known(version.moment()[0]))
    shown["items"] = [tell(one, msgspec.Raw(card.encode())) for one, card in zip(shown["items"], cards, strict=True)]
    if asked.get("include_total"):
        shown["total"] = one_row(select[COUNT], parameters)[0]
    return msgspec.json.encode(shown)


def watched_item(one: sa.Row, card) -> dict:
    """An item of continue watching and of history."""
    return {"item_id": one.item_id, "title": card, "episode": _episode(one), "progress": stands(one)}


def next_item(one: sa.Row, card) -> dict:
    return {"item_id": one.episode_id, "title": card, "episode": _episode(one), "progress": None}


def wanted_item(one: sa.Row, card) -> dict:
    return {"item_id": one.sorted_id, "title": card, "added_at": one.added_at}


def _episode(one) -> dict | None:
    if one.episode_id is None:
        return None
    return {
        "id": one.episode_id,
        "season": one.episode_season,
        "number": one.episode_number,
        "title": one.episode_title,
        "runtime_s": one.episode_runtime_s,
    }
