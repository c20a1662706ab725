"""Coupons and add-ons of a subscription; opting out of a price change."""

from streamsvc.blueprints.subscriptions.changes import _apply, _apply_charged
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.billing.subscriptions import addons, coupons, price_migrations
from streamsvc.rules.billing.inputs import AddonChangeInput, AddonInput
from streamsvc.rules.refusals.billing import (
    CouponInvalid,
    ManagedByStore,
    PaymentInProgress,
    PaymentOverdue,
    WrongState,
)
from streamsvc.rules.refusals.charges import CHARGE_ERRORS
from streamsvc.schemas.subscriptions.subscriptions import (
    AddonChangeIn,
    AddonIn,
    AddonRemovalQuery,
    SubscriptionCouponIn,
    SubscriptionOut,
)
from streamsvc.security.principals import current_viewer

bp = Blueprint(
    "coupons and add-ons",
    __name__,
    url_prefix="/v1/subscriptions",
    description="Coupons and add-ons of a subscription.",
)


@bp.route("/<subscription_id>/coupons", methods=["POST"])
@bp.arguments(SubscriptionCouponIn)
@idempotent()
@bp.errors(ManagedByStore, CouponInvalid, PaymentInProgress, WrongState)
@bp.response(201, SubscriptionOut)
def add_coupon(body: dict, subscription_id: str) -> dict:
    """Add a coupon to a subscription.

    Applied after the existing ones, from the next invoice on.
    """
    return _apply(subscription_id, lambda aggregate: coupons.add_coupon(aggregate, body["coupon"]))


@bp.route("/<subscription_id>/coupons/<code>", methods=["DELETE"])
@idempotent()
@bp.errors(ManagedByStore, PaymentInProgress)
@bp.response(200, SubscriptionOut)
def remove_coupon(subscription_id: str, code: str) -> dict:
    """Remove a coupon from a subscription.

    Takes effect with the next invoice.
    """
    return _apply(subscription_id, lambda aggregate: coupons.remove_coupon(aggregate, code))


@bp.route("/<subscription_id>/addons", methods=["POST"])
@bp.arguments(AddonIn)
@idempotent(required=True)
@bp.errors(ManagedByStore, *CHARGE_ERRORS, PaymentOverdue, WrongState)
@bp.response(201, SubscriptionOut)
def add_addon(body: AddonInput, subscription_id: str) -> dict:
    """Add an add-on to a subscription.

    Takes the price of another plan, charged for the rest of the current period, or from the end of its own trial on. If
    the payment is declined, it is not added: 402 `payment_failed`.
    """
    return _apply_charged(
        subscription_id, lambda aggregate: addons.add_addon(aggregate, body, current_viewer().account_id)
    )


@bp.route("/<subscription_id>/addons/<plan>", methods=["PATCH"])
@bp.arguments(AddonChangeIn)
@idempotent()
@bp.errors(ManagedByStore, *CHARGE_ERRORS, PaymentOverdue, WrongState)
@bp.response(200, SubscriptionOut)
def change_addon(body: AddonChangeInput, subscription_id: str, plan: str) -> dict:
    """Change the quantity or the end date of an add-on.

    More units are charged for the rest of the period; if the payment is declined, nothing changes: 402
    `payment_failed`. Fewer units are credited from tomorrow on. Paid days beyond the end date are credited when it
    comes.
    """
    return _apply_charged(
        subscription_id, lambda aggregate: addons.change_addon(aggregate, plan, body, current_viewer().account_id)
    )


@bp.route("/<subscription_id>/addons/<plan>", methods=["DELETE"])
@bp.arguments(AddonRemovalQuery, location="query")
@idempotent()
@bp.errors(ManagedByStore, *CHARGE_ERRORS, PaymentOverdue, WrongState)
@bp.response(200, SubscriptionOut)
def remove_addon(query: dict, subscription_id: str, plan: str) -> dict:
    """Remove an add-on from a subscription.

    Takes effect now, with credit from tomorrow on, or at the end of the period or of its trial.
    """
    return _apply_charged(
        subscription_id,
        lambda aggregate: addons.remove_addon(aggregate, plan, query["when"], current_viewer().account_id),
    )


@bp.route("/<subscription_id>/addons/<plan>/removal", methods=["DELETE"])
@idempotent()
@bp.errors(ManagedByStore, *CHARGE_ERRORS, PaymentOverdue, WrongState)
@bp.response(200, SubscriptionOut)
def restore_addon(subscription_id: str, plan: str) -> dict:
    """Undo the scheduled removal of an add-on."""
    return _apply_charged(
        subscription_id, lambda aggregate: addons.restore_addon(aggregate, plan, current_viewer().account_id)
    )


@bp.route("/<subscription_id>/price-migration", methods=["DELETE"])
@idempotent()
@bp.errors(ManagedByStore, PaymentInProgress, WrongState)
@bp.response(200, SubscriptionOut)
def decline_price_migration(subscription_id: str) -> dict:
    """Decline a price change.

    Keeps the current price, if the announced change can be declined.
    """
    return _apply(
        subscription_id, lambda aggregate: price_migrations.decline_migration(aggregate, current_viewer().account_id)
    )
