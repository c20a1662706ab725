"""Subscriptions for operators: create, cancel, transfer, release; price migrations."""

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import PRICE_MIGRATION, SUBSCRIPTION
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import current_key_id, idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import Account
from streamsvc.models.subscriptions import PriceMigration, StoreSubscription, Subscription
from streamsvc.operations.billing.books import holds
from streamsvc.operations.billing.core.sources import raise_if_managed_by_store
from streamsvc.operations.billing.stores import refreshing
from streamsvc.operations.billing.stores.purchases import transfer_store_subscription
from streamsvc.operations.billing.subscriptions import changes
from streamsvc.operations.billing.subscriptions.price_migrations import (
    migration_view,
    migration_views,
    preview_migration,
    start_migration,
    withdraw_migration,
)
from streamsvc.operations.billing.subscriptions.store_views import (
    admin_store_subscription_view,
    any_subscription_view,
    paginate_subscriptions,
)
from streamsvc.operations.billing.subscriptions.subscribe import subscribe_account
from streamsvc.operations.billing.subscriptions.transfer import transfer_subscription
from streamsvc.operations.billing.subscriptions.views import admin_subscription_view, preloaded_views
from streamsvc.operations.outbox import audit
from streamsvc.operations.outbox.audited_changes import audited, created_id
from streamsvc.rules.billing.inputs import (
    AdminSubscriptionInput,
    CancellationInput,
    PriceMigrationInput,
    PriceMigrationPreviewInput,
    SubscriptionsInput,
)
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.billing import (
    AlreadySubscribed,
    DoesNotAddUp,
    ManagedByStore,
    PaymentInProgress,
    WrongState,
)
from streamsvc.rules.refusals.charges import START_ERRORS
from streamsvc.rules.refusals.requests import NotFound, Unavailable
from streamsvc.schemas.admin.subscriptions import (
    AdminCancellationIn,
    AdminSubscriptionIn,
    AdminSubscriptionOut,
    PriceMigrationCreatedOut,
    PriceMigrationIn,
    PriceMigrationOut,
    PriceMigrationPreviewOut,
    PriceMigrationPreviewQuery,
    SubscriptionsQuery,
    TransferIn,
)
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db

bp = Blueprint(
    "admin subscriptions", __name__, url_prefix="/v1/admin", description="Manage subscriptions and price migrations."
)


@bp.route("/subscriptions")
@bp.arguments(SubscriptionsQuery, location="query")
@operator_only("billing")
@bp.response(200, page_of(AdminSubscriptionOut))
def list_all_subscriptions(query: SubscriptionsInput) -> dict:
    """List subscriptions of all accounts, newest first.

    Filter by `account_id`, or list those on billing hold with `parked=true`.
    """
    is_held = Subscription.billing_held_at.is_not(None)
    conditions = [] if query["parked"] is None else [is_held if query["parked"] else sa.not_(is_held)]
    page = paginate_subscriptions(
        query, query["account_id"], "all subscriptions", conditions, with_stores=not query["parked"]
    )
    with preloaded_views(page["items"]):
        return page | {"items": [any_subscription_view(row) for row in page["items"]]}


@bp.route("/subscriptions", methods=["POST"])
@bp.arguments(AdminSubscriptionIn)
@operator_only("billing")
@idempotent(required=True)
@bp.errors(*START_ERRORS, NotFound)
@bp.response(201, AdminSubscriptionOut)
@audited(SUBSCRIPTION, created_id, "subscription_created")
def create_account_subscription(body: AdminSubscriptionInput) -> dict:
    """Subscribe an account.

    Same rules and errors as when the owner subscribes.
    """
    if db.session.get(Account, body["account_id"]) is None:
        raise NotFound
    operator_id, now, account_id = current_operator().id, clock.now(), body["account_id"]
    try:
        subscription = refreshing.retry_after_refresh(
            account_id,
            now,
            lambda: subscribe_account(account_id, body, now, operator_id, current_key_id(), body["paid_through"]),
        )
    except IntegrityError:  # a concurrent request subscribed first; the unique index decides
        raise AlreadySubscribed from None
    audit.record_event("subscription_created", account_id, actor=operator_id, subscription=subscription.id)
    return admin_subscription_view(subscription)


