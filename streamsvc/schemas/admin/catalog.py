"""Schemas of imports and coverage for operators."""

from marshmallow import fields, validate

from streamsvc.schemas.base import Choice, Moment, OneOf, PrefixedId, QueryBool, QueryInt, StrictSchema, page_of

IMPORT_FORMATS = ("ndjson", "csv", "imdb", "roku", "xmltv", "xmltv_programmes", "m3u_channels")


class ImportQuery(StrictSchema):
    format = Choice(
        *IMPORT_FORMATS,
        load_default=None,
        metadata={
            "description": "The format of the body, plain or gzip; for `imdb` also a zip archive of IMDb's files. "
            "Default: `csv` for text/csv, `xmltv` for XML, `imdb` for application/zip, else `ndjson`."
        },
    )
    dry_run = QueryBool(
        load_default=False, metadata={"description": "Report what would happen without changing anything."}
    )
    remove_missing = QueryBool(
        load_default=False, metadata={"description": "Remove the titles that are missing from the file."}
    )
    most_removals_percent = QueryInt(
        minimum=0,
        maximum=100,
        load_default=10,
        metadata={"description": "Remove none if more than this percentage of titles would be removed."},
    )


class ImportOut(StrictSchema):
    id = PrefixedId("imp", required=True)
    status = fields.String(required=True, validate=validate.OneOf(("queued", "running", "done", "failed")))
    format = OneOf(*IMPORT_FORMATS, required=True)
    dry_run = fields.Boolean(required=True)
    remove_missing = fields.Boolean(required=True)
    lines_done = fields.Integer(required=True)
    added = fields.Integer(required=True)
    changed = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    rejected = fields.Integer(required=True)
    removed = fields.Integer(required=True)
    shared_media_folders = fields.Integer(
        required=True,
        metadata={
            "description": "Manifests that lie in a folder with another item's; a playback token opens only the files "
            "named after them."
        },
    )
    error = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    finished_at = Moment(required=True, allow_none=True)


class RejectionOut(StrictSchema):
    line = fields.Integer(required=True)
    external_id = fields.String(required=True, allow_none=True)
    field = fields.String(required=True)
    code = fields.String(required=True)
    reason = fields.String(required=True)


class PartWithIssue(StrictSchema):
    """An episode or an extra; an extra has no season and no number."""

    id = PrefixedId("epi", "xtr", required=True)
    season = fields.Integer(required=True, allow_none=True)
    number = fields.Integer(required=True, allow_none=True)
    title = fields.String(required=True, allow_none=True)


class TitleWithIssue(StrictSchema):
    id = PrefixedId("ttl", required=True)
    external_id = fields.String(required=True)
    title = fields.String(required=True)
    year = fields.Integer(required=True, allow_none=True)
    part = fields.Nested(
        PartWithIssue,
        required=True,
        allow_none=True,
        metadata={"description": "The episode or extra that has the issue; null if the title has."},
    )


class CoverageIssue(StrictSchema):
    code = fields.String(required=True)
    count = fields.Integer(required=True)
    items = fields.List(fields.Nested(TitleWithIssue), required=True)


class Coverage(StrictSchema):
    total = fields.Integer(required=True)
    issues = fields.List(fields.Nested(CoverageIssue), required=True)


PageOfTitlesWithIssue = page_of(TitleWithIssue)
