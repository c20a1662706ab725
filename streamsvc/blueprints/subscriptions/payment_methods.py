"""The viewer's payment methods."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models.subscriptions import PaymentMethod
from streamsvc.operations.billing.core import payment_limits
from streamsvc.operations.billing.payments import methods, setups
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.rate_limits import CARD_SETUPS_BY_ACCOUNT, CARDS_BY_ACCOUNT
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.billing import AuthenticationRequired, PaymentFailed
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.subscriptions.subscriptions import PaymentMethodIn, PaymentMethodOut, PaymentSetupOut
from streamsvc.security.access import owner_only
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db

bp = Blueprint(
    "payment methods", __name__, url_prefix="/v1/payment-methods", description="Add, list and delete payment methods."
)


@bp.route("")
@bp.arguments(PageQuery, location="query")
@owner_only
@bp.response(200, page_of(PaymentMethodOut))
def list_payment_methods(query: PageInput) -> dict:
    """List your payment methods, newest first."""
    active_methods = PaymentMethod.select_owned(current_viewer().account_id)
    return paginate_query(active_methods, PaymentMethod.id, query, "payment methods")


@bp.route("", methods=["POST"])
@bp.arguments(PaymentMethodIn)
@idempotent()
@bp.errors(AuthenticationRequired, PaymentFailed, TooManyAttempts)
@bp.response(201, PaymentMethodOut)
def create_payment_method(body: dict) -> PaymentMethod:
    """Add a payment method.

    Takes a confirmed setup (`setup_id`) or the provider's `token`. A setup can be completed again: the response is the
    same payment method, also if the provider's webhook has reported it before. The first one becomes the default;
    overdue invoices are retried at once. 402 `authentication_required` or `payment_failed` if the bank has not
    authorized the setup. 429 `too_many_attempts` after ten in a day.
    """
    account_id, facts, now = current_viewer().account_id, current_request_facts(), clock.now()
    with payment_limits.limited_card_attempt(account_id, facts, CARDS_BY_ACCOUNT):
        if body["setup_id"]:
            method = setups.complete_setup(account_id, body["setup_id"], now)
        else:
            method = methods.attach_payment_method(account_id, body["token"], now)
    methods.collect_overdue_invoices(method, facts, now)
    return method


@bp.route("/setup", methods=["POST"])
@owner_only
@bp.errors(TooManyAttempts)
@bp.response(201, PaymentSetupOut)
def create_payment_setup() -> dict:
    """Start the setup of a card in the provider's form.

    The form confirms the setup with `client_secret`, and the bank may authenticate the customer there, so that later
    charges need nobody. Then add a payment method with `setup_id`. 429 `too_many_attempts` after twenty in a day.
    """
    account_id = current_viewer().account_id
    with payment_limits.limited_card_attempt(account_id, current_request_facts(), CARD_SETUPS_BY_ACCOUNT):
        return setups.start_setup(account_id)


@bp.route("/<method_id>", methods=["DELETE"])
@bp.response(204)
def delete_payment_method(method_id: str) -> None:
    """Delete a payment method."""
    methods.remove_payment_method(_get_own_payment_method(method_id), clock.now())
    db.session.commit()


@bp.route("/<method_id>/default", methods=["PUT"])
@idempotent()
@bp.response(200, PaymentMethodOut)
def set_default_payment_method(method_id: str) -> PaymentMethod:
    """Make a payment method the default.

    Overdue invoices are retried at once.
    """
    method = _get_own_payment_method(method_id)
    methods.set_default_payment_method(method)
    db.session.commit()
    methods.collect_overdue_invoices(method, current_request_facts(), clock.now())
    return method


def _get_own_payment_method(method_id: str) -> PaymentMethod:
    """Return one of the viewer's payment methods. Raises NotFound."""
    method = PaymentMethod.find_owned(current_viewer().account_id, method_id)
    if method is None:
        raise NotFound
    return method
