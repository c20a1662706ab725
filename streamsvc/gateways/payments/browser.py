"""What a browser needs to show the payment provider's form."""

from typing import NamedTuple

from streamsvc.settings import Settings

STRIPE_WALLETS = ("apple_pay", "google_pay")
"""Wallets of cards, which the Payment Element offers where the browser and the registered domain allow it."""
STRIPE_SOURCES = {
    "script-src": ("https://js.stripe.com",),
    "frame-src": ("https://js.stripe.com", "https://hooks.stripe.com"),
    "connect-src": ("https://api.stripe.com",),
}
"""What a page with Stripe's form adds to its Content-Security-Policy."""


class BrowserConfig(NamedTuple):
    """The provider's settings for browsers; all of them are public."""

    provider: str
    publishable_key: str | None = None
    api_version: str | None = None
    script_url: str | None = None
    """The version of the provider's script that speaks `api_version`."""
    wallets: tuple[str, ...] = ()
    sandbox: bool = False
    """Whether the provider takes the sandbox's test cards."""


def browser_config(settings: Settings) -> BrowserConfig:
    """Return what browsers need of the configured provider. Stripe's SDK is imported only if it is used."""
    if settings.payment_provider != "stripe":
        return BrowserConfig(settings.payment_provider, sandbox=settings.sandbox)
    import stripe

    release = stripe.api_version.partition(".")[2]
    script_url = f"https://js.stripe.com/{release}/stripe.js"
    return BrowserConfig(
        "stripe", settings.stripe_publishable_key or None, stripe.api_version, script_url, STRIPE_WALLETS
    )


def browser_sources(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the sources that a page with the provider's form needs, by directive of the Content-Security-Policy."""
    has_form = settings.payment_provider == "stripe" and settings.stripe_publishable_key
    return STRIPE_SOURCES if has_form else {}
