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

CARD_DETAILS = ("brand", "last4", "exp_month", "exp_year", "fingerprint")
SETUP_STATUSES = {"succeeded": SUCCEEDED, "requires_action": REQUIRES_ACTION, "canceled": DECLINED}
"""A SetupIntent in `requires_payment_method` is declined if an attempt failed, else not confirmed yet."""


def provider_method(method: stripe.PaymentMethod, customer: str, is_set_up: bool = False) -> ProviderMethod:
    """Return a customer's payment method; its reference holds both: `cus_…/pm_…`."""
    card = method.to_dict().get("card") or {}
    details = {name: card.get(name) for name in CARD_DETAILS}
    return ProviderMethod(f"{customer}/{method.id}", method.type, **details, is_set_up=is_set_up)


def setup_outcome(intent: stripe.SetupIntent) -> SetupOutcome:
    """Return the state of a SetupIntent that was retrieved with its payment method expanded."""
    account_id = (intent.to_dict().get("metadata") or {}).get("account_id")
    if intent.status == "succeeded" and isinstance(intent.payment_method, stripe.PaymentMethod):
        customer = intent.customer.id if isinstance(intent.customer, stripe.Customer) else intent.customer or ""
        return SetupOutcome(SUCCEEDED, account_id, provider_method(intent.payment_method, customer, is_set_up=True))
    error = intent.last_setup_error
    status = DECLINED if intent.status == "requires_payment_method" and error else SETUP_STATUSES.get(intent.status)
    action = {"type": "stripe", "client_secret": intent.client_secret} if status == REQUIRES_ACTION else None
    decline_code = failure_code(error) if status == DECLINED else None
    return SetupOutcome(status or UNKNOWN, account_id, decline_code=decline_code, next_action=action)


def failure_code(error: stripe.StripeObject | None) -> str | None:
    """Return the decline code of an intent's last error, else its general code. Stripe leaves out what has no value."""
    members = error.to_dict() if error else {}
    return members.get("decline_code") or members.get("code")