@bp.route("/subscriptions/<subscription_id>")
@operator_only("billing")
@bp.response(200, AdminSubscriptionOut)
def get_any_subscription(subscription_id: str) -> dict:
    """Retrieve a subscription of any account."""
    store_subscription = db.session.get(StoreSubscription, subscription_id)
    return any_subscription_view(store_subscription or require_subscription(subscription_id))


@bp.route("/subscriptions/<subscription_id>/cancellation", methods=["POST"])
@bp.arguments(AdminCancellationIn)
@operator_only("billing")
@idempotent(required=True)
@bp.errors(ManagedByStore, PaymentInProgress, WrongState)
@bp.response(200, AdminSubscriptionOut)
@audited(SUBSCRIPTION, "subscription_id", "subscription_canceled")
def cancel_any_subscription(body: CancellationInput, subscription_id: str) -> dict:
    """Cancel a subscription of any account.

    An `effective_date` in the past credits the days since then.
    """
    row, operator_id = require_subscription(subscription_id), current_operator().id
    subscription = changes.apply_change(
        row.id, lambda aggregate: changes.cancel_subscription(aggregate, body, operator_id, backdate=True), clock.now()
    )
    audit.record_event("subscription_canceled", row.account_id, actor=operator_id, subscription=row.id)
    return admin_subscription_view(subscription)


@bp.route("/subscriptions/<subscription_id>/transfer", methods=["POST"])
@bp.arguments(TransferIn)
@operator_only("billing")
@idempotent(required=True)
@bp.errors(AlreadySubscribed, WrongState)
@bp.response(200, AdminSubscriptionOut)
@audited(SUBSCRIPTION, "subscription_id", "subscription_transferred")
def transfer_to_account(body: dict, subscription_id: str) -> dict:
    """Transfer a subscription to another account.

    Paid days are transferred too; later invoices go to the new account. What an app store bills can be transferred as
    well, and its former account gets an email. The stores are asked for the state of their subscriptions first.
    """
    operator_id, now, to_account_id = current_operator().id, clock.now(), body["account_id"]
    if store_subscription := db.session.get(StoreSubscription, subscription_id):
        refreshing.refresh_unless_current([store_subscription], now)
        moved = refreshing.retry_after_refresh(
            to_account_id,
            now,
            lambda: transfer_store_subscription(subscription_id, to_account_id, now, operator_id),
        )
        return admin_store_subscription_view(moved)
    row = require_subscription(subscription_id)
    row_id, former_account_id = row.id, row.account_id
    transferred = refreshing.retry_after_refresh(
        to_account_id, now, lambda: transfer_subscription(row_id, to_account_id, now, operator_id)
    )
    subscription = admin_subscription_view(transferred)
    for account_id in (former_account_id, body["account_id"]):
        audit.record_event("subscription_transferred", account_id, actor=operator_id, subscription=subscription_id)
    return subscription


@bp.route("/subscriptions/<subscription_id>/refresh", methods=["POST"])
@operator_only("billing")
@idempotent()
@bp.errors(NotFound, Unavailable)
@bp.response(200, AdminSubscriptionOut)
@audited(SUBSCRIPTION, "subscription_id", "subscription_refreshed")
def refresh_store_subscription(subscription_id: str) -> dict:
    """Ask an app store for the state of a subscription that it bills.

    404 for other subscriptions; 503 while the store does not respond.
    """
    row = db.session.get(StoreSubscription, subscription_id)
    if row is None:
        raise NotFound
    account_id = row.account_id
    refreshing.refresh_now(row, clock.now())
    audit.record_event("subscription_refreshed", account_id, actor=current_operator().id, subscription=subscription_id)
    return admin_store_subscription_view(db.session.get_one(StoreSubscription, subscription_id))


