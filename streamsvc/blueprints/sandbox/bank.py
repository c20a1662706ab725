"""The sandbox's bank, at which customers confirm their own payments as they would with 3-D Secure."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.models.subscriptions import Payment
from streamsvc.operations.billing.core.charging import complete_sandbox_authentication
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.subscriptions.invoices import PaymentOut, SandboxAuthenticationIn
from streamsvc.security.access import owner_only
from streamsvc.security.principals import current_viewer

bp = Blueprint("sandbox bank", __name__, url_prefix="/v1/sandbox/bank", description="The customer's bank.")


@bp.route("/payments/<payment_id>", methods=["POST"])
@bp.arguments(SandboxAuthenticationIn)
@owner_only
@bp.response(200, PaymentOut)
def decide_own_payment(body: dict, payment_id: str) -> Payment:
    """Approve or reject a payment of your own at the sandbox's bank.

    What the page of a bank does for 3-D Secure. 404 unless the payment is yours and waits for its customer.
    """
    if not Payment.is_owned(current_viewer().account_id, payment_id):
        raise NotFound
    return complete_sandbox_authentication(payment_id, body["approve"], clock.now())
