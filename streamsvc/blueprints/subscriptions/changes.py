"""Plan change, billing day, cancellation, pause, and previews of invoices."""

from collections.abc import Callable

from streamsvc import clock
from streamsvc.blueprints.subscriptions.subscriptions import get_own_subscription
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.request_facts import current_request_facts
from streamsvc.operations.billing.core import payment_limits
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate
from streamsvc.operations.billing.stores.refreshing import retry_after_refresh
from streamsvc.operations.billing.subscriptions import changes
from streamsvc.operations.billing.subscriptions.preview import build_invoice_preview
from streamsvc.operations.billing.subscriptions.views import subscription_view
from streamsvc.rules.billing.calendar import resolve_moment
from streamsvc.rules.billing.inputs import CancellationInput, PlanChangeInput, PreviewInput
from streamsvc.rules.refusals.billing import (
    ManagedByStore,
    PauseLimitReached,
    PaymentInProgress,
    PaymentMethodRequired,
    PaymentOverdue,
    WrongState,
)
from streamsvc.rules.refusals.charges import CHARGE_ERRORS, PREVIEW_ERRORS
from streamsvc.schemas.subscriptions.invoices import PreviewIn, PreviewOut
from streamsvc.schemas.subscriptions.subscriptions import (
    AnchorIn,
    CancellationIn,
    PauseIn,
    PlanChangeIn,
    SubscriptionOut,
)
from streamsvc.security.principals import current_viewer

bp = Blueprint(
    "subscription changes",
    __name__,
    url_prefix="/v1",
    description="Change, cancel and pause subscriptions; preview invoices.",
)


def _apply(subscription_id: str, step: Callable[[SubscriptionAggregate], None]) -> dict:
    """Apply a change to one of the viewer's subscriptions and return its view."""
    return subscription_view(changes.apply_change(get_own_subscription(subscription_id).id, step, clock.now()))


def _apply_charged(subscription_id: str, step: Callable[[SubscriptionAggregate], None]) -> dict:
    """Apply a change that may charge a card; see `_apply`. Raises TooManyAttempts after too many declined payments."""
    with payment_limits.limited_payment_attempt(current_viewer().account_id, current_request_facts()):
        return _apply(subscription_id, step)


@bp.route("/subscriptions/<subscription_id>/plan-change", methods=["POST"])
@bp.arguments(PlanChangeIn)
@idempotent(required=True)
@bp.errors(ManagedByStore, *CHARGE_ERRORS, PaymentOverdue, WrongState)
@bp.response(200, SubscriptionOut)
def change_plan(body: PlanChangeInput, subscription_id: str) -> dict:
    """Change the plan of a subscription.

    `auto` upgrades now and downgrades at the end of the period. A change that costs money takes effect when its
    payment succeeds; until then it is `change_awaiting_payment`. If it is declined, the change does not take effect:
    402 `payment_failed`. With `now`, today counts as used: a cheaper price is charged from tomorrow on.
    """
    return _apply_charged(
        subscription_id, lambda aggregate: changes.change_plan(aggregate, body, current_viewer().account_id)
    )


@bp.route("/subscriptions/<subscription_id>/plan-change", methods=["DELETE"])
@idempotent()
@bp.errors(ManagedByStore, PaymentInProgress, WrongState)
@bp.response(200, SubscriptionOut)
def delete_plan_change(subscription_id: str) -> dict:
    """Cancel a scheduled plan change."""
    return _apply(
        subscription_id, lambda aggregate: changes.cancel_scheduled_change(aggregate, current_viewer().account_id)
    )


@bp.route("/subscriptions/<subscription_id>/anchor", methods=["PUT"])
@bp.arguments(AnchorIn)
@idempotent()
@bp.errors(ManagedByStore, *CHARGE_ERRORS, PaymentOverdue, WrongState)
@bp.response(200, SubscriptionOut)
def move_anchor(body: dict, subscription_id: str) -> dict:
    """Change the billing day of a subscription.

    Paid days stay paid. When they end, a stub period bridges to the new day and is billed; until then the move is
    planned, see `pending_anchor`. Prices billed by the year may have a `month` too.
    """
    return _apply_charged(
        subscription_id,
        lambda aggregate: changes.set_anchor(aggregate, body["day"], body["month"], current_viewer().account_id),
    )


