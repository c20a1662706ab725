"""What an account played, for support."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Channel, Device, Episode, Profile, Session, Stream, Title
from streamsvc.operations.playback import streams
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.playback import stream_rules
from streamsvc.storage.database import fetch_all, fetch_existing

PLAYS_OF_ACCOUNT = (
    sa.select(
        *Stream.__table__.c,
        sa.and_(Session.id.is_not(None), Session.ended_at.is_(None)).label("session_is_live"),
        Session.ended_at.label("session_ended_at"),
        Profile.name.label("profile_name"),
        sa.func.coalesce(Title.title, Channel.name).label("title"),
        Episode.season,
        Episode.number.label("episode"),
        Device.name.label("device_name"),
        Device.kind.label("device_kind"),
    )
    .select_from(Stream)
    .outerjoin(Session, Session.id == Stream.session_id)
    .outerjoin(Profile, sa.and_(Profile.id == Stream.profile_id, Profile.account_id == Stream.account_id))
    .outerjoin(Device, sa.and_(Device.id == Stream.device_id, Device.account_id == Stream.account_id))
    .outerjoin(Title, Title.id == Stream.title_id)
    .outerjoin(Channel, Channel.id == Stream.title_id)
    .outerjoin(Episode, Episode.id == Stream.item_id)
    .where(Stream.account_id == streams.ACCOUNT_ID)
)


def list_plays(account_id: str, query: PageInput, now: datetime) -> dict:
    """Return a page of the account's streams as in AccountPlayOut, newest first."""
    after = pagination.decode_cursor("account-plays", query["cursor"])
    remaining = PLAYS_OF_ACCOUNT.where(Stream.id < after[0]) if after else PLAYS_OF_ACCOUNT
    parameters = {"account_id": account_id}
    rows = fetch_all(remaining.order_by(Stream.id.desc()).limit(query["limit"] + 1), parameters)
    page = pagination.build_page(rows, query["limit"], "account-plays", lambda row: [row.id])
    if query["include_total"]:
        count = pagination.bounded_count(sa.select(Stream.id).where(Stream.account_id == streams.ACCOUNT_ID))
        page |= pagination.total_members(fetch_existing(count, parameters)[0])
    return page | {"items": [_play_view(row, now) for row in page["items"]]}


def _play_view(row: Any, now: datetime) -> dict:
    names = ("plan", "country", "started_at", "played_at", "completed_at", "position_s", "watched_s")
    reason = streams.stream_end_reason(row, now)
    ended_at = row.ended_at
    if ended_at is None and reason:
        ended_at = row.session_ended_at if reason == stream_rules.SIGNED_OUT else row.expires_at
    return {name: getattr(row, name) for name in names} | {
        "stream_id": row.id,
        "profile": {"id": row.profile_id, "name": row.profile_name},
        "item": {
            "id": row.item_id,
            "title_id": row.title_id,
            "title": row.title,
            "season": row.season,
            "episode": row.episode,
        },
        "device": {"id": row.device_id, "name": row.device_name, "kind": row.device_kind},
        "ended_at": ended_at,
        "reason": reason,
    }
