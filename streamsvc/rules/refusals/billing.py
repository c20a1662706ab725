"""Errors of subscriptions, payments and codes."""

from streamsvc.rules.refusals.base import Refusal


class PaymentFailed(Refusal):
    """`decline_code`: why, in the words of the banks: insufficient_funds, generic_decline, …"""

    code = "payment_failed"
    status = 402
    detail = "The payment was declined; try another payment method."


class AuthenticationRequired(Refusal):
    """`next_action`: what the payer's bank asks for before it pays."""

    code = "authentication_required"
    status = 402
    detail = "The payer's bank asks for confirmation; follow `next_action`."


class AlreadySubscribed(Refusal):
    code = "already_subscribed"
    status = 409
    detail = "This account has a live subscription; change its plan instead."


class CouponInvalid(Refusal):
    code = "coupon_invalid"
    status = 422
    detail = "This coupon does not exist, has expired, is used up, or is not for this price."


class GiftCodeInvalid(Refusal):
    code = "gift_code_invalid"
    status = 422
    detail = "This gift code does not exist, has expired or was redeemed."


class ReferralCodeInvalid(Refusal):
    code = "referral_code_invalid"
    status = 422
    detail = "This referral code does not exist, is your own, or is for newcomers only."


class WrongState(Refusal):
    code = "wrong_state"
    status = 409
    detail = "The subscription is not in a state that allows this."


class DoesNotAddUp(Refusal):
    """`differences`: [{check, subject, expected, found}]."""

    code = "does_not_add_up"
    status = 409
    detail = "The books of this account still do not agree; `differences` tells where."


class PaymentOverdue(Refusal):
    code = "payment_overdue"
    status = 409
    detail = "An invoice is overdue; pay it first."


class SignatureInvalid(Refusal):
    code = "signature_invalid"
    status = 400
    detail = "The signature is not the provider's, or is too old."


class InvoiceNotOpen(Refusal):
    code = "invoice_not_open"
    status = 409
    detail = "This invoice is not open; there is nothing to pay."


class PaymentInProgress(Refusal):
    code = "payment_in_progress"
    status = 409
    detail = "A payment of this invoice is under way; its outcome will be known within a minute."
