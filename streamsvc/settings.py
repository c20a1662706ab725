"""Every `STREAMSVC_*` variable: its name, type, default and description. Read once, at startup."""

import os
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import current_app

from streamsvc.rules.playback.drm import DrmProvider
from streamsvc.rules.playback.signers import MediaSigner
from streamsvc.setting_checks import find_setting_errors
from streamsvc.setting_parsers import (
    PREFIX,
    integer_between,
    one_of,
    parse_account_ids,
    parse_certificate_file,
    parse_commission,
    parse_cookie_domain,
    parse_countries,
    parse_country,
    parse_database_url,
    parse_drm,
    parse_dunning_schedule,
    parse_ec_key,
    parse_existing_file,
    parse_filter_file,
    parse_flag,
    parse_gift_amounts,
    parse_height_pattern,
    parse_https_url,
    parse_mail_url,
    parse_media_pattern,
    parse_media_signers,
    parse_moment,
    parse_network_prefixes,
    parse_number_prefix,
    parse_oidc_providers,
    parse_origins,
    parse_pause_rules,
    parse_peppers,
    parse_publishable_key,
    parse_range_url,
    parse_replica_url,
    parse_secret_keys,
    parse_seller_vat_number,
    parse_service_account,
    parse_signing_secret,
    parse_statement_suffix,
    parse_time_zone,
    parse_trusted_proxies,
    parse_url,
)