@bp.route("/subscriptions/<subscription_id>/parking", methods=["DELETE"])
@operator_only("billing")
@idempotent()
@bp.errors(DoesNotAddUp, ManagedByStore, WrongState)
@bp.response(200, AdminSubscriptionOut)
@audited(SUBSCRIPTION, "subscription_id", "subscription_taken_out")
def release_billing_hold(subscription_id: str) -> dict:
    """Release a subscription from billing hold.

    Its books must reconcile again: 409 `does_not_add_up` lists the differences otherwise. What fell due meanwhile
    is billed at once.
    """
    row, operator_id = require_subscription(subscription_id), current_operator().id
    reason = row.billing_hold_reason
    subscription = holds.release_billing_hold(row.id, clock.now())
    audit.record_event("subscription_taken_out", row.account_id, actor=operator_id, subscription=row.id, reason=reason)
    db.session.commit()
    return admin_subscription_view(subscription)


@bp.route("/price-migrations")
@bp.arguments(PageQuery, location="query")
@operator_only("billing")
@bp.response(200, page_of(PriceMigrationOut))
def list_price_migrations(query: PageInput) -> dict:
    """List price migrations, newest first, with how many subscriptions each one concerns."""
    page = paginate_query(select(PriceMigration), PriceMigration.id, query, "price migrations")
    return page | {"items": migration_views(page["items"])}


@bp.route("/price-migrations/preview")
@bp.arguments(PriceMigrationPreviewQuery, location="query")
@operator_only("billing")
@bp.response(200, PriceMigrationPreviewOut)
def preview_price_migration(query: PriceMigrationPreviewInput) -> dict:
    """Preview a price migration.

    Returns how many subscriptions it would move if it were posted now, and the change of revenue. Nothing is changed.
    """
    return preview_migration(query, clock.now())


@bp.route("/price-migrations/<migration_id>")
@operator_only("billing")
@bp.response(200, PriceMigrationOut)
def get_price_migration(migration_id: str) -> dict:
    """Retrieve a price migration and how many subscriptions it concerns."""
    migration = db.session.get(PriceMigration, migration_id)
    if migration is None:
        raise NotFound
    return migration_view(migration)


@bp.route("/price-migrations/<migration_id>", methods=["DELETE"])
@operator_only("billing")
@idempotent()
@bp.errors(WrongState)
@bp.response(200, PriceMigrationOut)
@audited(PRICE_MIGRATION, "migration_id", "price_migration_withdrawn")
def withdraw_price_migration(migration_id: str) -> dict:
    """Withdraw a price migration.

    Subscribers who have not yet renewed at the new price keep the old one. Those who were notified of the new price
    are notified by email that it does not come.
    """
    if db.session.get(PriceMigration, migration_id) is None:
        raise NotFound
    withdrawn = withdraw_migration(migration_id, clock.now(), current_operator().id)
    audit.record_event("price_migration_withdrawn", actor=current_operator().id, migration=migration_id)
    db.session.commit()
    return withdrawn


@bp.route("/price-migrations", methods=["POST"])
@bp.arguments(PriceMigrationIn)
@operator_only("billing")
@idempotent()
@bp.response(201, PriceMigrationCreatedOut)
@audited(PRICE_MIGRATION, created_id, "price_migrated")
def create_price_migration(body: PriceMigrationInput) -> dict:
    """Migrate subscribers from one price to another.

    Each moves at the first renewal on or after `effective`, and gets one notice. The migration also holds for those who
    come to the old price later, and for add-ons. Of several migrations from one price, the one with the latest
    `effective` that has come applies.
    """
    migration = start_migration(body, clock.now(), current_operator().id)
    audit.record_event("price_migrated", actor=current_operator().id, **{k: str(v) for k, v in body.items()})
    return migration


def require_subscription(subscription_id: str) -> Subscription:
    """Return the subscription, which we bill. Raises NotFound, ManagedByStore."""
    row = db.session.get(Subscription, subscription_id)
    if row is None:
        raise_if_managed_by_store(db.session.get(StoreSubscription, subscription_id))
        raise NotFound
    return row
