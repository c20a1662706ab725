"""Checks of the settings together: which are unsafe, incomplete or contradictory, and which are doubtful."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from streamsvc.rules.connections import node_connections
from streamsvc.rules.playback.grant_cookies import is_in_domain
from streamsvc.setting_parsers import PREFIX

MIN_SECRET_VARIETY = 8
"""Different characters in a secret that was generated."""
EXAMPLE_SECRET = re.compile(r"(?i)change.?(me|this|it)|example|placeholder|replace.?me|(a|one|your|my).?secret")
"""Words in secrets that were copied from documentation, ours or others', and not generated."""
STRIPE_SECRET_KEY = re.compile(r"(sk|rk)_(test|live)_[0-9A-Za-z]{16,}", re.ASCII)
STRIPE_WEBHOOK_SECRET = re.compile(r"whsec_[0-9A-Za-z+/=_-]{16,}", re.ASCII)
OTLP_PACKAGES = ("opentelemetry", "opentelemetry.exporter", "opentelemetry.exporter.otlp")
"""Each is looked for in the one before, which others may have installed."""
APP_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+", re.ASCII)
EXTRAS = (
    ("PAYMENT_PROVIDER", "stripe", ("stripe",), lambda settings: settings.payment_provider == "stripe"),
    ("SERVER", "granian", ("granian",), lambda settings: settings.server == "granian"),
    ("DATABASE_URL", "postgres", ("psycopg",), lambda settings: settings.database_url.startswith("postgresql")),
    ("OIDC_PROVIDERS", "oidc", ("joserfc",), lambda settings: settings.oidc_providers),
    ("USERNAMES", "identifiers", ("precis_i18n", "phonenumbers"), lambda settings: settings.usernames),
    ("PHONES", "identifiers", ("precis_i18n", "phonenumbers"), lambda settings: settings.phones),
    ("DPOP", "dpop", ("joserfc",), lambda settings: settings.dpop),
    ("GEO_DATABASE", "geography", ("maxminddb",), lambda settings: settings.geo_database),
    ("VPN_DATABASE", "geography", ("maxminddb",), lambda settings: settings.vpn_database),
    ("APP_STORE_BUNDLE_ID", "stores", ("appstoreserverlibrary",), lambda settings: settings.app_store_bundle_id),
    ("PLAY_STORE_PACKAGE", "stores", ("joserfc",), lambda settings: settings.play_store_package),
    ("METRICS", "metrics", ("prometheus_client",), lambda settings: settings.metrics),
    (
        "TRACING",
        "tracing",
        OTLP_PACKAGES,
        lambda settings: settings.tracing,
    ),
)
"""(variable, extra, packages, whether the settings need it)."""


def find_setting_errors(settings: Any) -> Iterator[str]:
    """Yield what keeps the service from starting: a sentence each, with the variable and the fix.

    `settings`: a `Settings`, without its defaults for development. No sentence repeats a secret.
    """
    if settings.env == "production":
        yield from _find_production_errors(settings)
    yield from _find_stripe_errors(settings)
    for variable, extra, packages, is_needed in EXTRAS:
        if is_needed(settings) and not all(find_spec(package) for package in packages):
            yield f"{PREFIX}{variable}: needs the extra `{extra}`: pip install 'streamsvc[{extra}]'"
    yield from _find_incomplete(settings)
    yield from _find_store_errors(settings)
    if settings.webhooks_to_private and not settings.sandbox:
        yield f"{PREFIX}WEBHOOKS_TO_PRIVATE: allowed in the sandbox only"
    if not settings.login_throttle and not settings.sandbox:
        yield f"{PREFIX}LOGIN_THROTTLE: can be turned off in the sandbox only"
    if settings.sandbox_clock and not settings.sandbox:
        yield f"{PREFIX}SANDBOX_CLOCK: requires the sandbox (`{PREFIX}SANDBOX=1`)"
    needed = node_connections(settings.workers, settings.threads)
    is_postgresql = settings.database_url.startswith("postgresql")
    if settings.database_replica_url and not is_postgresql:
        yield (
            f"{PREFIX}DATABASE_REPLICA_URL: requires PostgreSQL as {PREFIX}DATABASE_URL; SQLite has no standby, so "
            "leave it unset"
        )
    if is_postgresql and 0 < settings.database_connections < needed:
        yield (
            f"{PREFIX}DATABASE_CONNECTIONS: {settings.workers} web processes with {settings.threads} threads each and "
            f"a worker need {needed}; allow as many, or lower {PREFIX}WORKERS or {PREFIX}THREADS"
        )


