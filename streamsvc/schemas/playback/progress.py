"""Schemas of a profile's progress, watchlist and ratings."""

from marshmallow import fields, validate

from streamsvc.schemas.base import Bool, Choice, Int, Moment, PrefixedId, StrictSchema, page_of
from streamsvc.schemas.catalog.titles import Ids, TitleCard
from streamsvc.schemas.playback.playback import MAX_POSITION_S, Id

MAX_REPORTS = 200
RATING_VALUES = ("up", "down")


class ProgressIn(StrictSchema):
    position_s = Int(required=True, minimum=0, maximum=MAX_POSITION_S)
    duration_s = Int(
        required=True,
        minimum=1,
        maximum=MAX_POSITION_S,
        metadata={"description": "The duration according to the player."},
    )
    at = Moment(required=True, metadata={"description": "The time by the player's clock; the newest report counts."})
    restart = Bool(load_default=False, metadata={"description": "The viewer started again from the beginning."})


class ProgressReportIn(ProgressIn):
    item_id = Id(required=True)


class ProgressBatchIn(StrictSchema):
    items = fields.List(fields.Nested(ProgressReportIn), required=True, validate=validate.Length(1, MAX_REPORTS))


class ProgressOut(StrictSchema):
    item_id = PrefixedId("epi", "ttl", required=True)
    title_id = PrefixedId("ttl", required=True)
    position_s = fields.Integer(required=True)
    duration_s = fields.Integer(required=True, allow_none=True)
    resume_s = fields.Integer(
        required=True, metadata={"description": "The position from which to resume; 0 is the beginning."}
    )
    watched = fields.Boolean(required=True, metadata={"description": "Watched to the end at least once."})
    finished = fields.Boolean(required=True, metadata={"description": "Watched to the end and not restarted since."})
    at = Moment(required=True)


class ProgressReportOut(StrictSchema):
    item_id = fields.String(required=True)
    applied = fields.Boolean(required=True, metadata={"description": "False if a newer report exists."})
    reason = fields.String(allow_none=True, metadata={"description": "`not_found` if the report was rejected."})
    progress = fields.Nested(ProgressOut, allow_none=True)


class ProgressBatchOut(StrictSchema):
    items = fields.List(fields.Nested(ProgressReportOut), required=True)


class EpisodeOut(StrictSchema):
    id = PrefixedId("epi", required=True)
    season = fields.Integer(required=True)
    number = fields.Integer(required=True)
    title = fields.String(allow_none=True, required=True)
    runtime_s = fields.Integer(allow_none=True, required=True)


class WatchedItemOut(StrictSchema):
    """A title in one of the profile's own rows."""

    item_id = PrefixedId("epi", "ttl", required=True)
    title = fields.Nested(TitleCard, required=True)
    episode = fields.Nested(EpisodeOut, allow_none=True, required=True)
    progress = fields.Nested(ProgressOut, allow_none=True, required=True)


class WatchlistItemOut(StrictSchema):
    item_id = PrefixedId("ttl", required=True)
    title = fields.Nested(TitleCard, required=True)
    added_at = Moment(required=True)


class RatingIn(StrictSchema):
    rating = Choice(*RATING_VALUES, required=True)


class ItemStateOut(StrictSchema):
    id = fields.String(required=True)
    progress = fields.Nested(ProgressOut, allow_none=True, required=True)
    in_watchlist = fields.Boolean(required=True)
    rating = fields.String(allow_none=True, required=True)


class ItemStateListOut(StrictSchema):
    items = fields.List(fields.Nested(ItemStateOut), required=True)


class ItemStateQuery(StrictSchema):
    ids = Ids(required=True)


WatchedItemPage = page_of(WatchedItemOut)
WatchlistPage = page_of(WatchlistItemOut)
