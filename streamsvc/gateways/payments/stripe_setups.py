"""Stripe's SetupIntents and payment methods in our terms."""

import stripe

from streamsvc.gateways.payments.interface import (
    DECLINED,
    REQUIRES_ACTION,
    SUCCEEDED,
    UNKNOWN,
    ProviderMethod,
    SetupOutcome,
)

SETUP_STATUSES = {"succeeded": SUCCEEDED, "requires_action": REQUIRES_ACTION, "canceled": DECLINED}
"""A SetupIntent in `requires_payment_method` is declined if an attempt failed, else not confirmed yet."""


def provider_method(customer: str, method: stripe.PaymentMethod, is_set_up: bool = False) -> ProviderMethod:
    """Return a customer's payment method; its reference holds both: `cus_…/pm_…`."""
    reference, card = f"{customer}/{method.id}", method.card
    if card is None:
        return ProviderMethod(reference, method.type, is_set_up=is_set_up)
    expiry = card.exp_month, card.exp_year
    return ProviderMethod(reference, method.type, card.brand, card.last4, *expiry, card.fingerprint, is_set_up)


def setup_outcome(intent: stripe.SetupIntent) -> SetupOutcome:
    """Return the state of a SetupIntent that was retrieved with its payment method expanded."""
    account_id = (intent.to_dict().get("metadata") or {}).get("account_id")
    if intent.status == "succeeded" and isinstance(intent.payment_method, stripe.PaymentMethod):
        customer = intent.customer.id if isinstance(intent.customer, stripe.Customer) else intent.customer or ""
        return SetupOutcome(SUCCEEDED, account_id, provider_method(customer, intent.payment_method, is_set_up=True))
    error = intent.last_setup_error
    status = DECLINED if intent.status == "requires_payment_method" and error else SETUP_STATUSES.get(intent.status)
    action = {"type": "stripe", "client_secret": intent.client_secret} if status == REQUIRES_ACTION else None
    decline_code = failure_code(error) if status == DECLINED else None
    return SetupOutcome(status or UNKNOWN, account_id, decline_code=decline_code, next_action=action)


def failure_code(error: stripe.StripeObject | None) -> str | None:
    """Return the decline code of an intent's last error, else its general code. Stripe leaves out what has no value."""
    members = error.to_dict() if error else {}
    return members.get("decline_code") or members.get("code")
