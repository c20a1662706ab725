"""Notifications of the stores: verified, stored once, and then only a reason to ask the store."""

from datetime import datetime
from typing import Any

from streamsvc.gateways.stores import find_app_store, find_play_store
from streamsvc.gateways.stores.interface import PurchaseRejected, StoreNotification, StoreUnavailable
from streamsvc.models.subscriptions import ProviderEvent
from streamsvc.operations.billing.stores import applying, refreshing
from streamsvc.rules.refusals.billing import SignatureInvalid
from streamsvc.rules.refusals.requests import NotFound, Unavailable
from streamsvc.storage.database import db, insert
from streamsvc.worker import jobs

REFUND_KINDS = ("voided", "REFUND", "REFUND_REVERSED")
"""After these, all payments are fetched, since the refunded one may be an older one."""


def receive_app_store_notification(signed_payload: str, now: datetime) -> None:
    """Store a notification of the App Store and enqueue the fetch that it calls for. Commits.

    Raises NotFound, SignatureInvalid, Unavailable.
    """
    store = find_app_store()
    if store is None:
        raise NotFound
    try:
        notification = store.parse_notification(signed_payload)
    except PurchaseRejected as error:
        applying.log.warning("App Store notification rejected: %s", error.reason)
        raise SignatureInvalid from None
    except StoreUnavailable:
        raise Unavailable(retry_after_s=60) from None
    _record(store.source, notification, now)


def receive_play_store_notification(authorization: str | None, body: dict[str, Any], now: datetime) -> None:
    """Store a notification of Google Play and enqueue the fetch that it calls for. Commits.

    One about another app is ignored: several may share a topic. Raises NotFound, SignatureInvalid, Unavailable.
    """
    store = find_play_store()
    if store is None:
        raise NotFound
    try:
        notification = store.parse_notification(authorization, body)
    except PurchaseRejected as error:
        applying.log.warning("Google Play notification rejected: %s", error.reason)
        raise SignatureInvalid from None
    except StoreUnavailable:
        raise Unavailable(retry_after_s=60) from None
    if notification is not None:
        _record(store.source, notification, now)


def _record(source: str, notification: StoreNotification, now: datetime) -> None:
    event_id = f"{source}:{notification.id}"
    row = {"id": event_id, "provider": source, "kind": notification.kind, "reference": notification.key}
    done = {"received_at": now, "done_at": None if notification.key else now}
    statement = insert(ProviderEvent).values(row | done).on_conflict_do_nothing(index_elements=["id"])
    is_new = db.session.execute(statement.returning(ProviderEvent.id)).first() is not None
    if is_new and notification.key:
        if notification.payment:
            refreshing.record_notified_payment(source, notification.key, notification.payment, now)
        payload = {"source": source, "key": notification.key, "event_id": event_id}
        needs_history = notification.kind in REFUND_KINDS
        job = {**payload, "with_history": needs_history}
        jobs.enqueue_job(applying.REFRESH_JOB, job, now)
    db.session.commit()
