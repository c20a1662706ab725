"""/v1/subscriptions/{id}/coupons · /addons · /price-migration."""

from streamsvc.blueprints.subscriptions.changes import take
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.billing.subscriptions import addons, coupons, price_migrations
from streamsvc.schemas.subscriptions.subscriptions import AddonIn, AddonRemoval, SubscriptionCouponIn, SubscriptionOut
from streamsvc.security.authentication import current_viewer

bp = Blueprint("extras", __name__, url_prefix="/v1/subscriptions", description="What goes along, what comes off.")


@bp.route("/<subscription_id>/coupons", methods=["POST"])
@bp.arguments(SubscriptionCouponIn)
@idempotent()
@bp.response(201, SubscriptionOut)
def add_coupon(body, subscription_id):
    """One more coupon, taken off after the others, from the next invoice on."""
    return take(subscription_id, lambda at: coupons.add_coupon(at, body["coupon"]))


@bp.route("/<subscription_id>/coupons/<code>", methods=["DELETE"])
@bp.response(200, SubscriptionOut)
def drop_coupon(subscription_id, code):
    """Do without a coupon from the next invoice on."""
    return take(subscription_id, lambda at: coupons.remove_coupon(at, code))


@bp.route("/<subscription_id>/addons", methods=["POST"])
@bp.arguments(AddonIn)
@idempotent(required=True)
@bp.response(201, SubscriptionOut)
def add_addon(body, subscription_id):
    """Add a price of another plan, charged to the end of the running period. One that is declined was not added."""
    return take(subscription_id, lambda at: addons.add_addon(at, body["price_id"], current_viewer().account_id))


@bp.route("/<subscription_id>/addons/<plan>", methods=["DELETE"])
@bp.arguments(AddonRemoval, location="query")
@bp.response(200, SubscriptionOut)
def remove_addon(query, subscription_id, plan):
    """Remove an add-on now, with credit from tomorrow on, or at the period's end."""
    return take(subscription_id, lambda at: addons.remove_addon(at, plan, query["when"], current_viewer().account_id))


@bp.route("/<subscription_id>/price-migration", methods=["DELETE"])
@bp.response(200, SubscriptionOut)
def keep_price(subscription_id):
    """Keep the price, where a change of it waits that may be declined."""
    return take(subscription_id, lambda at: price_migrations.decline_migration(at, current_viewer().account_id))