FILE_SUFFIX = "_FILE"
LOCAL_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""All addresses of the machine -> the one at which a browser on it reaches the service."""
DATABASE_URLS = ("database_url", "database_replica_url")
PASSWORD_IN_URL = re.compile(r"(://[^:/@]*:)[^@]*@")


class SettingsError(Exception):
    """A setting is invalid or unsafe; the message names the variable and the fix."""


def setting(default: Any, parse: Callable[[str], Any], description: str, secret: bool = False) -> Any:
    """Return a dataclass field with its parser and description; a `secret` value is masked in `streamsvc config`."""
    return field(default=default, metadata={"parse": parse, "description": description, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The operator's settings. Times are in seconds if the name ends in `_s`."""

    env: str = setting("development", one_of("development", "production"), "`production` refuses unsafe defaults.")
    data_dir: str = setting("instance", str, "Folder of the SQLite file and the generated development secret.")
    database_url: str = setting("", parse_database_url, "Database URL; empty: SQLite in the data folder.")
    database_replica_url: str = setting(
        "",
        parse_replica_url,
        "URL of a streaming standby of the PostgreSQL database, for reads of the catalogue, history and reports.",
    )
    database_replica_max_lag_s: int = setting(
        5,
        integer_between(2, 3600),
        "Seconds that the standby may lag behind; beyond that, everything is read from the primary.",
    )
    secret_key: tuple[str, ...] = setting(
        (),
        parse_secret_keys,
        "Signs cursors and playback tokens and encrypts secrets; the first of several (comma-separated) is "
        "used for new ones.",
        secret=True,
    )
    host: str = setting("127.0.0.1", str, "Address that `serve` listens on.")
    port: int = setting(8000, integer_between(1, 65535), "Port that `serve` listens on; `PORT` works too.")
    server: str = setting(
        "gunicorn",
        one_of("gunicorn", "granian"),
        "What serves HTTP in `serve`; `granian` uses less CPU, and needs the extra `granian`.",
    )
    workers: int = setting(2, integer_between(1, 64), "Web processes of `serve`; `WEB_CONCURRENCY` works too.")
    threads: int = setting(8, integer_between(1, 128), "Threads per web process.")
    database_connections: int = setting(
        0,
        integer_between(0, 100_000),
        "Connections to PostgreSQL that the node may open; if its threads need more, it does not start. 0: no limit.",
    )
    prepared_statements: str = setting(
        "auto",
        one_of("auto", "on", "off"),
        "Prepares statements on PostgreSQL; `auto`: unless the connection goes through a pooler such as PgBouncer.",
    )
    request_timeout_s: int = setting(
        10,
        integer_between(1, 600),
        "Seconds for a request's head to arrive; bodies get longer.",
    )
    call_budget_s: int = setting(
        10,
        integer_between(1, 60),
        "Seconds that one request may wait for other services, such as the payment provider, in total.",
    )
    public_url: str = setting(
        "",
        parse_url,
        "Public URL of the service, used in links in mail; empty: the address that `serve` listens on.",
    )
    hsts_subdomains: bool = setting(
        False, parse_flag, "Adds `includeSubDomains` to the HSTS header, which is sent if the public URL is https."
    )
    cors_origins: tuple[str, ...] = setting(
        (),
        parse_origins,
        "Origins of browser front ends that may call this API with cookies: `https://app.example`, comma-separated.",
    )
    docs: bool = setting(True, parse_flag, "Serves `/docs` and `/openapi.json`; if off, they return 404.")
    storefront: bool = setting(
        False, parse_flag, "Serves the demo storefront at `/`, a browser page that uses this API."
    )
    console: bool = setting(
        True,
        parse_flag,
        "Serves the operators' console at `/console`, a browser page that uses this API; if off, it returns 404.",
    )
    trusted_proxies: int | tuple = setting(
        0,
        parse_trusted_proxies,
        "Number of reverse proxies in front of the service, or their networks: `10.0.0.0/8,127.0.0.1`.",
    )
    country_header: str = setting(
        "", str, "Header in which a trusted proxy sends the viewer's country; empty: use the account's country."
    )
    city_header: str = setting(
        "", str, "Header in which a trusted proxy sends the viewer's city, shown in the list of sessions; empty: none."
    )
    geo_database: str = setting(
        "",
        parse_existing_file,
        "File in MaxMind's format (GeoLite2-City.mmdb) that says where addresses are; empty: none. Needs the extra "
        "`geography`.",
    )
    vpn: str = setting(
        "allow",
        one_of("allow", "refuse"),
        "Whether viewers may play from addresses of VPNs, proxies, Tor and hosting providers. `refuse` also refuses "
        "addresses that cannot be looked up.",
    )
    vpn_database: str = setting(
        "",
        parse_existing_file,
        "File in MaxMind's format (GeoIP2-Anonymous-IP.mmdb) that lists these addresses. Needs the extra `geography`.",
    )
    impossible_travel_kmh: int = setting(
        1000,
        integer_between(0, 100_000),
        "Speed between two sign-ins above which the owner is notified, with the geographic database; 0: never.",
    )
    media_url: str = setting(
        "/media/{item_id}/master.m3u8",
        parse_media_pattern,
        "Manifest URL of a title for which the catalogue has none.",
    )
    media_height_pattern: str = setting(
        r"(?<![0-9A-Za-z])([1-9][0-9]{2,3})p(?![0-9A-Za-z])",
        parse_height_pattern,
        "Regular expression that finds the picture height in the path of a media file; its group is the height.",
    )
    filter_manifests: bool = setting(
        False,
        parse_flag,
        "Serves HLS master playlists and DASH manifests itself, without variants above the viewer's picture height.",
    )
    grant_network: str = setting(
        "",
        parse_network_prefixes,
        "Binds playback tokens to the viewer's network: prefix lengths of IPv4 and IPv6, such as `24/56`; empty: they "
        "work from any address.",
    )
    grant_cookie_domain: str = setting(
        "",
        parse_cookie_domain,
        "Domain above the media servers and this service, such as `.service.example`: playback sets its tokens as "
        "cookies there; empty: it sets none.",
    )
    media_signers: tuple[MediaSigner, ...] = setting(
        (),
        parse_media_signers,
        "Signers of media URLs and cookies for CDNs, as JSON: "
        '`[{"host": "cdn.example", "signer": "cloudfront", "key_id": "K1", "key_file": "/etc/cdn.pem"}]`.',
        secret=True,
    )
    drm: DrmProvider | None = setting(
        None,
        parse_drm,
        "DRM licence servers, as JSON: "
        '`{"com_key_id": "…", "com_key": "…", "license_urls": {"widevine": "https://…"}}`.',
        secret=True,
    )
    signup: str = setting(
        "open",
        one_of("open", "confirm"),
        "`confirm` requires confirmation by mail and never reveals whether an email address is taken.",
    )
    guests: bool = setting(
        False, parse_flag, "People may browse and keep a watchlist without an account, as guests: `POST /v1/guests`."
    )
    guest_idle_days: int = setting(
        30,
        integer_between(1, 365),
        "Days without use after which a guest and what they saved are deleted.",
    )
    guest_max_age: int | None = setting(
        None,
        integer_between(0, 21),
        "Highest minimum age of titles that new guests and visitors without a token see, who then see no unrated ones; "
        "empty: 12 for guests, and for visitors 17 and unrated titles too.",
    )
    catalog: str = setting(
        "private",
        one_of("private", "public"),
        "`public`: catalogue reads need no token. Visitors see nothing rated 18 or above.",
    )
    adult_in_feeds: bool = setting(
        False, parse_flag, "The feeds for Roku and search engines have titles and episodes rated 18 or above, too."
    )
    catalog_reads_per_minute: int = setting(
        600,
        integer_between(1, 1_000_000),
        "Catalogue reads without a token that each process answers per minute to one network address.",
    )
    usernames: bool = setting(
        False, parse_flag, "Viewers may sign in with a username of their own. Needs the extra `identifiers`."
    )
    phones: bool = setting(
        False,
        parse_flag,
        "Viewers may sign in with a verified telephone number, which proves nothing by itself. Needs the extra "
        "`identifiers`.",
    )
    sms_url: str = setting("", parse_https_url, "URL of the HTTP gateway that sends text messages.")
    sms_secret: str = setting(
        "",
        parse_signing_secret,
        "Signs calls to the SMS gateway: `whsec_` and 24 to 64 bytes in base64, as of Standard Webhooks.",
        secret=True,
    )
    sms_countries: tuple[str, ...] = setting(
        (), parse_countries, "Countries whose telephone numbers are accepted: `DE,AT,CH`."
    )
    sms_per_country: int = setting(
        100,
        integer_between(1, 1_000_000),
        "Text messages per hour to numbers of one country calling code, against fraud with paid messages.",
    )
    dpop: bool = setting(
        False,
        parse_flag,
        "Apps may bind their sessions to a key of the device (DPoP, RFC 9449). Needs the extra `dpop`.",
    )
    login_throttle: bool = setting(
        True, parse_flag, "Rate limits on sign-in and on payments; can be turned off in the sandbox only."
    )
    trusted_device_days: int = setting(
        30,
        integer_between(0, 90),
        "Days for which a trusted device needs no second factor; 0: it is always required.",
    )
    stream_limit: str = setting(
        "refuse",
        one_of("refuse", "end_oldest"),
        "What to do when a new stream exceeds the plan's limit: `refuse`, or `end_oldest`, the account's oldest.",
    )
    device_limit: str = setting(
        "refuse",
        one_of("refuse", "evict"),
        "What to do when a new device exceeds the plan's limit: `refuse`, or `evict` the least recently used.",
    )
    extras: str = setting(
        "open_trailers",
        one_of("open_trailers", "open", "as_title"),
        "Which extras play without a subscription, within the title's countries and age: `open_trailers` (trailers, "
        "teasers, clips), `open` (all) or `as_title` (none).",
    )
    watched_percent: int = setting(
        90,
        integer_between(50, 100),
        "Percentage of its duration from which an item counts as watched, unless the catalogue says where its credits "
        "start.",
    )
    resume_after_s: int = setting(
        30,
        integer_between(0, 600),
        "Seconds watched from which an item can be resumed and appears in `continue-watching`.",
    )
    resume_after_percent: int = setting(
        5,
        integer_between(0, 50),
        "Percentage of a short item from which it can be resumed, if that is less than the seconds.",
    )
    continue_watching_days: int = setting(
        365,
        integer_between(1, 3650),
        "Days without progress after which an item leaves `continue-watching`, and a series `next-up` until its next "
        "new episode.",
    )
    next_up_specials: str = setting(
        "skip",
        one_of("skip", "last"),
        "Whether specials (season 0) are next episodes: `skip` never, `last` after the last season.",
    )
    still_watching_after_s: int = setting(
        14_400,
        integer_between(0, 86_400),
        "Seconds without a sign of the viewer after which a paused stream, and a playing one whose player reports "
        'interactions, asks "still watching?"; unanswered, it ends. 0: never.',
    )
    deletion_grace_days: int = setting(
        14,
        integer_between(0, 365),
        "Days during which a deleted account can be restored before it is erased; 0: erased at once.",
    )
    recovery_wait_hours: int = setting(
        72,
        integer_between(24, 720),
        "Hours between the start of an account's recovery by support and the link with which its owner finishes it.",
    )
    shortest_password: int = setting(
        8,
        integer_between(8, 64),
        "Minimum length of a new password; NIST SP 800-63B-4 requires 15 if the password is the only factor.",
    )
    breached_passwords: str = setting(
        "",
        parse_filter_file,
        "File of additional breached passwords, built by `streamsvc breached-passwords`; empty: the built- "
        "in list only.",
    )
    breach_range_url: str = setting(
        "",
        parse_range_url,
        "URL of a k-anonymity range API (Have I Been Pwned format), queried with five letters of a "
        "password's SHA-1; empty: none.",
    )
    session_epoch: int = setting(0, integer_between(0, 2**31 - 1), "Increase it to end all sessions created before.")
    mail_url: str = setting(
        "console:",
        parse_mail_url,
        "Where to send mail: `console:`, `file:/folder`, `smtp://user:password@host:587`.",
        secret=True,
    )
    mail_from: str = setting("streamsvc <no-reply@localhost>", str, "Sender of mail.")
    service_name: str = setting("streamsvc", str, "Name of the service, as gift mails show it.")
    oidc_providers: str = setting(
        "",
        parse_oidc_providers,
        "OpenID Connect providers, as JSON: name, issuer, client_id, client_secret. Needs the extra `oidc`.",
        secret=True,
    )
    oidc_redirect_url: str = setting(
        "",
        parse_url,
        "The front end's page to which providers redirect the browser; empty: the public URL and `/`.",
    )
    challenge_url: str = setting(
        "",
        parse_https_url,
        "URL that verifies challenges: siteverify of Turnstile or hCaptcha; empty: no challenges.",
    )
    challenge_secret: str = setting("", str, "Secret key for the challenge URL.", secret=True)
    sign_in_hook_url: str = setting(
        "",
        parse_url,
        "URL of your own service asked before each sign-in; only addresses that webhooks may have; empty: none.",
    )
    sign_in_hook_secret: str = setting(
        "", parse_signing_secret, "Secret that signs the calls of the sign-in hook: `whsec_…`.", secret=True
    )
    sign_in_hook_timeout_ms: int = setting(
        1000, integer_between(100, 5000), "Milliseconds that the whole call of the sign-in hook may take."
    )
    sign_in_hook_on_failure: str = setting(
        "deny",
        one_of("deny", "allow"),
        "What happens to a sign-in when the hook fails or is late: `deny` with 503, or `allow`.",
    )
    payment_provider: str = setting("sandbox", one_of("sandbox", "stripe"), "Payment provider.")
    stripe_secret_key: str = setting("", str, "Stripe's secret key. Needs the extra `stripe`.", secret=True)
    stripe_publishable_key: str = setting(
        "",
        parse_publishable_key,
        "Stripe's publishable key, which `GET /v1/payment-config` gives to front ends; empty: no payment form.",
    )
    stripe_webhook_secret: str = setting("", str, "Signing secret of `POST /v1/webhooks/stripe`.", secret=True)
    stripe_statement_suffix: str = setting(
        "",
        parse_statement_suffix,
        "Ends the text on card statements; it follows the shortened name set in Stripe's Dashboard.",
    )
    stripe_url: str = setting("https://api.stripe.com", parse_url, "Base URL of Stripe's API.")
    app_store_bundle_id: str = setting(
        "", str, "Bundle id of the iOS app whose App Store subscriptions count; empty: none. Needs the extra `stores`."
    )
    app_store_app_id: int = setting(0, integer_between(0, 10**15), "The app's Apple ID, a number in App Store Connect.")
    app_store_issuer_id: str = setting("", str, "Issuer id of the key for the App Store Server API.")
    app_store_key_id: str = setting("", str, "Id of the key for the App Store Server API.")
    app_store_key: str = setting(
        "", parse_ec_key, "The key itself (`SubscriptionKey_….p8`), an In-App Purchase key.", secret=True
    )
    app_store_environment: str = setting(
        "production",
        one_of("production", "sandbox"),
        "Whose transactions count: the other environment's grant nothing.",
    )
    app_store_root: str = setting(
        "", parse_certificate_file, "File with the root certificate to trust instead of Apple's; never in production."
    )
    app_store_online_checks: bool = setting(
        True, parse_flag, "Asks Apple whether a signing certificate was revoked, at most every 15 minutes."
    )
    app_store_commission: str = setting(
        "30,15", parse_commission, "Apple's percentage for reports: in a subscriber's first year, and afterwards."
    )
    app_store_url: str = setting("", parse_url, "Base URL of the App Store Server API; empty: that of the environment.")
    play_store_package: str = setting(
        "", str, "Package name of the Android app whose Google Play subscriptions count; empty: none. Needs `stores`."
    )
    play_store_account: str = setting(
        "", parse_service_account, "JSON key of the service account that may use the Google Play API.", secret=True
    )
    play_store_push_account: str = setting(
        "", str, "Address of the service account by which Pub/Sub signs `POST /v1/webhooks/play-store`."
    )
    play_store_push_audience: str = setting(
        "", str, "Audience of Pub/Sub's tokens; empty: the URL of the webhook, which is Pub/Sub's default."
    )
    play_store_commission: str = setting(
        "15", parse_commission, "Google's percentage for reports: in a subscriber's first year, and afterwards."
    )
    play_store_url: str = setting(
        "https://androidpublisher.googleapis.com", parse_url, "Base URL of the Google Play Developer API."
    )
    play_store_keys_url: str = setting(
        "https://www.googleapis.com/oauth2/v3/certs", parse_url, "Where Google publishes the keys of its tokens."
    )
    store_restore: str = setting(
        "refuse",
        one_of("refuse", "move"),
        "Restoring a purchase that another account has: `refuse`, or `move` it, so that the other account loses it.",
    )
    store_test_accounts: tuple[str, ...] = setting(
        (),
        parse_account_ids,
        "Ids of the accounts, such as that of the stores' reviewers, to which test purchases grant access.",
    )
    apple_pay_domain_file: str = setting(
        "",
        parse_existing_file,
        "File that verifies this domain for Apple Pay, served below `/.well-known/`; empty: none.",
    )
    webhooks_to_private: bool = setting(
        False, parse_flag, "Allows webhooks to private addresses and http://; in the sandbox only."
    )
    dunning: str = setting(
        "retry=1,3,5,7,10,14 warn=0 suspend=7 cancel=21",
        parse_dunning_schedule,
        "Dunning schedule in days after the first failed payment: retries (`retry.insufficient_funds=2,5,9` "
        "after that decline, `never` for none), then plan changes are refused, access ends, the "
        "subscription is canceled.",
    )
    pauses: str = setting(
        "min=3 per_year=3 cool_down=30",
        parse_pause_rules,
        "Limits of pauses: a pause of fewer days than `min` freezes none, `per_year` may begin within 365 days, and "
        "`cool_down` days lie between the end of one and the next.",
    )
    gift_amounts: str = setting(
        "EUR=500-20000 GBP=500-20000 USD=500-20000",
        parse_gift_amounts,
        "Least and most gift credit that viewers can buy at once, in minor units by currency; empty: none is sold.",
    )
    gift_expiry_months: int = setting(
        0, integer_between(0, 120), "Months after which a gift that a viewer bought expires; 0: it does not expire."
    )
    invoice_review_hours: int = setting(
        0,
        integer_between(0, 168),
        "Hours for which a renewal's invoice stays a draft that operators may add to or hold; 0: no draft.",
    )
    trial_without_card: str = setting(
        "cancel",
        one_of("cancel", "pause", "invoice", "refuse"),
        "What happens when a trial without a card ends: `cancel` or `pause` the subscription, or `invoice` it; with "
        "`refuse`, a trial starts only with a card that the bank has authorized for later charges.",
    )
    seller_name: str = setting("", str, "The seller's legal name, as invoices show it.")
    seller_street: str = setting("", str, "Street and number of the seller.")
    seller_postal_code: str = setting("", str, "Postal code of the seller.")
    seller_city: str = setting("", str, "City of the seller.")
    seller_country: str = setting("", parse_country, "Country of the seller, such as DE.")
    seller_vat_id: str = setting(
        "",
        parse_seller_vat_number,
        "The seller's VAT number; if set, businesses in other EU states account for the tax themselves.",
    )
    seller_tax_number: str = setting("", str, "The seller's national tax number, if it has no VAT number.")
    seller_registration: str = setting("", str, "Register and number of the seller, such as `HRB 12345 Berlin`.")
    seller_email: str = setting("", str, "Email address of the seller for questions about invoices.")
    seller_phone: str = setting("", str, "Telephone number of the seller.")
    seller_tax_exemption: str = setting(
        "", str, "Why the seller charges no tax, printed on invoices without tax, such as `§ 19 UStG`."
    )
    seller_time_zone: str = setting(
        "UTC", parse_time_zone, "Time zone of the seller, in which an invoice's date and the year of its number count."
    )
    invoice_prefix: str = setting(
        "", parse_number_prefix, "Begins the seller's invoice numbers: `DE` makes `DE-2026-000001`; empty: no prefix."
    )
    credit_note_series: str = setting(
        "own",
        one_of("own", "shared"),
        "Credit notes have a number series of their `own` (`CN-2026-000001`), or `shared` with the invoices.",
    )
    number_empty_invoices: bool = setting(
        False,
        parse_flag,
        "Gives an invoice with a total of zero a number and documents; without it, only the API shows it.",
    )
    vat_check: str = setting(
        "vies",
        one_of("form", "vies"),
        "Accept a customer's VAT number once `vies` confirms it, or by its `form` and check digits alone.",
    )
    vies_url: str = setting(
        "https://ec.europa.eu/taxation_customs/vies/rest-api",
        parse_url,
        "Base URL of the VIES REST API, the EU's register of VAT numbers.",
    )
    sandbox: bool = setting(
        False, parse_flag, "Enables `/v1/sandbox`: a movable clock, captured mail, declines on demand."
    )
    sandbox_clock: datetime | None = setting(
        None, parse_moment, "Initial time of the sandbox clock; empty: the current time."
    )
    metrics: bool = setting(
        False, parse_flag, "Serves `/metrics` for Prometheus; do not expose it publicly. Needs the extra `metrics`."
    )
    tracing: bool = setting(
        False,
        parse_flag,
        "Sends OpenTelemetry traces, to where the SDK's own variables say: `OTEL_EXPORTER_OTLP_ENDPOINT`. Needs the "
        "extra `tracing`.",
    )
    log_level: str = setting("info", one_of("debug", "info", "warning", "error"), "Log level.")
    log_format: str = setting("text", one_of("text", "json"), "Format of the log: lines of `text`, or of `json`.")
    access_log: bool = setting(
        False, parse_flag, "Logs every request: its route, status, time and size, without its path, query and tokens."
    )
    password_pepper: tuple[tuple[str, str], ...] = setting(
        (),
        parse_peppers,
        "Peppers for password hashes as `id:secret`; the first of several (comma-separated) is used for new hashes.",
        secret=True,
    )
    argon2_memory_kib: int = setting(19_456, integer_between(19_456, 1_048_576), "Memory per password hash, in KiB.")
    argon2_time_cost: int = setting(2, integer_between(2, 16), "Passes per password hash.")

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, creates_secret: bool = True) -> "Settings":
        """Read the settings from `env`. Raises SettingsError for an unknown name or an invalid value.

        `creates_secret`: as of `with_defaults`.
        """
        settings, errors = cls.read(env)
        if errors:
            raise SettingsError(errors[0])
        return settings.with_defaults(creates_secret)

    @classmethod
    def read(cls, env: Mapping[str, str]) -> tuple["Settings", list[str]]:
        """Read the settings from `env`, without defaults for development; also returns a sentence for each error.

        An invalid value is replaced by the setting's default. Raises SettingsError if a secret's file cannot be read.
        """
        known = {PREFIX + f.name.upper(): f for f in fields(cls)}
        errors = []
        if unknown := list_unknown(env):
            errors.append(f"{', '.join(unknown)}: unknown setting; `streamsvc config` lists all settings")
        texts = {name: env[name] for name in known if env.get(name)} | read_secret_files(env)
        for alias, name in (("PORT", "PORT"), ("WEB_CONCURRENCY", "WORKERS"), ("DATABASE_URL", "DATABASE_URL")):
            if env.get(alias):
                texts.setdefault(PREFIX + name, env[alias])
        values = {}
        for name, text in texts.items():
            try:
                values[known[name].name] = known[name].metadata["parse"](text)
            except ValueError as error:
                errors.append(f"{name}: {error}")
        return cls(**values), errors

    def with_defaults(self, creates_secret: bool = True) -> "Settings":
        """Return the settings with development defaults. Raises SettingsError if they are unsafe or incomplete.

        `creates_secret`: whether a missing development secret is stored in the data folder, not just made up.
        """
        for error in find_setting_errors(self):
            raise SettingsError(error)
        return self.fill_defaults(creates_secret)

    def fill_defaults(self, creates_secret: bool = True) -> "Settings":
        """Return the settings with development defaults. Raises SettingsError if the secret's file cannot be used."""
        folder = Path(self.data_dir).resolve()
        return self.replace(
            database_url=self.database_url or f"sqlite:///{folder / 'streamsvc.sqlite3'}",
            public_url=self.public_url or self._local_url(),
            secret_key=self.secret_key or _development_secret(folder / "secret.key", creates_secret),
        )

    def _local_url(self) -> str:
        """Return the URL at which a browser on this machine reaches `serve`."""
        host = self.host.strip("[]")
        host = LOCAL_HOSTS.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def replace(self, **changes: Any) -> "Settings":
        """Return a copy with these fields changed."""
        return type(self)(**{f.name: getattr(self, f.name) for f in fields(self)} | changes)

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    def find_missing_file(self) -> Path | None:
        """Return the file of an SQLite database that does not exist or is empty; None if it has one, or needs none."""
        path = Path(self.database_url.partition("///")[2].partition("?")[0])
        has_file = self.is_sqlite and path.name not in ("", ":memory:")
        return path if has_file and not (path.exists() and path.stat().st_size) else None


