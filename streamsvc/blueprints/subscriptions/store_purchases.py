"""Purchases in app stores, which the app reports."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.billing.core import payment_limits
from streamsvc.operations.billing.stores.claiming import claim_purchase
from streamsvc.operations.billing.subscriptions.store_views import store_subscription_view
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.billing import AlreadySubscribed, OwnedByAnotherAccount, PurchaseInvalid
from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.schemas.subscriptions.stores import StorePurchaseIn
from streamsvc.schemas.subscriptions.subscriptions import SubscriptionOut
from streamsvc.security.principals import current_viewer

bp = Blueprint(
    "store purchases",
    __name__,
    url_prefix="/v1/store-purchases",
    description="Subscriptions bought in the App Store and on Google Play.",
)


@bp.route("", methods=["POST"])
@bp.arguments(StorePurchaseIn)
@idempotent()
@bp.errors(AlreadySubscribed, OwnedByAnotherAccount, PurchaseInvalid, TooManyAttempts, Unavailable)
@bp.response(201, SubscriptionOut)
def claim_store_purchase(body: dict) -> dict:
    """Claim a purchase of an app store.

    Send it after each purchase, and again to restore one; the store is asked for its state. 409
    `owned_by_another_account` unless purchases may be moved; 409 `already_subscribed` if two subscriptions are live
    already; 422 `purchase_invalid` has the `reason`; 503 while the store does not respond.
    """
    account_id, now = current_viewer().account_id, clock.now()
    payment_limits.count_store_purchase(account_id)
    row = claim_purchase(account_id, body["source"], body["signed_transaction"] or body["purchase_token"], now)
    return store_subscription_view(row, current_viewer().row.time_zone)
