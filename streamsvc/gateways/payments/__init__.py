"""Who moves the money: one small interface, one provider for each way to pay."""

from flask import current_app

from streamsvc.gateways.payments.interface import PaymentProvider
from streamsvc.gateways.payments.sandbox import SandboxProvider

PROVIDERS = {"sandbox": SandboxProvider}


def provider() -> PaymentProvider:
    """The provider that the settings name."""
    return PROVIDERS[current_app.extensions["settings"].payment_provider]()
