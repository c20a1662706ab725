"""Reads channels and their guides as the API shows them.

Lists scan channels in their order and test each with the one access decision, until a page is full. A guide shows no
programme that the profile's limits forbid.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Channel, Programme
from streamsvc.operations.catalog.channels import views
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.facts import list_labels_of_broadcasts
from streamsvc.rules.catalog.channels import ChannelRecord, decode_stored_channel, matches, window_times
from streamsvc.rules.catalog.inputs import ChannelsInput, GuideInput, ProgrammesInput
from streamsvc.rules.catalog.programmes import (
    MAX_DURATION,
    NO_LABELS,
    Labels,
    decode_programme,
    is_programme_listed,
    programme_facts,
)
from streamsvc.rules.playback.access import TitleFacts, decide_access, is_listed
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import UtcTime, fetch_all

LabelsByTitle = Mapping[str | None, Labels]
CHUNK_SIZE = 200
"""Channels that a list reads at a time."""
_NOW = sa.bindparam("now", type_=UtcTime)
_AFTER = sa.tuple_(sa.bindparam("position", type_=sa.Integer), sa.bindparam("pk", type_=sa.Integer))
_FROM, _TO = sa.bindparam("from", type_=UtcTime), sa.bindparam("to", type_=UtcTime)
_other = sa.alias(Programme.__table__)
_OF_CHANNELS = Programme.channel_pk.in_(sa.bindparam("pks", expanding=True))

CHANNELS_AFTER = CompiledStatement(
    sa.select(Channel.pk, Channel.id, Channel.position, Channel.body)
    .where(Channel.removed_at.is_(None), sa.tuple_(Channel.position, Channel.pk) > _AFTER)
    .order_by(Channel.position, Channel.pk)
    .limit(CHUNK_SIZE)
)
CHANNELS_BY_KEY = sa.select(Channel.pk, Channel.id, Channel.position, Channel.body).where(
    Channel.pk.in_(sa.bindparam("pks", expanding=True)), Channel.removed_at.is_(None)
)
CHANNEL_BY_ID = CompiledStatement(
    sa.select(Channel.pk, Channel.id, Channel.position, Channel.body).where(
        Channel.id == sa.bindparam("id"), Channel.removed_at.is_(None)
    )
)


def _nearest(start: Any, *conditions: Any) -> sa.Select:
    """Select the programme of each channel whose start is the `start` of those that meet the conditions."""
    of_channel = _other.c.channel_pk == Channel.pk
    nearest = sa.select(start).where(of_channel, *conditions).scalar_subquery()
    is_nearest = sa.and_(Programme.channel_pk == Channel.pk, Programme.starts_at == nearest)
    of_channels = Channel.pk.in_(sa.bindparam("pks", expanding=True))
    return sa.select(*Programme.__table__.c).select_from(Channel).join(Programme, is_nearest).where(of_channels)


LATEST_STARTED = _nearest(sa.func.max(_other.c.starts_at), _other.c.starts_at <= _NOW)
FIRST_TO_COME = _nearest(sa.func.min(_other.c.starts_at), _other.c.starts_at > _NOW)
PROGRAMMES_BETWEEN = (
    sa.select(*Programme.__table__.c)
    .where(_OF_CHANNELS, Programme.starts_at < _TO, Programme.starts_at > sa.bindparam("earliest", type_=UtcTime))
    .where(Programme.ends_at > _FROM)
    .order_by(Programme.channel_pk, Programme.starts_at)
)


class ListedChannel(NamedTuple):
    """A channel that the caller may see."""

    pk: int
    id: str
    position: int
    record: ChannelRecord
    facts: TitleFacts


class Document(NamedTuple):
    """What a response shows, and when the next change of it is due, None if none is."""

    members: dict
    changes_at: datetime | None


def list_channels(query: ChannelsInput, audience: Audience, now: datetime) -> Document:
    """Return a page of the channels that the audience may see, each with its programmes now and next."""
    filters = {name: query[name] for name in ("genre", "group", "language", "country")}
    page, times = _list_page(f"channels:{filters}", query, filters, audience, now)
    channels = page["items"]
    on_now = _programmes_now_and_next(channels, now)
    labels = _load_labels([row for rows in on_now.values() for row in rows], audience)
    language = query["locale"] or audience.language
    items = [views.channel_view(channel.id, channel.record) for channel in channels]
    for channel, item in zip(channels, items, strict=True):
        item |= _now_and_next_view(channel, on_now, labels, audience, language, now)
    boundaries = [time for programmes in on_now.values() for row in programmes for time in (row.starts_at, row.ends_at)]
    return Document(page | {"items": items}, _next_time([*times, *boundaries], now))


def _list_page(
    scope: str, query: Any, filters: dict, audience: Audience, now: datetime, ids: Sequence[str] | None = None
) -> tuple[dict, list[datetime]]:
    """Return a page of ListedChannel, and the times at which windows of the channels that were read open or close."""
    after = pagination.decode_cursor(scope, query["cursor"]) or [-1, -1]
    times: list[datetime] = []
    listed: list[ListedChannel] = []
    for channel in _iter_channels(after, audience, filters, ids, times, now):
        listed.append(channel)
        if len(listed) > query["limit"]:
            break
    page = pagination.build_page(listed, query["limit"], scope, lambda channel: [channel.position, channel.pk])
    if query.get("include_total"):
        page |= pagination.total_members(sum(1 for _ in _iter_channels([-1, -1], audience, filters, ids, [], now)))
    return page, times


def _iter_channels(
    after: Sequence[int],
    audience: Audience,
    filters: dict,
    ids: Sequence[str] | None,
    times: list[datetime],
    now: datetime,
) -> Iterator[ListedChannel]:
    """Yield the channels that the audience may see, in order; adds the times of their windows to `times`."""
    position, pk = after
    while rows := CHANNELS_AFTER.all(position=position, pk=pk):
        for row in rows:
            if ids is not None and row.id not in ids:
                continue
            channel = _listed_channel(row)
            if matches(channel.record, **filters):
                times.extend(window_times(channel.record))
                if audience.sees_all or is_listed(channel.facts, audience.facts, now):
                    yield channel
        position, pk = rows[-1].position, rows[-1].pk
        if len(rows) < CHUNK_SIZE:
            return


def _listed_channel(row: Any) -> ListedChannel:
    record = decode_stored_channel(row.body)
    return ListedChannel(row.pk, row.id, row.position, record, record.facts(row.id))


def get_channel(channel_id: str, locale: str | None, audience: Audience, now: datetime) -> Document:
    """Return a channel with its programmes now and next, and its availability.

    Raises NotFound, also if the profile's limits hide it.
    """
    channel = _get_visible_channel(channel_id, audience, now)
    on_now = _programmes_now_and_next([channel], now)
    view = views.channel_view(channel.id, channel.record)
    labels = _load_labels(on_now.get(channel.pk, ()), audience)
    view |= _now_and_next_view(channel, on_now, labels, audience, locale or audience.language, now)
    facts = channel.facts
    if current := _current(on_now.get(channel.pk, ()), now):
        facts = _with_programme(facts, current, labels)
    decision = decide_access(facts, audience.facts, now)
    boundaries = [time for rows in on_now.values() for row in rows for time in (row.starts_at, row.ends_at)]
    view["availability"] = views.availability_view(decision)
    return Document(view, _next_time([*window_times(channel.record), *boundaries], now))


def _with_programme(facts: TitleFacts, row: Any, labels: LabelsByTitle) -> TitleFacts:
    own_labels = labels.get(row.title_id, NO_LABELS)
    programme = programme_facts(row.min_age, row.title_id, decode_programme(row.body), own_labels)
    return replace(facts, programme=programme)


def list_channels_by_key(pks: Collection[int], audience: Audience, now: datetime) -> dict[int, ListedChannel]:
    """Return those of the channels that the audience may see, by key."""
    channels = [_listed_channel(row) for row in fetch_all(CHANNELS_BY_KEY, {"pks": list(pks)})] if pks else []
    is_shown = {c.pk: audience.sees_all or is_listed(c.facts, audience.facts, now) for c in channels}
    return {channel.pk: channel for channel in channels if is_shown[channel.pk]}


def list_shown_programmes(channels: Mapping[int, ListedChannel], rows: Iterable[Any], audience: Audience) -> list[Any]:
    """Return the rows of the programmes of these channels, by key, that the guide shows to the audience."""
    rows = [row for row in rows if row.channel_pk in channels]
    labels = _load_labels(rows, audience)
    return [row for row in rows if _shown_rows(channels[row.channel_pk], [row], audience, labels)]


def _get_visible_channel(channel_id: str, audience: Audience, now: datetime) -> ListedChannel:
    row = CHANNEL_BY_ID.one(id=channel_id)
    if row is None:
        raise NotFound
    channel = _listed_channel(row)
    if not audience.sees_all and decide_access(channel.facts, audience.facts, now).hidden:
        raise NotFound
    return channel


def list_programmes(
    channel_id: str, times: tuple[datetime, datetime], query: ProgrammesInput, audience: Audience, now: datetime
) -> Document:
    """Return a page of a channel's programmes that are on between two times, in order. Raises NotFound."""
    channel = _get_visible_channel(channel_id, audience, now)
    since, until = times
    scope = f"programmes:{channel.id}:{since}:{until}"
    after = pagination.decode_cursor(scope, query["cursor"])
    start = datetime.fromisoformat(after[0]) if after else None
    rows = fetch_all(
        PROGRAMMES_BETWEEN.where(Programme.starts_at > start) if start else PROGRAMMES_BETWEEN,
        _range_parameters([channel.pk], since, until),
    )
    shown = _shown_rows(channel, rows, audience, _load_labels(rows, audience))
    page = pagination.build_page(shown, query["limit"], scope, lambda row: [row.starts_at.isoformat()])
    if query["include_total"]:
        every = fetch_all(PROGRAMMES_BETWEEN, _range_parameters([channel.pk], since, until))
        page |= pagination.total_members(len(_shown_rows(channel, every, audience, _load_labels(every, audience))))
    language = query["locale"] or audience.language
    items = [views.programme_view(channel.id, channel.record, row, language, now) for row in page["items"]]
    return Document(page | {"items": items}, _next_time(_catchup_ends(items), now))


