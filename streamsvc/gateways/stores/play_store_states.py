"""Google Play's purchases and orders in our terms.

Sources, read 2026-11: https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptionsv2,
/orders; https://developer.android.com/google/play/billing/lifecycle/subscriptions.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from streamsvc.rules.money import minor_digits, round_half_up
from streamsvc.rules.stores.account_ids import parse_store_account_id
from streamsvc.rules.stores.state import PRODUCTION, SANDBOX, StorePayment, StoreState

STATES = {
    # subscriptionState: (ours, state, has access)
    "PENDING": ("incomplete", "pending", False),
    "ACTIVE": ("active", "active", True),
    "PAUSED": ("paused", "paused", False),
    "IN_GRACE_PERIOD": ("past_due", "in_grace_period", True),
    "ON_HOLD": ("past_due", "on_hold", False),
    "CANCELED": ("active", "canceled", True),
    "EXPIRED": ("canceled", "expired", False),
    "PENDING_PURCHASE_CANCELED": ("canceled", "pending_purchase_canceled", False),
}
UNKNOWN_STATE = ("canceled", "unknown", False)
CANCELLATIONS = {
    "userInitiatedCancellation": "customer_canceled",
    "systemInitiatedCancellation": "billing_error",
    "developerInitiatedCancellation": "developer_canceled",
    "replacementCancellation": "replaced",
}
PRICE_CONSENTS = {"OUTSTANDING": "pending", "CONFIRMED": "given"}
RENEWAL_OF_ORDER = re.compile(r"(.+)\.\.([0-9]{1,4})", re.ASCII)
"""GPA.1234-5678-9012-34567..5: the sixth renewal of the order before the two points."""
NANO = 1_000_000_000


def play_store_state(
    key: str, purchase: dict[str, Any], linked: tuple[str, ...], payments: Sequence[StorePayment]
) -> StoreState:
    """Return the state of a purchase: a SubscriptionPurchaseV2. Raises ValueError and the like if it is malformed."""
    item = _current_item(purchase)
    raw_state = str(purchase["subscriptionState"]).removeprefix("SUBSCRIPTION_STATE_")
    status, store_state, has_access = STATES.get(raw_state, UNKNOWN_STATE)
    reason, canceled_at = _cancellation(purchase)
    if reason == "replaced":  # another purchase has taken its place, and its paid days with it
        status, has_access = "canceled", False
    plan, is_trial = item.get("autoRenewingPlan") or {}, "freeTrial" in (item.get("offerPhase") or {})
    replacement = (item.get("deferredItemReplacement") or {}).get("productId")
    offer = item.get("offerDetails") or {}
    end = _moment(item.get("expiryTime"))
    pause = purchase.get("pausedStateContext") or {}
    accounts = purchase.get("externalAccountIdentifiers") or {}
    return StoreState(
        source="play_store",
        environment=SANDBOX if "testPurchase" in purchase else PRODUCTION,
        key=key,
        product_id=str(item["productId"]),
        base_plan_id=offer.get("basePlanId"),
        status="trialing" if status == "active" and is_trial else status,
        store_state=store_state,
        has_access=has_access,
        account_id=parse_store_account_id(accounts.get("obfuscatedExternalAccountId")),
        started_at=_moment(purchase.get("startTime")),
        period_end=end,
        grace_end=end if store_state == "in_grace_period" else None,
        renews=plan.get("autoRenewEnabled") is True and status not in ("canceled", "incomplete"),
        renewal_product_id=replacement,
        resumes_at=_moment(pause.get("autoResumeTime")),
        canceled_at=(canceled_at or end) if status == "canceled" else None,
        cancel_reason=reason if status == "canceled" or store_state == "canceled" else None,
        offer=offer.get("offerId"),
        is_trial=is_trial,
        price_consent=_price_consent(plan),
        acknowledged=purchase.get("acknowledgementState") != "ACKNOWLEDGEMENT_STATE_PENDING",
        replaced_keys=linked,
        current_payment_id=_latest_order(item),
        payments=tuple(payments),
    )


def list_order_ids(purchase: dict[str, Any]) -> list[str]:
    """List the orders of a purchase, oldest first; their numbers count up. A test purchase costs nothing."""
    latest = _latest_order(_current_item(purchase))
    if latest is None or "testPurchase" in purchase:
        return []
    renewal = RENEWAL_OF_ORDER.fullmatch(latest)
    if renewal is None:
        return [latest]
    first, count = renewal[1], int(renewal[2])
    return [first, *(f"{first}..{number}" for number in range(count + 1))]


def play_store_payment(order: dict[str, Any]) -> StorePayment | None:
    """Return what an order cost; None while it is not paid."""
    purchased_at = _moment(order.get("createTime"))
    if purchased_at is None or order.get("state") in (None, "PENDING", "CANCELED", "STATE_UNSPECIFIED"):
        return None
    currency, amount_minor = _money(order["total"])
    refunded_at, refunded_minor = _refund(order, amount_minor)
    return StorePayment(
        id=str(order["orderId"]),
        product_id=str(order["lineItems"][0]["productId"]),
        currency=currency,
        amount_minor=amount_minor,
        purchased_at=purchased_at,
        refunded_at=refunded_at,
        refunded_minor=refunded_minor,
    )


def _current_item(purchase: dict[str, Any]) -> dict[str, Any]:
    """Return the item that lasts longest: a purchase of several has one expiry each."""
    return max(purchase["lineItems"], key=lambda item: item.get("expiryTime") or "")


def _latest_order(item: dict[str, Any]) -> str | None:
    return item.get("latestSuccessfulOrderId")


def _cancellation(purchase: dict[str, Any]) -> tuple[str | None, datetime | None]:
    context = purchase.get("canceledStateContext") or {}
    for name, reason in CANCELLATIONS.items():
        if name in context:
            return reason, _moment((context[name] or {}).get("cancelTime"))
    return None, None


def _price_consent(plan: dict[str, Any]) -> str | None:
    return PRICE_CONSENTS.get((plan.get("priceChangeDetails") or {}).get("priceChangeState", ""))


def _refund(order: dict[str, Any], amount_minor: int) -> tuple[datetime | None, int]:
    history = order.get("orderHistory") or {}
    if refund := history.get("refundEvent"):
        return _moment(refund["eventTime"]), amount_minor
    partial = history.get("partialRefundEvents") or []
    if not partial:
        return None, 0
    refunded_minor = sum(_money(each["refundDetails"]["total"])[1] for each in partial)
    return _moment(partial[-1].get("processTime") or partial[-1]["createTime"]), refunded_minor


def _money(money: dict[str, Any]) -> tuple[str, int]:
    """Return the currency and the minor units of a `Money`: {currencyCode, units, nanos}."""
    currency = str(money["currencyCode"])
    factor = 10 ** minor_digits(currency)
    nanos = int(money.get("nanos") or 0)
    return currency, int(money.get("units") or 0) * factor + round_half_up(nanos * factor, NANO)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
