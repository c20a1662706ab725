"""Channels and programmes that match a search: which of them the caller may see, by the decision of their lists."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from streamsvc.models import Programme, ProgrammeEntry
from streamsvc.operations.catalog.channels import reading
from streamsvc.operations.catalog.channels.reading import ListedChannel
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.titles import bulk
from streamsvc.rules.catalog.channels import matches
from streamsvc.rules.catalog.inputs import TitleFiltersInput
from streamsvc.rules.catalog.programmes import MAX_DURATION, decode_programme, strictest_age
from streamsvc.rules.catalog.ranks import decode_pk, programme_rank
from streamsvc.rules.playback.access import is_age_allowed
from streamsvc.storage.database import UtcTime, fetch_all

FILTERS_OF_TITLES = (
    "kind", "audio", "subtitle", "height_gte", "person", "collection", "tag", "studio", "year_gte", "year_lte",
    "runtime_lte",
)  # fmt: skip
"""Filters that no channel and no programme passes."""
_NOW = sa.bindparam("now", type_=UtcTime)
_earlier, _its_programme = sa.orm.aliased(ProgrammeEntry), sa.orm.aliased(Programme)
_IS_REPEAT = sa.exists().where(
    _earlier.repeat_key == ProgrammeEntry.repeat_key,
    _earlier.rank > ProgrammeEntry.rank,
    _earlier.rank < sa.bindparam("first", type_=sa.BigInteger),
    _its_programme.channel_pk == _earlier.channel_pk,
    _its_programme.starts_at == _earlier.starts_at,
    _its_programme.ends_at > _NOW,
)
NEXT_BROADCASTS = (
    sa.select(ProgrammeEntry.rank, *Programme.__table__.c)
    .join(
        Programme,
        sa.and_(
            Programme.channel_pk == ProgrammeEntry.channel_pk,
            Programme.starts_at == ProgrammeEntry.starts_at,
            Programme.ends_at > _NOW,
        ),
    )
    .where(sa.not_(_IS_REPEAT))
)
"""Programmes that are on or to come, each the next time that it is broadcast."""


class FoundProgramme(NamedTuple):
    """A programme and its channel."""

    pk: int
    channel: ListedChannel
    programme: Any


def programme_ranks(now: datetime) -> tuple[int, int]:
    """Return the range of the ranks of programmes that are not over: the lowest, and the first one above."""
    return 0, programme_rank(0, now - MAX_DURATION)


def load_channels(
    ranks: Sequence[int], query: TitleFiltersInput, audience: Audience, now: datetime
) -> dict[int, ListedChannel]:
    """Return the channels that pass the filters and that the audience may see, by rank."""
    ranks_by_pk = {decode_pk(rank): rank for rank in ranks}
    return {
        ranks_by_pk[pk]: channel
        for pk, channel in reading.list_channels_by_key(ranks_by_pk, audience, now).items()
        if _passes(query, channel, channel.record.genres, channel.facts.min_age)
    }


def load_programmes(
    ranks: Sequence[int], query: TitleFiltersInput, audience: Audience, now: datetime
) -> dict[int, FoundProgramme]:
    """Return the programmes on now or to come that pass the filters and that the audience may see, by rank."""
    parameters = {"now": now, "first": programme_ranks(now)[1]}
    rows = [
        row
        for chunk in bulk.in_chunks(list(ranks))
        for row in fetch_all(NEXT_BROADCASTS.where(ProgrammeEntry.rank.in_(chunk)), parameters)
    ]
    channels = reading.list_channels_by_key({row.channel_pk for row in rows}, audience, now)
    shown = reading.list_shown_programmes(channels, rows, audience)
    return {
        row.rank: FoundProgramme(row.channel_pk, channels[row.channel_pk], row)
        for row in shown
        if _passes(
            query,
            channels[row.channel_pk],
            decode_programme(row.body).genres,
            strictest_age(channels[row.channel_pk].facts.min_age, row.min_age),
        )
    }


def _passes(query: TitleFiltersInput, channel: ListedChannel, genres: Sequence[str], min_age: int | None) -> bool:
    """Whether a channel, or a programme with its own genres and age, passes a search's filters."""
    members: dict[str, Any] = dict(query)
    if any(members[name] is not None for name in FILTERS_OF_TITLES):
        return False
    if query["genre"] is not None and not set(genres).intersection(query["genre"]):
        return False
    if set(genres).intersection(query["genre_not"] or ()) or not is_age_allowed(min_age, query["age_lte"]):
        return False
    language, country = query["language"], query["origin_country"]
    return matches(channel.record, genre=None, group=None, language=language, country=country)