def _find_production_errors(settings: Any) -> Iterator[str]:
    if settings.sandbox:
        yield (
            f"{PREFIX}SANDBOX: must be off in production, since anybody can move its clock and nobody pays; unset it, "
            f"or {PREFIX}ENV"
        )
    if not settings.secret_key:
        yield f"{PREFIX}SECRET_KEY: required in production; generate one with `openssl rand -hex 32`"
    secrets = [("SECRET_KEY", key) for key in settings.secret_key]
    secrets += [("PASSWORD_PEPPER", pepper) for _, pepper in settings.password_pepper if pepper]
    for name in dict.fromkeys(name for name, secret in secrets if is_guessable(secret)):
        yield f"{PREFIX}{name}: is easy to guess; generate one with `openssl rand -hex 32`"
    if not (settings.public_url.startswith("https://") and urlsplit(settings.public_url).hostname):
        yield (
            f"{PREFIX}PUBLIC_URL: {'must start with https://' if settings.public_url else 'required'} in production, "
            "such as https://video.example; links in mail, manifests and passkeys depend on it"
        )
    if not settings.mail_url.startswith(("smtp://", "smtps://")):
        yield (
            f"{PREFIX}MAIL_URL: production needs a mail server, such as smtp://user:password@mail.example:587; "
            "`console:` and `file:` would show the links that reset passwords and sign in"
        )
    if settings.payment_provider == "sandbox":
        yield f"{PREFIX}PAYMENT_PROVIDER: production needs a real payment provider; `sandbox` takes no money"
        return
    if settings.stripe_secret_key and not STRIPE_SECRET_KEY.fullmatch(settings.stripe_secret_key):
        yield f"{PREFIX}STRIPE_SECRET_KEY: is not complete; copy the key (sk_live_… or rk_live_…) from the Dashboard"
    if settings.stripe_webhook_secret and not STRIPE_WEBHOOK_SECRET.fullmatch(settings.stripe_webhook_secret):
        yield f"{PREFIX}STRIPE_WEBHOOK_SECRET: is not complete; copy the endpoint's secret (whsec_…) from the Dashboard"


def _find_stripe_errors(settings: Any) -> Iterator[str]:
    if settings.payment_provider == "stripe" and not (settings.stripe_secret_key and settings.stripe_webhook_secret):
        yield f"{PREFIX}STRIPE_SECRET_KEY and {PREFIX}STRIPE_WEBHOOK_SECRET: both are required for Stripe"
    if settings.sandbox and settings.stripe_secret_key.startswith(("sk_live", "rk_live")):
        yield f"{PREFIX}STRIPE_SECRET_KEY: a live key cannot be used in the sandbox"
    if settings.stripe_secret_key.startswith("pk_"):
        yield f"{PREFIX}STRIPE_SECRET_KEY: must be the secret key (sk_…), not the publishable key"
    elif settings.stripe_publishable_key and not is_same_stripe_mode(
        settings.stripe_secret_key, settings.stripe_publishable_key
    ):
        yield (
            f"{PREFIX}STRIPE_PUBLISHABLE_KEY: must be of the same mode as {PREFIX}STRIPE_SECRET_KEY: both test or both "
            "live keys"
        )


