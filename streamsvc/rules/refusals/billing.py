"""Subscription, payment and code errors."""

from typing import ClassVar

from streamsvc.rules.refusals.base import Refusal


class PaymentFailed(Refusal):
    """`decline_code`: the bank's reason: insufficient_funds, generic_decline, …"""

    code = "payment_failed"
    status = 402
    detail = "The payment was declined; try another payment method."
    member_schemas: ClassVar = {"decline_code": {"type": ["string", "null"]}}


class PaymentMethodRequired(Refusal):
    code = "payment_method_required"
    status = 402
    detail = "A trial needs a card that the bank has authorized for later charges; set one up first."


class AuthenticationRequired(Refusal):
    """`next_action`: what the payer must do before the bank approves the payment.

    `payment_id` and `invoice_id`: the payment to refresh afterwards; absent for the setup of a card.
    """

    code = "authentication_required"
    status = 402
    detail = "The payer's bank requires authentication; follow `next_action`."
    member_schemas: ClassVar = {
        "next_action": {"type": "object"},
        "payment_id": {"type": "string"},
        "invoice_id": {"type": "string"},
    }


class AlreadySubscribed(Refusal):
    """`sources`: who bills the account's live subscriptions, if there are two of them already."""

    code = "already_subscribed"
    status = 409
    detail = "This account already has a subscription; change its plan instead."
    member_schemas: ClassVar = {"sources": {"type": "array", "items": {"type": "string"}}}


class ManagedByStore(Refusal):
    """`management_url`: where its customer changes or cancels it."""

    code = "managed_by_store"
    status = 409
    detail = "An app store bills this subscription, and only it can change or cancel it: see `management_url`."
    member_schemas: ClassVar = {"source": {"type": "string"}, "management_url": {"type": "string"}}


class OwnedByAnotherAccount(Refusal):
    code = "owned_by_another_account"
    status = 409
    detail = "This purchase belongs to another account; sign in to that one."


class PurchaseInvalid(Refusal):
    """`reason`: why the store's proof grants nothing, for the log of the app."""

    code = "purchase_invalid"
    status = 422
    detail = "The store does not confirm this purchase for this app and this service."
    member_schemas: ClassVar = {"reason": {"type": "string"}}


class CouponInvalid(Refusal):
    code = "coupon_invalid"
    status = 422
    detail = "This coupon does not exist, has expired, is used up, or does not apply to this price."


class GiftCodeInvalid(Refusal):
    """`reason`: why it cannot be redeemed; `for_a_plan`: it is a subscription of its own, redeemed by itself."""

    code = "gift_code_invalid"
    status = 422
    detail = "This gift code does not exist, has expired or was already redeemed."
    member_schemas: ClassVar = {
        "reason": {"type": "string", "enum": ["unknown", "redeemed", "revoked", "expired", "for_a_plan"]}
    }


class GiftCodeCurrencyMismatch(Refusal):
    """`currency`: that of the gift code."""

    code = "gift_code_currency_mismatch"
    status = 422
    detail = "This gift code is not in the subscription's currency; it was not used."
    member_schemas: ClassVar = {"currency": {"type": "string"}}


class GiftNotSoldHere(Refusal):
    code = "gift_not_sold_here"
    status = 422
    detail = "The plan of this gift is not sold in the account's country; the code was not used."


class GiftAlreadyRedeemed(Refusal):
    code = "gift_already_redeemed"
    status = 409
    detail = "This gift was redeemed, so its code cannot be revoked or refunded; create a credit note instead."


class GiftAlreadyDelivered(Refusal):
    code = "gift_already_delivered"
    status = 409
    detail = "This gift was delivered, or is no longer usable, so it cannot be changed."


class GiftNotDeliverable(Refusal):
    code = "gift_not_deliverable"
    status = 409
    detail = "The mail can be sent again only while the gift is delivered and not redeemed, and three times in all."


class CreditNotPaidIn(Refusal):
    """`payable_minor`: how much can be paid out without `force`."""

    code = "credit_not_paid_in"
    status = 409
    detail = (
        "This credit came from gifts or goodwill, or the account owes a debt that was written off; at most "
        "`payable_minor` is paid out without `force`."
    )
    member_schemas: ClassVar = {"payable_minor": {"type": "integer"}}


class ReferralCodeInvalid(Refusal):
    code = "referral_code_invalid"
    status = 422
    detail = "This referral code does not exist, is your own, or is for new customers only."


class WrongState(Refusal):
    code = "wrong_state"
    status = 409
    detail = "The subscription's current state does not allow this."


class DoesNotAddUp(Refusal):
    """`differences`: [{check, subject, expected, found}]."""

    code = "does_not_add_up"
    status = 409
    detail = "The account still does not reconcile; see `differences`."
    member_schemas: ClassVar = {"differences": {"type": "array", "items": {"type": "object"}}}


class PaymentOverdue(Refusal):
    """`invoices`: the overdue invoices, [{id, number, currency, balance_minor}]."""

    code = "payment_overdue"
    status = 409
    detail = "An invoice is overdue; pay it first. `invoices` lists what is owed."
    member_schemas: ClassVar = {"invoices": {"type": "array", "items": {"type": "object"}}}


class PauseLimitReached(Refusal):
    """`allowed_from`: the first day on which the subscription can be paused again."""

    code = "pause_limit_reached"
    status = 409
    detail = "This subscription was paused too often or too recently; `allowed_from` says when it can be paused again."
    member_schemas: ClassVar = {"allowed_from": {"type": "string", "format": "date"}}


class SignatureInvalid(Refusal):
    code = "signature_invalid"
    status = 400
    detail = "The webhook signature is invalid or too old."


class InvoiceNotOpen(Refusal):
    code = "invoice_not_open"
    status = 409
    detail = "This invoice is not open, so it cannot be paid."


class AmountTooSmall(Refusal):
    code = "amount_too_small"
    status = 409
    detail = "This amount is too small to be charged on its own. It is charged together with the next payment."


class PaymentInProgress(Refusal):
    code = "payment_in_progress"
    status = 409
    detail = "A payment of this invoice is in progress; its outcome will be known within a minute."


class NoDocument(Refusal):
    code = "no_document"
    status = 409
    detail = "An invoice with a total of zero has no number and no documents; its lines are in the API."


class EInvoiceIncomplete(Refusal):
    """`missing`: the settings, or the fields of the legal entity or the billing address, that are missing."""

    code = "einvoice_incomplete"
    status = 409
    detail = "The invoice lacks data that EN 16931 requires; see `missing`. What you add is on later invoices only."
    member_schemas: ClassVar = {"missing": {"type": "array", "items": {"type": "string"}}}
