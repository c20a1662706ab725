"""GET /v1/catalog/channels, one channel, its programmes, and the grid of all."""

from datetime import datetime, timedelta

from flask import Response

from streamsvc import clock
from streamsvc.blueprints.catalog.responses import current_audience, document_response
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog.channels import reading
from streamsvc.rules.catalog.inputs import ChannelInput, ChannelsInput, GuideInput, ProgrammesInput
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.schemas.catalog.channels import (
    ChannelDetail,
    ChannelQuery,
    ChannelsQuery,
    Guide,
    GuideQuery,
    PageOfChannels,
    PageOfProgrammes,
    ProgrammesQuery,
)
from streamsvc.security.access import allow_guests, public_catalog, viewer_or_operator
from streamsvc.security.principals import is_visitor_request

bp = Blueprint("channels", __name__, url_prefix="/v1/catalog", description="Live channels and their programmes.")
DEFAULT_RANGE = timedelta(days=1)


@bp.route("/channels")
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(ChannelsQuery, location="query")
@bp.etag
@bp.response(200, PageOfChannels)
def list_channels(query: ChannelsInput) -> Response:
    """List the live channels visible to the caller, by number.

    Each has the programme that is on `now` and the `next` one.
    """
    is_visitor, now = is_visitor_request(), clock.now()
    audience = current_audience(query["country"] if is_visitor else None)
    query["country"] = query["origin_country"] or (None if is_visitor else query["country"])
    return document_response(lambda: reading.list_channels(query, audience, now), audience, now)


@bp.route("/channels/<channel_id>")
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(ChannelQuery, location="query")
@bp.etag
@bp.response(200, ChannelDetail)
def get_channel(query: ChannelInput, channel_id: str) -> Response:
    """Retrieve a channel.

    `availability` says whether it may be played now: `programme_restricted` while a programme is on that the profile
    may not watch. 404 if the profile's limits hide the channel.
    """
    audience, now = current_audience(query["country"]), clock.now()
    return document_response(lambda: reading.get_channel(channel_id, query["locale"], audience, now), audience, now)


@bp.route("/channels/<channel_id>/programmes")
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(ProgrammesQuery, location="query")
@bp.etag
@bp.response(200, PageOfProgrammes)
def list_programmes(query: ProgrammesInput, channel_id: str) -> Response:
    """List the programmes of a channel that are on between two times, in order.

    The times may be 31 days apart. Programmes above the profile's age limit are left out.
    """
    audience, now = current_audience(query["country"]), clock.now()
    times = _requested_times(query, now, timedelta(days=31))
    return document_response(lambda: reading.list_programmes(channel_id, times, query, audience, now), audience, now)


@bp.route("/programmes")
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(GuideQuery, location="query")
@bp.etag
@bp.response(200, Guide)
def get_guide(query: GuideInput) -> Response:
    """Retrieve the programme guide: channels by number, each with its programmes between two times.

    The times may be 24 hours apart; a page has up to 50 channels.
    """
    audience, now = current_audience(query["country"]), clock.now()
    times = _requested_times(query, now, timedelta(days=1))
    return document_response(lambda: reading.list_guide(times, query, audience, now), audience, now)


def _requested_times(
    query: ProgrammesInput | GuideInput, now: datetime, longest: timedelta
) -> tuple[datetime, datetime]:
    """Return the times between which programmes are wanted. Raises Invalid if they are in disorder or too far apart."""
    since = query["since"] or now.replace(minute=0, second=0, microsecond=0)
    until = query["until"] or since + DEFAULT_RANGE
    if not timedelta() < until - since <= longest:
        hours = int(longest / timedelta(hours=1))
        raise Invalid(errors={"to": [f"Must be after `from`, by at most {hours} hours."]})
    return since, until
