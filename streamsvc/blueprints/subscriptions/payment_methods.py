"""GET·POST /v1/payment-methods · DELETE …/{id} · PUT …/{id}/default."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models.subscriptions import PaymentMethod
from streamsvc.operations.billing.payments import methods
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.subscriptions.subscriptions import PaymentMethodIn, PaymentMethodOut, PaymentSetupOut
from streamsvc.security.authentication import current_viewer, owner_only
from streamsvc.storage.database import db

bp = Blueprint("payment methods", __name__, url_prefix="/v1/payment-methods", description="What can be charged.")


@bp.route("")
@bp.arguments(PageQuery, location="query")
@owner_only
@bp.response(200, page_of(PaymentMethodOut))
def list_payment_methods(query):
    """The account's payment methods, latest first."""
    kept = PaymentMethod.kept(current_viewer().account_id)
    return paginate_query(kept, PaymentMethod.id, query, "payment methods")


@bp.route("", methods=["POST"])
@bp.arguments(PaymentMethodIn)
@idempotent()
@bp.response(201, PaymentMethodOut)
def add_payment_method(body):
    """Keep a method under the provider's token. The first becomes the default; what is overdue is tried at once."""
    me, now = current_viewer().account_id, clock.now()
    method = methods.attach_payment_method(me, body["token"], now)
    db.session.commit()
    methods.collect_overdue_invoices(method, now)
    return method


@bp.route("/setup", methods=["POST"])
@owner_only
@bp.response(201, PaymentSetupOut)
def set_up():
    """A secret for the provider's own form, where the payer's bank may ask them; what it gives is then added here."""
    return methods.start_card_setup(current_viewer().account_id)


@bp.route("/<method_id>", methods=["DELETE"])
@bp.response(204)
def remove_payment_method(method_id):
    """Forget a method."""
    methods.remove_payment_method(mine(method_id), clock.now())
    db.session.commit()


@bp.route("/<method_id>/default", methods=["PUT"])
@bp.response(200, PaymentMethodOut)
def choose_default(method_id):
    """Charge this one from now on; what is overdue is tried at once."""
    method = mine(method_id)
    methods.set_default_payment_method(method)
    db.session.commit()
    methods.collect_overdue_invoices(method, clock.now())
    return method


def mine(method_id):
    method = PaymentMethod.of(current_viewer().account_id, method_id)
    if method is None:
        raise NotFound
    return method
