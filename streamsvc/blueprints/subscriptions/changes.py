"""Plan change, billing day, cancellation, pause, and previews of invoices."""

from collections.abc import Callable

from streamsvc import clock
from streamsvc.blueprints.subscriptions.subscriptions import get_own_subscription
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate
from streamsvc.operations.billing.subscriptions import changes
from streamsvc.operations.billing.subscriptions.preview import build_invoice_preview
from streamsvc.operations.billing.subscriptions.views import subscription_view
from streamsvc.rules.billing.calendar import resolve_moment
from streamsvc.rules.billing.inputs import CancellationInput, PlanChangeInput, PreviewInput
from streamsvc.rules.refusals.billing import (
    AlreadySubscribed,
    AuthenticationRequired,
    CouponInvalid,
    GiftCodeInvalid,
    PaymentFailed,
    PaymentInProgress,
    PaymentOverdue,
    ReferralCodeInvalid,
    WrongState,
)
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.subscriptions.invoices import PreviewIn, PreviewOut
from streamsvc.schemas.subscriptions.subscriptions import (
    AnchorIn,
    CancellationIn,
    PauseIn,
    PlanChangeIn,
    SubscriptionOut,
)
from streamsvc.security.authentication import current_viewer

bp = Blueprint(
    "subscription changes",
    __name__,
    url_prefix="/v1",
    description="Change, cancel and pause subscriptions; preview invoices.",
)


def _apply(subscription_id: str, step: Callable[[SubscriptionAggregate], None]) -> dict:
    """Apply a change to one of the viewer's subscriptions and return its view."""
    return subscription_view(changes.apply_change(get_own_subscription(subscription_id).id, step, clock.now()))


@bp.route("/subscriptions/<subscription_id>/plan-change", methods=["POST"])
@bp.arguments(PlanChangeIn)
@idempotent(required=True)
@bp.errors(AuthenticationRequired, PaymentFailed, PaymentInProgress, PaymentOverdue, WrongState)
@bp.response(200, SubscriptionOut)
def change_plan(body: PlanChangeInput, subscription_id: str) -> dict:
    """Change the plan of a subscription.

    `auto` upgrades now and downgrades at the end of the period. If the payment is declined, the change does not
    take effect: 402 `payment_failed`.
    """
    return _apply(subscription_id, lambda aggregate: changes.change_plan(aggregate, body, current_viewer().account_id))


@bp.route("/subscriptions/<subscription_id>/plan-change", methods=["DELETE"])
@bp.errors(PaymentInProgress, WrongState)
@bp.response(200, SubscriptionOut)
def delete_plan_change(subscription_id: str) -> dict:
    """Cancel a scheduled plan change."""
    return _apply(
        subscription_id, lambda aggregate: changes.cancel_scheduled_change(aggregate, current_viewer().account_id)
    )


@bp.route("/subscriptions/<subscription_id>/anchor", methods=["PUT"])
@bp.arguments(AnchorIn)
@bp.errors(AuthenticationRequired, PaymentFailed, PaymentInProgress, PaymentOverdue, WrongState)
@bp.response(200, SubscriptionOut)
def move_anchor(body: dict, subscription_id: str) -> dict:
    """Change the billing day of a subscription.

    Paid days stay paid; a stub period bridges to the new day.
    """
    return _apply(
        subscription_id, lambda aggregate: changes.set_anchor_day(aggregate, body["day"], current_viewer().account_id)
    )


@bp.route("/subscriptions/<subscription_id>/cancellation", methods=["POST"])
@bp.arguments(CancellationIn)
@idempotent(required=True)
@bp.errors(PaymentInProgress, WrongState)
@bp.response(200, SubscriptionOut)
def cancel_subscription(body: CancellationInput, subscription_id: str) -> dict:
    """Cancel a subscription.

    Takes effect at the end of the period, or now: unused days are then credited, and today counts as used.
    """
    return _apply(
        subscription_id, lambda aggregate: changes.cancel_subscription(aggregate, body, current_viewer().account_id)
    )


@bp.route("/subscriptions/<subscription_id>/cancellation", methods=["DELETE"])
@bp.errors(PaymentInProgress, WrongState)
@bp.response(200, SubscriptionOut)
def delete_cancellation(subscription_id: str) -> dict:
    """Undo a scheduled cancellation."""
    return _apply(subscription_id, lambda aggregate: changes.undo_cancellation(aggregate, current_viewer().account_id))


@bp.route("/subscriptions/<subscription_id>/pause", methods=["POST"])
@bp.arguments(PauseIn)
@idempotent()
@bp.errors(PaymentInProgress, PaymentOverdue, WrongState)
@bp.response(200, SubscriptionOut)
def pause_subscription(body: dict, subscription_id: str) -> dict:
    """Pause a subscription.

    Paid days are kept and continue after the pause.
    """

    def start_pause(aggregate: SubscriptionAggregate) -> None:
        changes.pause_subscription(
            aggregate, resolve_moment(body["resumes_at"], aggregate.subscription.time_zone), current_viewer().account_id
        )

    return _apply(subscription_id, start_pause)


@bp.route("/subscriptions/<subscription_id>/pause", methods=["DELETE"])
@bp.errors(AuthenticationRequired, PaymentFailed, PaymentInProgress, WrongState)
@bp.response(200, SubscriptionOut)
def resume_subscription(subscription_id: str) -> dict:
    """Resume a paused subscription.

    The paid period is extended by the length of the pause.
    """
    return _apply(
        subscription_id, lambda aggregate: changes.resume_subscription(aggregate, current_viewer().account_id)
    )


@bp.route("/invoice-previews", methods=["POST"])
@bp.arguments(PreviewIn)
@bp.errors(AlreadySubscribed, CouponInvalid, GiftCodeInvalid, NotFound, PaymentOverdue, ReferralCodeInvalid, WrongState)
@bp.response(200, PreviewOut)
def preview_invoice(body: PreviewInput) -> dict:
    """Preview an invoice.

    Returns the invoice that the same request would create, to the cent, and the renewal after it. Nothing is
    changed.
    """
    return build_invoice_preview(current_viewer().account_id, body, clock.now())
