"""Schemas of streams and heartbeats."""

import math
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from streamsvc.rules.playback.still_watching import QUESTION
from streamsvc.rules.playback.stream_rules import FINAL_STATES, STATES
from streamsvc.schemas.base import (
    DEVICE_KINDS,
    Bool,
    Choice,
    Int,
    Moment,
    OneOf,
    PrefixedId,
    QueryBool,
    StrictSchema,
    Text,
    page_of,
)

MAX_POSITION_S = 10_000_000


class Id(Text):
    """An opaque id of up to 64 characters."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=64, **kwargs)


class Seconds(fields.Field):
    """A number of seconds in JSON, which may have a fraction; loaded as whole seconds, rounded down."""

    def __init__(self, *, minimum: int = 0, **kwargs: Any) -> None:
        super().__init__(validate=validate.Range(minimum, MAX_POSITION_S), **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        is_finite = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
        if isinstance(value, bool) or not is_finite:
            raise ValidationError("Must be a number of seconds.")
        return math.floor(value)


class PlaybackIn(StrictSchema):
    item_id = Id(
        required=True,
        metadata={"description": "The id of a film, an episode, an extra, a live channel, or a programme on catch-up."},
    )
    device_id = Id(
        load_default=None,
        allow_none=True,
        metadata={"description": "The session's device, which is the default; 403 `device_mismatch` for others."},
    )
    max_height = Int(
        minimum=1,
        maximum=100_000,
        load_default=None,
        allow_none=True,
        metadata={"description": "The maximum picture height that the player supports, in lines."},
    )
    replace = Id(
        load_default=None,
        allow_none=True,
        metadata={"description": "The id of a stream to end so that this one can start."},
    )
    offline = Bool(
        load_default=False,
        metadata={"description": "True: for a download; the DRM licence can be stored. The plan must have downloads."},
    )


class PlayerReportIn(StrictSchema):
    position_s = Seconds(required=True, metadata={"description": "Saved once the stream has reported `playing`."})
    duration_s = Seconds(
        minimum=1,
        load_default=None,
        allow_none=True,
        metadata={"description": "The duration according to the player. Default: the catalogue's."},
    )
    at = Moment(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "The time by the player's clock. It only orders the heartbeats of the stream: the position "
            "is dated by its arrival."
        },
    )


class HeartbeatIn(PlayerReportIn):
    state = Choice(
        *STATES,
        required=True,
        metadata={
            "description": "`stopped` and `ended` end the stream and free its slot; `ended` also counts as watched."
        },
    )
    interaction_at = Moment(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "When the viewer last used the player, by the same clock as `at`, which it needs. A player "
            "that sends it is also asked `still_watching` while it plays."
        },
    )

    @validates_schema
    def check_clock(self, data: dict, **kwargs: Any) -> None:
        if data.get("interaction_at") and not data.get("at"):
            raise ValidationError("Must come with at.", "interaction_at")


class BeaconIn(PlayerReportIn):
    grant = Text(required=True, max_length=4000, metadata={"description": "The stream's latest playback token."})
    state = Choice(*FINAL_STATES, required=True)


class ManifestOut(StrictSchema):
    type = fields.String(required=True, metadata={"description": "hls, dash, …"})
    url = fields.String(required=True)


class MediaCookieOut(StrictSchema):
    name = fields.String(required=True)
    value = fields.String(required=True)
    domain = fields.String(required=True)
    path = fields.String(required=True)
    expires_at = Moment(required=True)


class GrantOut(StrictSchema):
    sometimes_absent = ("cookies",)
    token = fields.String(required=True)
    expires_at = Moment(required=True)
    cookies = fields.List(
        fields.Nested(MediaCookieOut),
        metadata={"description": "Cookies that the CDN of the manifests requires; absent if it requires none."},
    )


class DrmOut(StrictSchema):
    sometimes_absent = ("token", "fairplay_certificate_url")
    token = fields.String(
        metadata={
            "description": "The message for the licence server, such as for `X-AxDRM-Message`; absent if the "
            "licence URLs are this service's own."
        }
    )
    fairplay_certificate_url = fields.String(
        metadata={"description": "The application certificate; absent without keys for FairPlay."}
    )
    license_urls = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "The licence servers: widevine, playready, fairplay."},
    )
    expires_at = Moment(required=True, metadata={"description": "The player must have requested the licence by then."})


class LicenseQuery(StrictSchema):
    offline = QueryBool(
        load_default=False, metadata={"description": "Whether the licence is to be stored with a download."}
    )


class HeartbeatIntervalOut(StrictSchema):
    interval_s = fields.Integer(required=True)
    ttl_s = fields.Integer(
        required=True, metadata={"description": "The stream expires after this time without a heartbeat."}
    )


class StreamLimitsOut(StrictSchema):
    max = fields.Integer(required=True)
    current = fields.Integer(required=True)
    max_height = fields.Integer(required=True, allow_none=True)


class CmcdOut(StrictSchema):
    sid = PrefixedId("str", required=True)
    cid = PrefixedId("chn", "epi", "prg", "ttl", "xtr", required=True)


class PlaybackOut(StrictSchema):
    sometimes_absent = ("drm",)
    stream_id = PrefixedId("str", required=True)
    manifests = fields.List(fields.Nested(ManifestOut), required=True)
    grant = fields.Nested(GrantOut, required=True)
    resume_s = fields.Integer(required=True)
    heartbeat = fields.Nested(HeartbeatIntervalOut, required=True)
    limits = fields.Nested(StreamLimitsOut, required=True)
    markers = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    cmcd = fields.Nested(CmcdOut, required=True)
    drm = fields.Nested(DrmOut, metadata={"description": "Absent if the item is not encrypted."})


class HeartbeatOut(StrictSchema):
    sometimes_absent = ("grant", "manifests", "ask")
    manifests = fields.List(
        fields.Nested(ManifestOut),
        metadata={"description": "The URLs to use from now on; absent if they have not changed."},
    )
    grant = fields.Nested(
        GrantOut, metadata={"description": "The playback token to use from now on; absent once the stream has ended."}
    )
    ask = OneOf(
        QUESTION,
        metadata={
            "description": "Ask the viewer whether they are still watching, and send the answer as `interaction_at`, "
            "or by playing on. Without an answer the stream ends with the reason `inactive`."
        },
    )
    interval_s = fields.Integer(required=True)
    current = fields.Integer(required=True)
    max = fields.Integer(required=True)


class StreamDeviceOut(StrictSchema):
    id = PrefixedId("dev", required=True)
    name = fields.String(required=True, allow_none=True)
    kind = OneOf(*DEVICE_KINDS, required=True, allow_none=True)


class StreamOut(StrictSchema):
    stream_id = PrefixedId("str", required=True)
    item_id = PrefixedId(
        "chn",
        "epi",
        "prg",
        "ttl",
        "xtr",
        required=True,
        allow_none=True,
        metadata={"description": "Null for a title that does not exist for the selected profile, as its `title_id`."},
    )
    title_id = PrefixedId("chn", "ttl", required=True, allow_none=True)
    profile_id = PrefixedId("pro", required=True, allow_none=True)
    device = fields.Nested(StreamDeviceOut, required=True)
    takes_slot = fields.Boolean(
        required=True, metadata={"description": "Whether it counts towards the plan's limits; a trailer does not."}
    )
    state = OneOf(*STATES, required=True)
    position_s = fields.Integer(required=True)
    started_at = Moment(required=True)
    seen_at = Moment(required=True)


StreamPage = page_of(StreamOut)


class StopStreamsQuery(StrictSchema):
    except_id = Id(data_key="except", load_default=None, metadata={"description": "The id of the stream to keep."})


class VerifyQuery(StrictSchema):
    grant = Text(max_length=4000, load_default=None)
