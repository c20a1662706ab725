"""GET /v1/catalog/genres and /people/{id}."""

from streamsvc.blueprints.catalog.answers import answer
from streamsvc.login import viewer_or_operator
from streamsvc.operations.catalog import browsing
from streamsvc.operations.catalog.audience import audience
from streamsvc.schemas.catalog import Genres
from streamsvc.web import Blueprint

bp = Blueprint("browse", __name__, url_prefix="/v1/catalog", description="Ways into the catalogue.")


@bp.route("/genres")
@viewer_or_operator("catalog")
@bp.response(200, Genres)
def list_genres():
    """The genres in which the viewer may see at least one title."""
    who = audience()
    return answer(who, lambda known: browsing.genres(who, known))
