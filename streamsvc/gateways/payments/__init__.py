"""Who moves the money: one small interface, one provider for each way to pay."""

from flask import current_app

from streamsvc.gateways.payments.interface import PaymentProvider
from streamsvc.gateways.payments.sandbox import SandboxProvider


def current_provider() -> PaymentProvider:
    """The provider that the settings name. Stripe's SDK is loaded only where it is used."""
    if current_app.extensions["settings"].payment_provider == "stripe":
        from streamsvc.gateways.payments.stripe import StripeProvider

        return StripeProvider()
    return SandboxProvider()
