"""GET /v1/admin/people, GET·PUT·DELETE /v1/admin/people/{external_id}, POST /v1/admin/people/{id}/merge."""

from flask import Response
from marshmallow import INCLUDE

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import PERSON, PERSON_BY_ID
from streamsvc.blueprints.admin.preconditions import check_preconditions
from streamsvc.blueprints.admin.stored_records import record_etag, record_response, requested_record_response
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.catalog.people import editing
from streamsvc.operations.catalog.people.writing import delete_person_record
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.rules.catalog.inputs import PeopleInput, PersonMergeInput
from streamsvc.rules.refusals.catalog import AlreadyMerged
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.people import PageOfPeople, PeopleQuery, PersonMerge, PersonMergeIn, PersonRecordBody
from streamsvc.security.access import operator_only
from streamsvc.storage.database import db

bp = Blueprint("admin people", __name__, url_prefix="/v1/admin/people", description="Manage the people of credits.")
RECORD_BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/PersonRecord"}}}}
STORED_RECORD = {"$ref": "#/components/schemas/StoredPersonRecord"}


@bp.route("")
@operator_only("catalog")
@bp.arguments(PeopleQuery, location="query")
@bp.response(200, PageOfPeople)
def list_people(query: PeopleInput) -> dict:
    """List the people of credits, by name.

    `q` is the start of a name, or an id or external id.
    """
    return editing.list_people(query)


@bp.route("/<path:external_id>", methods=["PUT"])
@operator_only("catalog")
@bp.arguments(PersonRecordBody, unknown=INCLUDE)
@bp.doc(requestBody=RECORD_BODY)
@bp.preconditions()
@bp.response(200, STORED_RECORD, description="The stored record.")
@audited(PERSON, "external_id")
def replace_person(body: dict, external_id: str) -> Response:
    """Create or replace a person.

    Takes the whole record, as in a line of the catalogue file. Supports If-Match and If-None-Match. Somebody whom
    credits name without an id takes the external id if nobody else of that name has one. Title pages show a new picture
    when the worker has rebuilt them.
    """
    row = editing.lock_person(external_id)
    check_preconditions(record_etag(row) if row else None)
    editing.replace_person(row.external_id if row else external_id, body, row, clock.now())
    db.session.commit()
    return record_response(editing.get_person(external_id))


@bp.route("/<path:external_id>")
@operator_only("catalog")
@bp.etag
@bp.response(200, STORED_RECORD, description="The stored record.")
def get_person_record(external_id: str) -> Response:
    """Retrieve a person's record.

    Takes the external id or the id. 404 for somebody who is only named in credits.
    """
    row = editing.get_person(external_id)
    return requested_record_response(row)


@bp.route("/<path:external_id>", methods=["DELETE"])
@operator_only("catalog")
@bp.preconditions()
@bp.response(204)
@audited(PERSON, "external_id")
def delete_person(external_id: str) -> None:
    """Delete a person's record.

    Supports If-Match. Credits keep the name, and the person keeps the id.
    """
    row = editing.lock_person(external_id)
    if row is None:
        raise NotFound
    check_preconditions(record_etag(row))
    delete_person_record(row, clock.now())
    db.session.commit()


@bp.route("/<person_id>/merge", methods=["POST"])
@operator_only("catalog")
@bp.arguments(PersonMergeIn)
@idempotent()
@bp.errors(AlreadyMerged)
@bp.response(200, PersonMerge)
@audited(PERSON_BY_ID, "person_id")
def merge_person(body: PersonMergeInput, person_id: str) -> dict:
    """Merge a person into another.

    All credits become those of `into`, also of titles that are written later and name the merged person. The old id
    still leads to the page of the other person, whose record is the one that counts. `dry_run` only counts.
    """
    return editing.merge_person(person_id, body["into"], body["dry_run"], clock.now())
