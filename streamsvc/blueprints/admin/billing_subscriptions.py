"""POST /v1/admin/subscriptions · /{id}/cancellation · /v1/admin/price-migrations."""

from sqlalchemy.exc import IntegrityError

from streamsvc import clock
from streamsvc.database import db
from streamsvc.idempotency import current_key, idempotent
from streamsvc.login import asking_operator, operator
from streamsvc.models import Account
from streamsvc.models.subscriptions import Subscription
from streamsvc.operations import audit
from streamsvc.operations.billing import changes
from streamsvc.operations.billing.migrations import migrate
from streamsvc.operations.billing.subscribe import subscribe
from streamsvc.operations.billing.views import subscription_view
from streamsvc.rules.refusals import AlreadySubscribed, NotFound
from streamsvc.schemas.subscriptions import SubscriptionOut
from streamsvc.schemas.subscriptions_admin import (
    AdminCancellationIn,
    AdminSubscriptionIn,
    PriceMigrationIn,
    PriceMigrationOut,
)
from streamsvc.web import Blueprint

bp = Blueprint("admin subscriptions", __name__, url_prefix="/v1/admin", description="Subscriptions, for operators.")


@bp.route("/subscriptions", methods=["POST"])
@bp.arguments(AdminSubscriptionIn)
@operator("billing")
@idempotent(required=True)
@bp.response(201, SubscriptionOut)
def create_for_account(asked):
    """Subscribe an account, as its owner would."""
    if db.session.get(Account, asked["account_id"]) is None:
        raise NotFound
    me = asking_operator().id
    try:
        subscription = subscribe(asked["account_id"], asked, clock.now(), me, current_key())
    except IntegrityError:  # two requests at once: the database has the last word
        raise AlreadySubscribed from None
    audit.record("subscription_created", subscription.account_id, actor=me, subscription=subscription.id)
    return subscription_view(subscription)


@bp.route("/subscriptions/<subscription_id>")
@operator("billing")
@bp.response(200, SubscriptionOut)
def get_any(subscription_id):
    """Any account's subscription."""
    return subscription_view(found(subscription_id))


@bp.route("/subscriptions/<subscription_id>/cancellation", methods=["POST"])
@bp.arguments(AdminCancellationIn)
@operator("billing")
@idempotent(required=True)
@bp.response(200, SubscriptionOut)
def cancel(asked, subscription_id):
    """Cancel for an account; a date in the past credits the days since then."""
    row, me = found(subscription_id), asking_operator().id
    shown = changes.carry_out(row.id, lambda at: changes.cancel(at, asked, me, backdate=True), clock.now())
    audit.record("subscription_canceled", row.account_id, actor=me, subscription=row.id)
    return subscription_view(shown)


@bp.route("/price-migrations", methods=["POST"])
@bp.arguments(PriceMigrationIn)
@operator("billing")
@idempotent()
@bp.response(201, PriceMigrationOut)
def migrate_price(asked):
    """Move everyone from one price to another, at their first renewal on or after the day."""
    moved = migrate(asked, clock.now(), asking_operator().id)
    audit.record("price_migrated", actor=asking_operator().id, **{k: str(v) for k, v in asked.items()})
    return moved


def found(subscription_id):
    row = db.session.get(Subscription, subscription_id)
    if row is None:
        raise NotFound
    return row
