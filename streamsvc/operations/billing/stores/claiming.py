"""An account claims what was bought in an app store, or restores it."""

from datetime import datetime

from sqlalchemy.exc import IntegrityError

from streamsvc.gateways.stores import find_store
from streamsvc.gateways.stores.interface import PurchaseRejected, StoreGateway, StoreUnavailable
from streamsvc.models.subscriptions import StorePurchase, StoreSubscription
from streamsvc.operations.billing.stores import applying, purchases, refreshing
from streamsvc.rules.refusals.billing import OwnedByAnotherAccount, PurchaseInvalid
from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.rules.stores.state import StoreState
from streamsvc.storage.database import db

RETRY_AFTER_S = 30


def claim_purchase(account_id: str, source: str, proof: str, now: datetime) -> StoreSubscription:
    """Give an account the subscription that the store's proof is about, in its current state. Nothing is committed.

    Raises PurchaseInvalid, AlreadySubscribed, OwnedByAnotherAccount, Unavailable.
    """
    store = find_store(source)
    if store is None:
        raise PurchaseInvalid(reason="not_sold_here")
    try:
        key = store.identify_purchase(proof)
        known = StorePurchase.find_subscription(source, [key])
        state = _fetch_known_state(store, known.key if known else key, known)
    except PurchaseRejected as error:
        raise PurchaseInvalid(reason=error.reason) from None
    except StoreUnavailable:
        raise Unavailable(
            detail="The store does not respond; the purchase is not lost, so send it again.",
            retry_after_s=RETRY_AFTER_S,
        ) from None
    if state is None:
        raise PurchaseInvalid(reason="unknown_to_the_store")
    try:
        return refreshing.retry_after_refresh(account_id, now, lambda: purchases.claim_state(account_id, state, now))
    except IntegrityError:  # a concurrent request claimed it first; the key decides
        raise OwnedByAnotherAccount from None


def _fetch_known_state(store: StoreGateway, key: str, known: StoreSubscription | None) -> StoreState | None:
    """Fetch a subscription's state, outside of any transaction. Raises StoreUnavailable."""
    payments = applying.list_payment_ids(known.id) if known else set()
    revision = known.history_revision if known else None
    db.session.rollback()
    return store.fetch_state(key, payments, history_revision=revision)