def list_guide(times: tuple[datetime, datetime], query: GuideInput, audience: Audience, now: datetime) -> Document:
    """Return a page of channels, each with its programmes that are on between two times: a grid."""
    (since, until), ids = times, query["channel"]
    no_filters = dict.fromkeys(("genre", "group", "language", "country"))
    page, window_ends = _list_page(f"guide:{since}:{until}:{ids}", query, no_filters, audience, now, ids)
    channels = {channel.pk: channel for channel in page["items"]}
    rows: dict[int, list] = {pk: [] for pk in channels}
    if channels:
        for row in fetch_all(PROGRAMMES_BETWEEN, _range_parameters(list(channels), since, until)):
            rows[row.channel_pk].append(row)
    labels = _load_labels([row for of_channel in rows.values() for row in of_channel], audience)
    language = query["locale"] or audience.language
    items: list[dict[str, Any]] = [
        {
            "channel": views.channel_reference(channel.id, channel.record),
            "programmes": [
                views.programme_view(channel.id, channel.record, row, language, now)
                for row in _shown_rows(channel, rows[pk], audience, labels)
            ],
        }
        for pk, channel in channels.items()
    ]
    ends = [end for item in items for end in _catchup_ends(item["programmes"])]
    return Document(page | {"items": items}, _next_time([*window_ends, *ends], now))