def current_extensions() -> dict[str, Any]:
    """Return the extensions of the current app, in fewer steps than the proxy takes."""
    extensions: dict[str, Any] = current_app._get_current_object().extensions  # type: ignore[attr-defined]
    return extensions


def current_settings() -> Settings:
    """Return the settings of the current app."""
    settings: Settings = current_extensions()["settings"]
    return settings


def _development_secret(path: Path, creates_it: bool) -> tuple[str, ...]:
    """Return the development secret key: created on first start, readable only by its owner.

    It is written to a temporary file and linked into place, so that another process sees all of it or nothing. Raises
    SettingsError if the file is empty or its key is too short, or if the folder cannot be written. Unless it
    `creates_it`, a missing one is only made up.
    """
    if not creates_it and not path.exists():
        return (secrets.token_hex(32),)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # readable only by its owner
                file.write(secrets.token_hex(32))
                file.flush()
                os.fsync(file.fileno())
                with suppress(FileExistsError):
                    os.link(file.name, path)
    except OSError as error:
        reason = f"{path} cannot be created: {error.strerror}; choose a folder that this user may write to"
        raise SettingsError(f"{PREFIX}DATA_DIR: {reason}") from None
    try:
        return parse_secret_keys(path.read_text())
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}; start the service as the user who owns it, or set "
            f"{PREFIX}SECRET_KEY or {PREFIX}DATA_DIR"
        ) from None
    except ValueError:
        raise SettingsError(f"{path} has no usable key: restore the file, or delete it to get a new key") from None


