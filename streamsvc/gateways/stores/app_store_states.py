"""The App Store's statuses and transactions in our terms.

Sources, read 2026-11: https://developer.apple.com/documentation/appstoreserverapi/status,
/jwstransactiondecodedpayload, /jwsrenewalinfodecodedpayload.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from appstoreserverlibrary.models.ExpirationIntent import ExpirationIntent
from appstoreserverlibrary.models.InAppOwnershipType import InAppOwnershipType
from appstoreserverlibrary.models.JWSRenewalInfoDecodedPayload import JWSRenewalInfoDecodedPayload
from appstoreserverlibrary.models.JWSTransactionDecodedPayload import JWSTransactionDecodedPayload
from appstoreserverlibrary.models.OfferDiscountType import OfferDiscountType
from appstoreserverlibrary.models.PriceIncreaseStatus import PriceIncreaseStatus
from appstoreserverlibrary.models.RevocationType import RevocationType
from appstoreserverlibrary.models.Status import Status

from streamsvc.rules.money import minor_digits, round_half_up
from streamsvc.rules.stores.account_ids import parse_store_account_id
from streamsvc.rules.stores.state import StorePayment, StoreState

MILLI = 1_000
WHOLE_IN_MILLI_PERCENT = 100_000
STATES = {
    # status: (ours, state, has access)
    Status.ACTIVE: ("active", "active", True),
    Status.EXPIRED: ("canceled", "expired", False),
    Status.BILLING_RETRY: ("past_due", "billing_retry", False),
    Status.BILLING_GRACE_PERIOD: ("past_due", "billing_grace_period", True),
    Status.REVOKED: ("canceled", "revoked", False),
}
UNKNOWN_STATE = ("canceled", "unknown", False)
OFFERS = {1: "introductory", 2: "promotional", 3: "offer_code", 4: "win_back"}


def has_ended(raw_status: int) -> bool:
    """Whether a subscription with this status has ended, as one with an unknown status has for us."""
    return _find_state(raw_status)[0] == "canceled"


def _find_state(raw_status: int) -> tuple[str, str, bool]:
    return {int(status): values for status, values in STATES.items()}.get(raw_status, UNKNOWN_STATE)


def app_store_state(
    key: str,
    environment: str,
    raw_status: int,
    transaction: JWSTransactionDecodedPayload,
    renewal: JWSRenewalInfoDecodedPayload | None,
    history: Iterable[StorePayment],
    history_revision: str | None,
) -> StoreState:
    """Return the state of a subscription: its latest transaction, its renewal, and the payments of its history.

    The history was fetched after the transaction, which may have been refunded in between.
    """
    status, store_state, has_access = _find_state(raw_status)
    renews = bool(renewal and renewal.rawAutoRenewStatus == 1) and status != "canceled"
    is_trial = transaction.offerDiscountType == OfferDiscountType.FREE_TRIAL
    renewal_product = renewal.autoRenewProductId if renewal and renews else None
    payment = app_store_payment(transaction)
    return StoreState(
        source="app_store",
        environment=environment,
        key=key,
        product_id=transaction.productId or "",
        status="trialing" if status == "active" and is_trial else status,
        store_state=store_state,
        has_access=has_access and not transaction.isUpgraded and transaction.revocationDate is None,
        account_id=parse_store_account_id(transaction.appAccountToken),
        started_at=_moment(transaction.originalPurchaseDate),
        period_start=_moment(transaction.purchaseDate),
        period_end=_moment(transaction.expiresDate),
        grace_end=_grace_end(store_state, renewal),
        renews=renews,
        renewal_product_id=renewal_product if renewal_product != transaction.productId else None,
        canceled_at=_moment(transaction.revocationDate or transaction.expiresDate) if status == "canceled" else None,
        cancel_reason=_cancel_reason(status, transaction, renewal),
        offer=OFFERS.get(transaction.rawOfferType or 0),
        is_trial=is_trial,
        family_shared=transaction.inAppOwnershipType == InAppOwnershipType.FAMILY_SHARED,
        price_consent=_price_consent(renewal),
        current_payment_id=transaction.transactionId,
        payments=tuple({each.id: each for each in (*([payment] if payment else []), *history)}.values()),
        history_revision=history_revision,
    )


def app_store_payment(transaction: JWSTransactionDecodedPayload) -> StorePayment | None:
    """Return what a transaction cost; None for one that the customer's family shares, or that has no price."""
    is_shared = transaction.inAppOwnershipType == InAppOwnershipType.FAMILY_SHARED
    purchased_at, currency = _moment(transaction.purchaseDate), transaction.currency
    if is_shared or purchased_at is None or not currency or transaction.price is None or not transaction.transactionId:
        return None
    amount_minor = round_half_up(transaction.price * 10 ** minor_digits(currency), MILLI)
    return StorePayment(
        id=transaction.transactionId,
        product_id=transaction.productId or "",
        currency=currency,
        amount_minor=amount_minor,
        purchased_at=purchased_at,
        refunded_at=_moment(transaction.revocationDate),
        refunded_minor=_refunded_minor(transaction, amount_minor),
        stated_at=_moment(transaction.signedDate),
    )


def _refunded_minor(transaction: JWSTransactionDecodedPayload, amount_minor: int) -> int:
    if transaction.revocationDate is None or transaction.revocationType == RevocationType.FAMILY_REVOKE:
        return 0
    if transaction.revocationType == RevocationType.REFUND_PRORATED and transaction.revocationPercentage is not None:
        return min(amount_minor, round_half_up(amount_minor * transaction.revocationPercentage, WHOLE_IN_MILLI_PERCENT))
    return amount_minor


def _grace_end(store_state: str, renewal: JWSRenewalInfoDecodedPayload | None) -> datetime | None:
    is_grace = store_state == "billing_grace_period"
    return _moment(renewal.gracePeriodExpiresDate) if renewal and is_grace else None


def _cancel_reason(
    status: str, transaction: JWSTransactionDecodedPayload, renewal: JWSRenewalInfoDecodedPayload | None
) -> str | None:
    if status != "canceled":
        return None
    if transaction.revocationDate is not None:
        is_family = transaction.revocationType == RevocationType.FAMILY_REVOKE
        return "family_sharing_ended" if is_family else "refunded"
    intent = renewal and renewal.expirationIntent
    return intent.name.lower() if isinstance(intent, ExpirationIntent) else None


def _price_consent(renewal: JWSRenewalInfoDecodedPayload | None) -> str | None:
    if renewal is None or renewal.priceIncreaseStatus is None:
        return None
    has_not = renewal.priceIncreaseStatus == PriceIncreaseStatus.CUSTOMER_HAS_NOT_RESPONDED
    return "pending" if has_not else "given"


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / MILLI, UTC)