def _range_parameters(pks: list[int], since: datetime, until: datetime) -> dict[str, Any]:
    return {"pks": pks, "from": since, "to": until, "earliest": since - MAX_DURATION}


def _catchup_ends(programmes: list[dict]) -> list[datetime]:
    return [programme["catchup"]["available_until"] for programme in programmes if programme["catchup"]]


def _load_labels(rows: Iterable[Any], audience: Audience) -> LabelsByTitle:
    """Return the labels of the titles that the programmes of rows broadcast, if the audience has title rules."""
    if audience.facts.title_rules is None:
        return {}
    return list_labels_of_broadcasts(row.title_id for row in rows)


def _shown_rows(channel: ListedChannel, rows: Iterable[Any], audience: Audience, labels: LabelsByTitle) -> list[Any]:
    """Return the rows of the programmes that the guide shows to the audience."""
    viewer = audience.facts
    if audience.sees_all or not viewer.has_limits:
        return list(rows)
    programmes = [(row, _with_programme(channel.facts, row, labels).programme) for row in rows]
    return [row for row, programme in programmes if programme and is_programme_listed(channel.facts, programme, viewer)]


def _programmes_now_and_next(channels: Sequence[ListedChannel], now: datetime) -> dict[int, list[Any]]:
    """Return by channel the latest programme that has started and the first to come, in order."""
    found: dict[int, list[Any]] = {}
    if channels:
        parameters = {"pks": [channel.pk for channel in channels], "now": now}
        for statement in (LATEST_STARTED, FIRST_TO_COME):
            for row in fetch_all(statement, parameters):
                found.setdefault(row.channel_pk, []).append(row)
    return found


def _current(rows: Sequence[Any], now: datetime) -> Any | None:
    return next((row for row in rows if row.starts_at <= now < row.ends_at), None)


def _now_and_next_view(
    channel: ListedChannel,
    on_now: dict[int, list[Any]],
    labels: LabelsByTitle,
    audience: Audience,
    language: str | None,
    now: datetime,
) -> dict:
    rows = _shown_rows(channel, on_now.get(channel.pk, ()), audience, labels)
    following = next((row for row in rows if row.starts_at > now), None)
    return {
        name: row and views.programme_view(channel.id, channel.record, row, language, now)
        for name, row in (("now", _current(rows, now)), ("next", following))
    }


def _next_time(times: Sequence[datetime], now: datetime) -> datetime | None:
    return min((time for time in times if time > now), default=None)
