"""Legal entities: which company sells to which countries."""

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import LEGAL_ENTITY
from streamsvc.http.edge import Blueprint
from streamsvc.models.subscriptions import LegalEntity
from streamsvc.operations.billing import legal_entities
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.rules.billing.inputs import LegalEntityInput
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.legal_entities import LegalEntitiesOut, LegalEntityIn, LegalEntityOut
from streamsvc.schemas.base import Slug, parse_path_value
from streamsvc.security.access import operator_only
from streamsvc.storage.database import db

bp = Blueprint(
    "admin legal entities",
    __name__,
    url_prefix="/v1/admin/legal-entities",
    description="Further companies that sell, each to countries of its own.",
)


@bp.route("")
@operator_only("billing")
@bp.response(200, LegalEntitiesOut)
def list_legal_entities() -> dict:
    """List legal entities."""
    return {"items": legal_entities.list_legal_entities()}


@bp.route("/<code>")
@operator_only("billing")
@bp.response(200, LegalEntityOut)
def get_legal_entity(code: str) -> LegalEntity:
    """Retrieve a legal entity."""
    return legal_entities.get_legal_entity(code)


@bp.route("/<code>", methods=["PUT"])
@bp.arguments(LegalEntityIn)
@operator_only("billing")
@bp.response(200, LegalEntityOut)
@audited(LEGAL_ENTITY, "code")
def put_legal_entity(body: LegalEntityInput, code: str) -> LegalEntity:
    """Create or replace a legal entity.

    It is the seller on invoices to its countries from now on; issued invoices keep theirs. Another `prefix` begins
    another number series.
    """
    parse_path_value(Slug(), "code", code)
    entity = legal_entities.replace_legal_entity(code, body, clock.now())
    db.session.commit()
    return entity


@bp.route("/<code>", methods=["DELETE"])
@operator_only("billing")
@bp.errors(NotFound, WrongState)
@bp.response(204)
@audited(LEGAL_ENTITY, "code")
def delete_legal_entity(code: str) -> None:
    """Delete a legal entity.

    Only one that never issued anything; otherwise 409 `wrong_state`: give it no countries instead.
    """
    legal_entities.delete_legal_entity(code)
    db.session.commit()
