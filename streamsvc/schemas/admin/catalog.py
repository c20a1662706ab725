"""Schemas of imports and coverage for operators."""

from marshmallow import ValidationError, fields, validate, validates

from streamsvc.rules.playback.media_paths import parse_media_url
from streamsvc.schemas.base import Choice, Moment, OneOf, PrefixedId, QueryBool, QueryInt, StrictSchema, Text, page_of

IMPORT_FORMATS = ("ndjson", "csv", "imdb", "roku", "tmdb", "m3u", "nfo", "xmltv", "xmltv_programmes")
IMPORT_ENCODINGS = (
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "windows-1252", "iso-8859-1", "iso-8859-2", "iso-8859-15",
    "windows-1250", "windows-1251", "windows-1253", "windows-1254", "windows-1255", "windows-1256",
    "shift_jis", "gb18030", "big5", "euc-kr",
)  # fmt: skip


class ImportQuery(StrictSchema):
    format = Choice(
        *IMPORT_FORMATS,
        load_default=None,
        metadata={
            "description": "The format of the body, plain, gzip or zip: `imdb` for one or several of IMDb's files, "
            "`nfo` for an archive (zip or tar) of a library's folder, `xmltv_programmes` for a guide whose channels "
            "create none. Default: guessed from the content; `csv` or "
            "`ndjson`, by the media type, if it looks like none."
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
    columns = Text(
        max_length=10_000,
        load_default="{}",
        metadata={
            "description": "The field that each CSV column is for, as a JSON object; `ignore` leaves a column out. "
            "Columns that are not named are guessed by their names.",
        },
    )
    encoding = Choice(
        *IMPORT_ENCODINGS,
        load_default=None,
        metadata={"description": "The encoding of a CSV file or a playlist. Default: detected."},
    )
    media_base_url = Text(
        max_length=1_000,
        load_default=None,
        metadata={
            "description": "The address under which a media server has the library's folder; paths of media and "
            "artwork are appended to it.",
        },
    )

    @validates("media_base_url")
    def _check_media_base_url(self, value: str | None, data_key: str) -> None:
        if value is not None:
            try:
                parse_media_url(f"{value.rstrip('/')}/x")
            except ValueError as error:
                raise ValidationError(str(error)) from None


class ImportWarningOut(StrictSchema):
    line = fields.Integer(required=True, metadata={"description": "Where it occurred first."})
    file = fields.String(required=True, allow_none=True)
    field = fields.String(required=True)
    code = fields.String(required=True)
    reason = fields.String(required=True)
    count = fields.Integer(required=True, metadata={"description": "How many entries have it."})


class ImportOut(StrictSchema):
    id = PrefixedId("imp", required=True)
    status = fields.String(required=True, validate=validate.OneOf(("queued", "running", "done", "failed")))
    format = OneOf(*IMPORT_FORMATS, required=True)
    format_guessed = fields.Boolean(
        required=True, metadata={"description": "Whether the format was guessed from the content."}
    )
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
    warnings = fields.List(
        fields.Nested(ImportWarningOut),
        required=True,
        metadata={"description": "What was guessed or left out; the titles were imported nevertheless."},
    )
    error = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    finished_at = Moment(required=True, allow_none=True)


class RejectionOut(StrictSchema):
    line = fields.Integer(required=True)
    file = fields.String(
        required=True, allow_none=True, metadata={"description": "The path of the entry's file inside an archive."}
    )
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
