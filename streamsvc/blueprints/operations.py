"""Is the service there? Liveness, readiness, and the description of the API."""

from marshmallow import fields

from streamsvc.login import public
from streamsvc.schemas.base import StrictSchema
from streamsvc.web import Blueprint

bp = Blueprint("operations", __name__, description="Health and description.")

BLUEPRINTS = (bp,)


class Health(StrictSchema):
    status = fields.String(required=True)


@bp.route("/livez")
@public
@bp.response(200, Health)
def livez():
    """The process answers. Touches nothing else."""
    return {"status": "ok"}
