"""POST·GET /v1/admin/imports, their rejections."""

from functools import wraps

import sqlalchemy as sa
from flask import request

from streamsvc import clock
from streamsvc.http import pagination
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import rows_page
from streamsvc.models import Import, ImportRejection
from streamsvc.operations.catalog.imports import imports
from streamsvc.rules.refusals.requests import Invalid, NotFound, WrongMediaType
from streamsvc.schemas.admin.catalog import ImportOut, ImportQuery, RejectionOut
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.security.authentication import operator
from streamsvc.storage.database import all_rows, db

bp = Blueprint("admin imports", __name__, url_prefix="/v1/admin/imports", description="Files of titles.")
ARCHIVES = ("application/zip", "application/x-zip-compressed")
FILE = {
    "required": True,
    "content": {
        media: {"schema": {"type": "string", "format": "binary"}}
        for media in (
            "application/x-ndjson",
            "text/csv",
            "text/tab-separated-values",
            "application/json",
            "application/gzip",
            "application/zip",
        )
    },
}
OTHER_NAMES = {
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/csv",
    "text/plain",
    "application/x-gzip",
    *ARCHIVES[1:],
    "application/octet-stream",
    "application/x-www-form-urlencoded",  # what curl calls any file
    "",
}


def whole_file(view):
    """Let a view's body be as large as a file may be."""

    @wraps(view)
    def reading(*args, **kwargs):
        request.max_content_length = imports.LARGEST_BYTES
        return view(*args, **kwargs)

    return reading


@bp.route("", methods=["POST"])
@operator("catalog")
@whole_file
@bp.arguments(ImportQuery, location="query")
@bp.doc(requestBody=FILE)
@idempotent()
@bp.response(202, ImportOut)
def create_import(asked):
    """Import a file of titles. The worker carries it out; the same file twice changes nothing."""
    if request.mimetype not in FILE["content"].keys() | OTHER_NAMES:
        raise WrongMediaType(detail=f"Send the file as one of {', '.join(FILE['content'])}.")
    body = request.get_data()
    if not body:
        raise Invalid(errors={"_": ["Send the file as the body."]})
    made = imports.create(body, {**asked, "format": _format(asked["format"])}, clock.now())
    db.session.flush()
    return made


def _format(asked):
    """What the body is: as it is asked for, else as its media type tells."""
    if request.mimetype in ARCHIVES:
        if asked not in (None, "imdb"):
            raise Invalid(errors={"format": ["An archive holds IMDb's files: `imdb`."]})
        return "imdb"
    return asked or ("csv" if request.mimetype in ("text/csv", "application/csv") else "ndjson")


@bp.route("")
@bp.arguments(PageQuery, location="query")
@operator("catalog")
@bp.response(200, page_of(ImportOut))
def list_imports(asked):
    """Every import, the newest first."""
    return rows_page(sa.select(Import), Import.id, asked, "imports")


@bp.route("/<import_id>")
@operator("catalog")
@bp.response(200, ImportOut)
def get_import(import_id):
    """How far an import has come."""
    return _found(import_id)


@bp.route("/<import_id>/rejections")
@bp.arguments(PageQuery, location="query")
@operator("catalog")
@bp.response(200, page_of(RejectionOut))
def list_rejections(asked, import_id):
    """Why lines were not taken, in their order."""
    scope = f"rejections:{_found(import_id).id}"
    place = sa.tuple_(ImportRejection.line, ImportRejection.position)
    rows = sa.select(*ImportRejection.__table__.c).where(ImportRejection.import_id == import_id)
    if after := pagination.decode(scope, asked["cursor"]):
        rows = rows.where(place > sa.tuple_(*after))
    rows = rows.order_by(ImportRejection.line, ImportRejection.position).limit(asked["limit"] + 1)
    page = pagination.page(all_rows(rows), asked["limit"], scope, lambda row: [row.line, row.position])
    if asked["include_total"]:
        count = sa.select(sa.func.count()).where(ImportRejection.import_id == import_id)
        page["total"] = db.session.scalar(count)
    return page


def _found(import_id):
    found = db.session.get(Import, import_id)
    if found is None:
        raise NotFound
    return found
