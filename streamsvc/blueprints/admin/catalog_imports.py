"""POST·GET /v1/admin/imports and their rejections."""

import hashlib
import json
from functools import wraps
from typing import Any

import sqlalchemy as sa
from flask import request

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import IMPORT
from streamsvc.http import pagination
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import Import, ImportRejection
from streamsvc.operations.catalog.formats.columns import check_mapping
from streamsvc.operations.catalog.imports import imports
from streamsvc.operations.outbox.audited_changes import add_change_details, audited, created_id
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.requests import Invalid, NotFound, WrongMediaType
from streamsvc.schemas.admin.catalog import ImportOut, ImportQuery, RejectionOut
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.security.access import View, operator_only
from streamsvc.storage.database import db, fetch_all

bp = Blueprint(
    "admin imports",
    __name__,
    url_prefix="/v1/admin/imports",
    description="Imports of titles, live channels and programmes.",
)
ARCHIVE_MEDIA_TYPES = ("application/zip", "application/x-zip-compressed")
JSON_FILE = {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}
FILE_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        media: {"schema": JSON_FILE if media == "application/json" else {"type": "string", "format": "binary"}}
        for media in (
            "application/x-ndjson",
            "text/csv",
            "text/tab-separated-values",
            "application/json",
            "application/gzip",
            "application/zip",
            "text/xml",
            "audio/mpegurl",
            "application/x-tar",
            "application/vnd.apple.mpegurl",
            "application/xml",
        )
    },
}
OTHER_MEDIA_TYPES = {
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/csv",
    "text/plain",
    "application/x-gzip",
    "application/x-mpegurl",
    "audio/x-mpegurl",
    *ARCHIVE_MEDIA_TYPES[1:],
    "application/octet-stream",
    "application/x-www-form-urlencoded",  # curl's default for any file
    "",
}


def allow_large_body(view: View) -> View:
    """Decorator that allows a view a body as large as a file may be."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        request.max_content_length = imports.MAX_FILE_BYTES
        return view(*args, **kwargs)

    return wrapper


@bp.route("", methods=["POST"])
@operator_only("catalog")
@allow_large_body
@bp.arguments(ImportQuery, location="query")
@bp.doc(requestBody=FILE_BODY)
@idempotent()
@bp.errors(WrongMediaType)
@bp.response(202, ImportOut)
@audited(IMPORT, created_id)
def create_import(query: dict) -> Import:
    """Import a file of titles, live channels or programmes.

    The worker imports the file in the background; retrieve the import for its progress. Importing the same file again
    changes nothing. Without a `format` it is guessed from the content, whatever the media type says; if the content
    looks like none, a warning says what it was read as and which formats there are.
    """
    if request.mimetype not in FILE_BODY["content"].keys() | OTHER_MEDIA_TYPES:
        raise WrongMediaType(detail=f"Send the file as one of {', '.join(FILE_BODY['content'])}.")
    body = request.get_data()
    if not body:
        raise Invalid(errors={"_": ["Must be sent as the request body."]})
    columns = _parse_columns(query["columns"])
    guess = imports.guess_format(body, columns)
    if request.mimetype in ARCHIVE_MEDIA_TYPES and guess in ("imdb", "nfo") and query["format"] not in (None, guess):
        raise Invalid(errors={"format": [f"Must be `{guess}` for this archive."]})
    file_format = query["format"] or guess or _implied_format()
    options = {
        **query,
        "columns": columns,
        "format": file_format,
        "format_guessed": query["format"] is None,
        "format_recognized": bool(query["format"] or guess),
    }
    new_import = imports.create_import(body, options, clock.now())
    add_change_details(file_bytes=len(body), file_sha256=hashlib.sha256(body).hexdigest())
    db.session.flush()
    return new_import


def _parse_columns(text: str) -> dict[str, str]:
    """Return the mapping of columns. Raises Invalid."""
    try:
        return check_mapping(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise Invalid(errors={"columns": [str(error)]}) from None


def _implied_format() -> str:
    """Return the format of a file that looks like none, by its media type."""
    if request.mimetype in ARCHIVE_MEDIA_TYPES:
        return "imdb"
    return "csv" if request.mimetype in ("text/csv", "application/csv") else "ndjson"


@bp.route("")
@bp.arguments(PageQuery, location="query")
@operator_only("catalog")
@bp.response(200, page_of(ImportOut))
def list_imports(query: PageInput) -> dict:
    """List imports, newest first."""
    return paginate_query(sa.select(Import), Import.id, query, "imports")


@bp.route("/<import_id>")
@operator_only("catalog")
@bp.response(200, ImportOut)
def get_import(import_id: str) -> Import:
    """Retrieve an import with its progress."""
    return _get_import(import_id)


@bp.route("/<import_id>/rejections")
@bp.arguments(PageQuery, location="query")
@operator_only("catalog")
@bp.response(200, page_of(RejectionOut))
def list_rejections(query: PageInput, import_id: str) -> dict:
    """List the rejected lines of an import with their errors, in order."""
    scope = f"rejections:{_get_import(import_id).id}"
    position = sa.tuple_(ImportRejection.line, ImportRejection.position)
    rows = sa.select(*ImportRejection.__table__.c).where(ImportRejection.import_id == import_id)
    if after := pagination.decode_cursor(scope, query["cursor"]):
        rows = rows.where(position > sa.tuple_(*after))
    rows = rows.order_by(ImportRejection.line, ImportRejection.position).limit(query["limit"] + 1)
    page = pagination.build_page(fetch_all(rows), query["limit"], scope, lambda row: [row.line, row.position])
    if query["include_total"]:
        count = pagination.bounded_count(sa.select(ImportRejection.line).where(ImportRejection.import_id == import_id))
        page |= pagination.total_members(db.session.scalars(count).one())
    return page


def _get_import(import_id: str) -> Import:
    row = db.session.get(Import, import_id)
    if row is None:
        raise NotFound
    return row