def _find_incomplete(settings: Any) -> Iterator[str]:
    """Yield settings that need another one."""
    if settings.grant_cookie_domain:
        url = urlsplit(settings.public_url)
        if url.scheme != "https" or not is_in_domain(url.hostname or "", settings.grant_cookie_domain):
            yield (
                f"{PREFIX}GRANT_COOKIE_DOMAIN: must be a domain above the host of {PREFIX}PUBLIC_URL, which must start "
                "with https://"
            )
    if settings.phones and not settings.sms_countries:
        yield f"{PREFIX}SMS_COUNTRIES: required for telephone numbers, such as DE,AT,CH"
    if settings.phones and not settings.sandbox and not (settings.sms_url and settings.sms_secret):
        yield f"{PREFIX}SMS_URL and {PREFIX}SMS_SECRET: both are required for telephone numbers"
    if settings.vpn == "refuse" and not settings.vpn_database:
        yield f"{PREFIX}VPN_DATABASE: required to refuse viewers behind a VPN"
    for name in ("country_header", "city_header"):
        if getattr(settings, name) and not (settings.trusted_proxies or settings.sandbox):
            reason = f"requires {PREFIX}TRUSTED_PROXIES, since any client could send this header"
            yield f"{PREFIX}{name.upper()}: {reason}"
    if bool(settings.challenge_url) != bool(settings.challenge_secret):
        yield f"{PREFIX}CHALLENGE_URL and {PREFIX}CHALLENGE_SECRET: both are required for challenges"
    if bool(settings.sign_in_hook_url) != bool(settings.sign_in_hook_secret):
        yield f"{PREFIX}SIGN_IN_HOOK_URL and {PREFIX}SIGN_IN_HOOK_SECRET: both are required for the sign-in hook"
    if settings.sign_in_hook_url.startswith("http://") and not settings.webhooks_to_private:
        yield f"{PREFIX}SIGN_IN_HOOK_URL: must be a URL that starts with https://"


def _find_store_errors(settings: Any) -> Iterator[str]:
    """Yield what is missing for a store whose app is set."""
    app_store = ("app_store_issuer_id", "app_store_key_id", "app_store_key")
    play_store = ("play_store_account", "play_store_push_account")
    for app, names in (("app_store_bundle_id", app_store), ("play_store_package", play_store)):
        if not getattr(settings, app):
            continue
        for name in names:
            if not getattr(settings, name):
                yield f"{PREFIX}{name.upper()}: required with {PREFIX}{app.upper()}"
        if not APP_NAME.fullmatch(getattr(settings, app)):
            yield f"{PREFIX}{app.upper()}: must be the app's name in the store, such as com.example.video"
    is_production = settings.app_store_environment == "production"
    if settings.app_store_bundle_id and is_production and not settings.app_store_app_id:
        yield f"{PREFIX}APP_STORE_APP_ID: required with {PREFIX}APP_STORE_BUNDLE_ID"
    if settings.app_store_root and settings.env == "production":
        yield f"{PREFIX}APP_STORE_ROOT: must be unset in production, where Apple Root CA - G3 alone is trusted"


def is_guessable(secret: str) -> bool:
    """Whether a secret was not generated: few different characters, a repetition, `abcdef…`, or a known example."""
    steps = {ord(second) - ord(first) for first, second in pairwise(secret)}
    is_repeated = secret in (secret + secret)[1:-1]
    return (
        is_repeated
        or len(set(secret)) < MIN_SECRET_VARIETY
        or len(steps) < MIN_SECRET_VARIETY
        or EXAMPLE_SECRET.search(secret) is not None
    )


def list_doubtful_settings(settings: Any) -> list[str]:
    """List what is valid and yet wrong for a service that people pay for."""
    doubts = []
    if settings.env == "production":
        if settings.mail_from.endswith("@localhost>"):
            doubts.append(f"{PREFIX}MAIL_FROM: mail has no sender")
        if settings.stripe_secret_key.startswith(("sk_test", "rk_test")):
            doubts.append(f"{PREFIX}STRIPE_SECRET_KEY: is a test key")
        if settings.app_store_bundle_id and settings.app_store_environment == "sandbox":
            doubts.append(f"{PREFIX}APP_STORE_ENVIRONMENT: is the sandbox, whose purchases cost nothing")
    elif not settings.sandbox:
        doubts.append(f"{PREFIX}ENV: is not production, so unsafe defaults are accepted")
    return doubts


def is_same_stripe_mode(secret_key: str, publishable_key: str) -> bool:
    """Whether both keys are test keys or both are live keys: `sk_test_…` and `pk_test_…`."""
    return secret_key.split("_")[1:2] == publishable_key.split("_")[1:2]