def select_known(env: Mapping[str, str]) -> dict[str, str]:
    """Leave out variables that look like settings and are none."""
    unknown = list_unknown(env)
    return {name: text for name, text in env.items() if name not in unknown}


def list_unknown(env: Mapping[str, str]) -> list[str]:
    """List the variables that look like settings and are none."""
    known = {PREFIX + f.name.upper() for f in fields(Settings)}
    known |= {name + FILE_SUFFIX for name in list_secret_names()}
    return sorted(n for n in env if n.startswith(PREFIX) and n not in known and not n.startswith(PREFIX + "TEST_"))


def list_secret_names() -> list[str]:
    """List the variables of secrets, whose value may be in a file instead."""
    return [PREFIX + f.name.upper() for f in fields(Settings) if f.metadata["secret"] or f.name in DATABASE_URLS]


def read_secret_files(env: Mapping[str, str]) -> dict[str, str]:
    """Read the secrets that are in files: `STREAMSVC_SECRET_KEY_FILE=/run/secrets/key`; by the variable's own name.

    Raises SettingsError; no message repeats what is in the file.
    """
    texts = {}
    for name in list_secret_names():
        path = env.get(name + FILE_SUFFIX)
        if not path:
            continue
        if env.get(name):
            raise SettingsError(f"{name} and {name}{FILE_SUFFIX}: set only one of them")
        try:
            text = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise SettingsError(f"{name}{FILE_SUFFIX}: {path} cannot be read: {reason}") from None
        if not text:
            raise SettingsError(f"{name}{FILE_SUFFIX}: {path} is empty")
        texts[name] = text
    return texts


def describe_settings(settings: Settings) -> list[tuple[str, str, str]]:
    """(variable, current value, description) of every setting; secrets are masked."""
    rows = []
    for f in fields(settings):
        value = getattr(settings, f.name)
        text = "(set)" if f.metadata["secret"] and value else PASSWORD_IN_URL.sub(r"\1***@", _format_value(value))
        rows.append((PREFIX + f.name.upper(), text, f.metadata["description"]))
    return rows


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
