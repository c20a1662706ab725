"""The sandbox's payment provider."""

from streamsvc import clock
from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.http.edge import Blueprint
from streamsvc.models.subscriptions import Payment
from streamsvc.operations.billing.core.charging import complete_sandbox_authentication
from streamsvc.operations.billing.invoices import disputes
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.subscriptions.invoices import (
    PaymentOut,
    SandboxAuthenticationIn,
    SandboxDisputeIn,
    SandboxPaymentIn,
    SandboxPaymentsOut,
)
from streamsvc.security.access import operator_only
from streamsvc.storage.database import db

bp = Blueprint(
    "sandbox payments", __name__, url_prefix="/v1/sandbox/payments", description="The sandbox's payment provider."
)


@bp.route("")
@operator_only("sandbox")
@bp.response(200, SandboxPaymentsOut)
def get_provider_journal() -> dict:
    """List requests to the payment provider, newest first."""
    return provider_state_view()


@bp.route("", methods=["PUT"])
@bp.arguments(SandboxPaymentIn)
@operator_only("sandbox")
@bp.response(200, SandboxPaymentsOut)
def set_next_outcome(body: dict) -> dict:
    """Set the outcome of the next charge.

    `decline` declines it, `timeout` charges but loses the response, `error` fails before it arrives, `partial` captures
    only `amount_minor`, or half of it.
    """
    SandboxProvider().plan_outcome(body["next"], body["amount_minor"])
    return provider_state_view()


@bp.route("/<payment_id>/authentication", methods=["POST"])
@bp.arguments(SandboxAuthenticationIn)
@operator_only("sandbox")
@bp.response(200, PaymentOut)
def simulate_authentication(body: dict, payment_id: str) -> Payment:
    """Simulate the bank's decision on a pending charge."""
    return complete_sandbox_authentication(payment_id, body["approve"], clock.now())


@bp.route("/<payment_id>/dispute", methods=["POST"])
@bp.arguments(SandboxDisputeIn)
@operator_only("sandbox")
@bp.errors(WrongState)
@bp.response(200, PaymentOut)
def simulate_dispute(body: dict, payment_id: str) -> Payment:
    """Simulate a chargeback.

    Disputes the whole payment, or `amount_minor` of it.
    """
    return disputes.record_dispute(require_payment(payment_id), clock.now(), body["amount_minor"])


@bp.route("/<payment_id>/dispute", methods=["DELETE"])
@operator_only("sandbox")
@bp.errors(WrongState)
@bp.response(200, PaymentOut)
def simulate_dispute_won(payment_id: str) -> Payment:
    """Simulate a dispute won by the merchant."""
    return disputes.record_dispute_won(require_payment(payment_id), clock.now())


def require_payment(payment_id: str) -> str:
    """Return the id of an existing payment. Raises NotFound."""
    if db.session.get(Payment, payment_id) is None:
        raise NotFound
    return payment_id


def provider_state_view() -> dict:
    """Return the provider's requests and planned outcomes."""
    provider = SandboxProvider()
    return {"items": provider.list_requests(), "next": provider.list_planned_outcomes(), "next_cursor": None}
