"""Schemas of a profile's progress, watchlist and ratings."""

from marshmallow import fields, validate

from streamsvc.schemas.base import Bool, Choice, Moment, OneOf, PageQuery, PrefixedId, StrictSchema, page_of
from streamsvc.schemas.catalog.titles import Ids, TitleCard
from streamsvc.schemas.playback.playback import Id, Seconds

MAX_REPORTS = 200
MAX_WATCHLIST_ENTRIES = 100
RATING_VALUES = ("up", "down")


class SentAt(Moment):
    """The time of sending by the player's clock."""

    def __init__(self) -> None:
        super().__init__(
            load_default=None,
            allow_none=True,
            metadata={"description": "The time of sending by the player's clock, so that its error is known."},
        )


class ProgressIn(StrictSchema):
    position_s = Seconds(required=True)
    duration_s = Seconds(required=True, minimum=1, metadata={"description": "The duration according to the player."})
    at = Moment(required=True, metadata={"description": "The time by the player's clock; the newest report counts."})
    restart = Bool(load_default=False, metadata={"description": "The viewer started again from the beginning."})
    play_id = Id(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "The player's own id of this viewing. Reports with the same id are one play of the history."
        },
    )


class DatedProgressIn(ProgressIn):
    sent_at = SentAt()


class ProgressReportIn(ProgressIn):
    item_id = Id(required=True)


class ProgressBatchIn(StrictSchema):
    sent_at = SentAt()
    items = fields.List(fields.Nested(ProgressReportIn), required=True, validate=validate.Length(1, MAX_REPORTS))


class ProgressOut(StrictSchema):
    item_id = PrefixedId("chn", "epi", "prg", "ttl", required=True)
    title_id = PrefixedId("chn", "ttl", required=True)
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


class PlayCountsOut(StrictSchema):
    starts = fields.Integer(required=True, metadata={"description": "How often the item began to play."})
    completions = fields.Integer(required=True, metadata={"description": "How often it was watched to the end."})


class WatchedItemOut(StrictSchema):
    """A title in one of the profile's own rows."""

    sometimes_absent = ("plays",)
    item_id = PrefixedId("epi", "ttl", required=True)
    title = fields.Nested(TitleCard, required=True)
    episode = fields.Nested(EpisodeOut, allow_none=True, required=True)
    progress = fields.Nested(ProgressOut, allow_none=True, required=True)
    plays = fields.Nested(PlayCountsOut, metadata={"description": "Only in the history."})


class PlayOut(StrictSchema):
    id = fields.String(
        required=True, metadata={"description": "The id of the stream, or the `play_id` that the player reported."}
    )
    item_id = PrefixedId("chn", "epi", "prg", "ttl", required=True)
    title_id = PrefixedId("chn", "ttl", required=True)
    started_at = Moment(required=True)
    completed_at = Moment(
        required=True, allow_none=True, metadata={"description": "When it first reached the end, if it did."}
    )


class PlaysQuery(PageQuery):
    item_id = Id(
        load_default=None,
        metadata={"description": "Only the plays of this film, episode, series, channel or programme."},
    )


class WatchlistItemOut(StrictSchema):
    item_id = PrefixedId("ttl", required=True)
    title = fields.Nested(TitleCard, required=True)
    added_at = Moment(required=True)


class WatchlistEntryIn(StrictSchema):
    title_id = Id(required=True)
    added_at = Moment(
        load_default=None,
        allow_none=True,
        metadata={"description": "When the title was added. Default, and at the latest: now."},
    )


class WatchlistBatchIn(StrictSchema):
    items = fields.List(
        fields.Nested(WatchlistEntryIn), required=True, validate=validate.Length(1, MAX_WATCHLIST_ENTRIES)
    )


class WatchlistEntryOut(StrictSchema):
    title_id = fields.String(required=True)
    added = fields.Boolean(required=True)
    reason = OneOf(
        "already_there",
        "not_found",
        required=True,
        allow_none=True,
        metadata={"description": "Why the title was not added. `not_found` also if the profile's limits hide it."},
    )


class WatchlistBatchOut(StrictSchema):
    items = fields.List(fields.Nested(WatchlistEntryOut), required=True)


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


PlayPage = page_of(PlayOut)
WatchedItemPage = page_of(WatchedItemOut)
WatchlistPage = page_of(WatchlistItemOut)