@bp.route("/subscriptions/<subscription_id>/anchor", methods=["DELETE"])
@idempotent()
@bp.errors(ManagedByStore, *CHARGE_ERRORS, WrongState)
@bp.response(200, SubscriptionOut)
def delete_anchor_move(subscription_id: str) -> dict:
    """Withdraw a planned change of the billing day.

    409 `wrong_state` if none is planned.
    """
    return _apply_charged(
        subscription_id, lambda aggregate: changes.cancel_anchor_move(aggregate, current_viewer().account_id)
    )


@bp.route("/subscriptions/<subscription_id>/cancellation", methods=["POST"])
@bp.arguments(CancellationIn)
@idempotent(required=True)
@bp.errors(ManagedByStore, PaymentInProgress, WrongState)
@bp.response(200, SubscriptionOut)
def cancel_subscription(body: CancellationInput, subscription_id: str) -> dict:
    """Cancel a subscription.

    Takes effect at the end of the period, or now: unused days are then credited, and today counts as used.
    """
    return _apply(
        subscription_id, lambda aggregate: changes.cancel_subscription(aggregate, body, current_viewer().account_id)
    )


@bp.route("/subscriptions/<subscription_id>/cancellation", methods=["DELETE"])
@idempotent()
@bp.errors(ManagedByStore, PaymentInProgress, PaymentMethodRequired, WrongState)
@bp.response(200, SubscriptionOut)
def delete_cancellation(subscription_id: str) -> dict:
    """Undo a scheduled cancellation.

    Also lets a gift subscription go on after the gift; 402 `payment_method_required` if the account has no card then.
    """
    return _apply(subscription_id, lambda aggregate: changes.undo_cancellation(aggregate, current_viewer().account_id))


@bp.route("/subscriptions/<subscription_id>/pause", methods=["POST"])
@bp.arguments(PauseIn)
@idempotent()
@bp.errors(ManagedByStore, PaymentInProgress, PaymentOverdue, PauseLimitReached, WrongState)
@bp.response(200, SubscriptionOut)
def pause_subscription(body: dict, subscription_id: str) -> dict:
    """Pause a subscription.

    Paid days from tomorrow on are kept and continue after the pause; today counts as used. 422 if `resumes_at` is
    sooner than a pause's minimum length; 409 `pause_limit_reached` after too many or too recent pauses.
    """

    def start_pause(aggregate: SubscriptionAggregate) -> None:
        changes.pause_subscription(
            aggregate, resolve_moment(body["resumes_at"], aggregate.subscription.time_zone), current_viewer().account_id
        )

    return _apply(subscription_id, start_pause)


@bp.route("/subscriptions/<subscription_id>/pause", methods=["DELETE"])
@idempotent()
@bp.errors(ManagedByStore, *CHARGE_ERRORS, WrongState)
@bp.response(200, SubscriptionOut)
def resume_subscription(subscription_id: str) -> dict:
    """Resume a paused subscription.

    The paid period is extended by the days of the pause, if it had the minimum length. If nothing paid is left, the
    next period is charged, and the pause ends once that is paid.
    """
    return _apply_charged(
        subscription_id, lambda aggregate: changes.resume_subscription(aggregate, current_viewer().account_id)
    )


@bp.route("/invoice-previews", methods=["POST"])
@bp.arguments(PreviewIn)
@bp.errors(*PREVIEW_ERRORS)
@bp.response(200, PreviewOut)
def preview_invoice(body: PreviewInput) -> dict:
    """Preview an invoice.

    Returns the invoice that the same request would create, to the cent, and the renewal after it. Nothing is
    changed.
    """
    account_id, now = current_viewer().account_id, clock.now()
    if body["gift_code"]:
        payment_limits.count_gift_code_attempt(account_id, current_request_facts())
    return retry_after_refresh(account_id, now, lambda: build_invoice_preview(account_id, body, now))
