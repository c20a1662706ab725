"""The errors that operations share which may charge a card."""

from streamsvc.rules.refusals.accounts import AccountNotActive, TooManyAttempts
from streamsvc.rules.refusals.billing import (
    AlreadySubscribed,
    AuthenticationRequired,
    CouponInvalid,
    GiftCodeCurrencyMismatch,
    GiftCodeInvalid,
    ManagedByStore,
    PauseLimitReached,
    PaymentFailed,
    PaymentInProgress,
    PaymentMethodRequired,
    PaymentOverdue,
    ReferralCodeInvalid,
    WrongState,
)
from streamsvc.rules.refusals.requests import NotFound

CHARGE_ERRORS = (AuthenticationRequired, PaymentFailed, PaymentInProgress, TooManyAttempts)
"""Of an operation by which a customer may charge their own card: it is limited, see core/payment_limits.py."""

START_ERRORS = (
    AccountNotActive,
    AlreadySubscribed,
    AuthenticationRequired,
    CouponInvalid,
    GiftCodeCurrencyMismatch,
    GiftCodeInvalid,
    PaymentFailed,
    PaymentInProgress,
    PaymentMethodRequired,
    PaymentOverdue,
    ReferralCodeInvalid,
)
"""Of the start of a subscription, by its owner or by an operator."""

PREVIEW_ERRORS = (
    AlreadySubscribed,
    CouponInvalid,
    GiftCodeCurrencyMismatch,
    GiftCodeInvalid,
    ManagedByStore,
    NotFound,
    PauseLimitReached,
    PaymentInProgress,
    PaymentOverdue,
    ReferralCodeInvalid,
    TooManyAttempts,
    WrongState,
)
"""Of a preview of what a subscription's owner or an operator may do to it."""
