"""Who may have what was bought in an app store: the store's own state decides."""

from datetime import datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Plan, StoreProduct, StorePurchase, StoreSubscription
from streamsvc.operations.billing.core.sources import require_room
from streamsvc.operations.billing.stores import applying
from streamsvc.operations.outbox import audit
from streamsvc.operations.outbox.mail import enqueue_mail
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.refusals.billing import OwnedByAnotherAccount, PurchaseInvalid
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.rules.stores.state import PRODUCTION, STORE_NAMES, StoreState
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_row, reload_row

RETRY_AFTER_S = 30


def claim_state(account_id: str, state: StoreState, now: datetime) -> StoreSubscription:
    """Give an account the subscription with this state, in the caller's transaction.

    Raises PurchaseInvalid, AlreadySubscribed, OwnedByAnotherAccount.
    """
    require_granting_environment(state, account_id)
    row = lock_with_holder(state, find_subscription(state), account_id)
    account = db.session.get_one(Account, account_id)
    if account.status != "active":  # perhaps closed since the request was authenticated
        raise PurchaseInvalid(reason="account_not_active")
    is_new_here = row is None or row.account_id != account_id
    if row is None:
        _require_named_account(state, account)
        row = create_claimed(account, state, now)
        audit.record_event("store_purchase_claimed", account.id, subscription=row.id, source=row.source)
    elif is_new_here:
        _move(row, account, state, now)
        if state.status in LIVE_STATUSES:
            require_room(account, now, besides=row.id)
    applying.apply_state(account, row, state, now, now, is_new_here)
    return row


def find_subscription(state: StoreState) -> StoreSubscription | None:
    """Find the subscription with this state; None if nobody has it."""
    return StorePurchase.find_subscription(state.source, (state.key, *state.replaced_keys))


def lock_with_holder(
    state: StoreState, row: StoreSubscription | None, account_id: str | None
) -> StoreSubscription | None:
    """Lock the account, and the one that has the subscription that was found; return it, or None if nobody has it."""
    while True:
        locked = {each for each in (account_id, row.account_id if row else None) if each}
        for each in sorted(locked):
            lock_row(Account, each)
        row = find_subscription(state)  # perhaps claimed or moved before the locks were held
        if row is None or row.account_id in locked:
            return row
        db.session.rollback()


def create_claimed(account: Account, state: StoreState, now: datetime) -> StoreSubscription:
    """Create the subscription of a locked account. Raises PurchaseInvalid, AlreadySubscribed."""
    plan_id = StoreProduct.find_plan_id(state.source, state.product_id, state.base_plan_id)
    if plan_id is None:
        raise PurchaseInvalid(reason="unknown_product")
    if state.status in LIVE_STATUSES:
        require_room(account, now)
    return applying.create_store_subscription(account, state, plan_id, now, now)


def require_granting_environment(state: StoreState, account_id: str) -> None:
    """Raise PurchaseInvalid for a test purchase, unless it is one of a test account, or the service is a test."""
    settings = current_settings()
    expected = settings.app_store_environment if state.source == "app_store" else PRODUCTION
    if state.environment != expected and account_id not in settings.store_test_accounts:
        raise PurchaseInvalid(reason="test_purchase")


def _require_named_account(state: StoreState, account: Account) -> None:
    """Raise OwnedByAnotherAccount if the purchase names another account that has not been closed.

    Purchases that began in the store itself, such as with an offer code, name none.
    """
    if state.account_id in (None, account.id) or current_settings().store_restore == "move":
        return
    named = db.session.get(Account, state.account_id)
    if named is not None and named.status != "deleted":
        raise OwnedByAnotherAccount


def _move(row: StoreSubscription, account: Account, state: StoreState, now: datetime) -> None:
    """Move a subscription to another account; both are locked. Raises OwnedByAnotherAccount.

    One whose latest purchase names the new account was bought by it, on a device with the store account of the other.
    """
    holder = db.session.get_one(Account, row.account_id)
    is_allowed = current_settings().store_restore == "move" or state.account_id == account.id
    if holder.status == "disabled" or (holder.status != "deleted" and not is_allowed):
        raise OwnedByAnotherAccount
    if holder.status == "deleted":
        _require_named_account(state, account)
    move_store_subscription(row, holder, account, now, actor=account.id)


def move_store_subscription(
    row: StoreSubscription, holder: Account, account: Account, now: datetime, actor: str
) -> None:
    """Give a subscription to another account, in the caller's transaction; both accounts are locked.

    The former holder gets a mail, unless that account is closed.
    """
    row.account_id = account.id
    db.session.flush()
    applying.project_store_access(holder)
    applying.project_store_access(account)
    for each in (holder, account):
        audit.record_event("subscription_transferred", each.id, actor=actor, subscription=row.id)
    if holder.status != "deleted":
        context = {"plan": db.session.get_one(Plan, row.plan_id).name, "store": STORE_NAMES[row.source]}
        enqueue_mail("purchase_moved", holder.email, now, **context, by_support=actor != account.id)


def transfer_store_subscription(
    subscription_id: str, to_account_id: str, now: datetime, actor: str
) -> StoreSubscription:
    """Give a store's subscription to another active account, in the caller's transaction.

    Raises Invalid, AlreadySubscribed.
    """
    holder_id = db.session.get_one(StoreSubscription, subscription_id).account_id
    for account_id in sorted({holder_id, to_account_id}):
        lock_row(Account, account_id)
    row = reload_row(StoreSubscription, subscription_id)
    holder, account = db.session.get_one(Account, holder_id), db.session.get(Account, to_account_id)
    if account is None or account.status != "active" or row.account_id != holder_id or account.id == holder_id:
        raise Invalid(errors={"account_id": ["Must be another account that is active."]})
    if row.status in LIVE_STATUSES:
        require_room(account, now)
    move_store_subscription(row, holder, account, now, actor)
    applying.publish_change(account, row, now)
    return row
