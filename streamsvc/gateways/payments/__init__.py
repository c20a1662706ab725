"""Payment providers: one interface, implemented by the sandbox and Stripe."""

import sys

from streamsvc.gateways.payments import stripe_amounts
from streamsvc.gateways.payments.interface import EventProvider, PaymentProvider
from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.settings import current_settings


def current_provider() -> PaymentProvider:
    """Return the configured provider. Stripe's SDK is imported only if it is used."""
    if current_settings().payment_provider == "stripe":
        from streamsvc.gateways.payments.stripe import StripeProvider

        return StripeProvider()
    return SandboxProvider()


def current_event_provider() -> EventProvider:
    """Return the configured provider. Raises TypeError if it sends no events."""
    provider = current_provider()
    if not isinstance(provider, EventProvider):
        raise TypeError(f"{provider.name} sends no events")
    return provider


def minimum_charge_minor(currency: str) -> int:
    """Return the smallest amount that the configured provider charges, in minor units."""
    if current_settings().payment_provider != "stripe":
        return 1
    return stripe_amounts.minimum_charge_minor(currency)


def charge_step_minor(currency: str) -> int:
    """Return the amount of which every charge by the configured provider is a multiple, in minor units."""
    if current_settings().payment_provider != "stripe":
        return 1
    return stripe_amounts.charge_step_minor(currency)


def has_known_minimum(currency: str) -> bool:
    """Whether `minimum_charge_minor` is known; otherwise the provider refuses what it finds too small."""
    return current_settings().payment_provider != "stripe" or currency in stripe_amounts.MINIMUM_MINOR


def maximum_charge_minor(currency: str) -> int:
    """Return the largest amount that the configured provider charges, in minor units."""
    if current_settings().payment_provider != "stripe":
        return sys.maxsize
    return stripe_amounts.maximum_charge_minor(currency)
