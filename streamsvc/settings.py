"""Every `STREAMSVC_*` variable: its name, type, default and description. Read once, at startup."""

import base64
import ipaddress
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import current_app

from streamsvc.rules.billing import vat
from streamsvc.rules.billing.gifts import GiftAmounts
from streamsvc.rules.billing.number_series import is_number_prefix
from streamsvc.rules.catalog.codes import COUNTRIES, TIME_ZONES
from streamsvc.rules.connections import node_connections
from streamsvc.rules.playback.drm import DrmProvider, parse_drm_provider
from streamsvc.rules.playback.grant_cookies import is_in_domain
from streamsvc.rules.playback.media_paths import ITEM_ID, split_media_pattern
from streamsvc.rules.playback.signers import MediaSigner, parse_signers

PREFIX, FILE_SUFFIX = "STREAMSVC_", "_FILE"
MIN_SECRET_LENGTH = 32
MIN_SECRET_VARIETY = 8
"""Different characters in a secret that was generated."""
ORIGIN = re.compile(
    r"(https://[a-z0-9-]+(\.[a-z0-9-]+)*(?!:443$)|http://(localhost|127\.0\.0\.1)(?!:80$))(:[1-9]\d{0,4})?", re.ASCII
)
PASSWORD_IN_URL = re.compile(r"(://[^:/@]*:)[^@]*@")


class SettingsError(Exception):
    """A setting is invalid or unsafe; the message names the variable and the fix."""


def parse_flag(text: str) -> bool:
    """Parse a boolean, such as 1, true, yes or on."""
    if text.lower() not in ("0", "1", "false", "true", "no", "yes", "off", "on"):
        raise ValueError("must be 1 or 0")
    return text.lower() in ("1", "true", "yes", "on")


def integer_between(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a parser of integers from `lowest` to `highest`."""

    def parse(text: str) -> int:
        if not text.lstrip("-").isdecimal() or not lowest <= int(text) <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def parse_trusted_proxies(text: str) -> int | tuple:
    """Parse the number of proxies, or their networks."""
    if text.isdecimal():
        return integer_between(0, 8)(text)
    try:
        networks = tuple(ipaddress.ip_network(network.strip()) for network in text.split(","))
    except ValueError as error:
        raise ValueError(f"must be a number from 0 to 8, or networks such as 10.0.0.0/8,127.0.0.1 ({error})") from None
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("must not contain all addresses, or clients could forge theirs; list the proxies' networks")
    return networks


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser that accepts only these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("must be one of " + ", ".join(words))
        return text

    return parse


def parse_moment(text: str) -> datetime:
    """Parse an RFC 3339 time with an offset; aware UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    return moment.astimezone(UTC)


def parse_statement_suffix(text: str) -> str:
    """Parse a suffix of the text on card statements, by Stripe's rules for `statement_descriptor_suffix`."""
    if text and (len(text) > 22 or set(text) & set("<>\\'\"*") or not any(map(str.isalpha, text))):
        raise ValueError("must be 1 to 22 characters with at least one letter, without < > \\ ' \" *")
    return text


def parse_database_url(text: str) -> str:
    text = text.replace("postgres://", "postgresql://", 1)
    if not text.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
        raise ValueError("must be sqlite:///path or postgresql://user:password@host/name")
    return text


def parse_secret_keys(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    if not keys or min(map(len, keys)) < MIN_SECRET_LENGTH:
        raise ValueError(f"must be at least {MIN_SECRET_LENGTH} characters; separate several keys by commas")
    return keys


def parse_peppers(text: str) -> tuple[tuple[str, str], ...]:
    """Parse `id:secret` or `none`, comma-separated, to pairs of id and secret; ("", "") for none."""
    peppers = tuple(_parse_pepper(entry.strip()) for entry in text.split(","))
    if len({pepper_id for pepper_id, _ in peppers}) != len(peppers):
        raise ValueError("must not repeat an id")
    return peppers


def _parse_pepper(entry: str) -> tuple[str, str]:
    if entry == "none":
        return "", ""
    pepper_id, _, secret = entry.partition(":")
    if not re.fullmatch("[a-z0-9]{1,16}", pepper_id) or len(secret) < MIN_SECRET_LENGTH:
        raise ValueError(
            f"must be id:secret, the secret with {MIN_SECRET_LENGTH} characters or more; separate several by commas"
        )
    return pepper_id, secret


def parse_https_url(text: str) -> str:
    if not re.match(r"https://|http://(127\.0\.0\.1|localhost)[:/]", text):
        raise ValueError("must be a URL that starts with https://")
    return text


def parse_origins(text: str) -> tuple[str, ...]:
    """Parse the origins of front ends, comma-separated, each as browsers send it in `Origin`."""
    origins = tuple(origin.strip() for origin in text.split(","))
    for origin in origins:
        if "*" in origin:
            raise ValueError("must list each origin; with `*` any website could act for a signed-in viewer")
        if not ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{origin!r} must be an origin such as https://app.example: https (http for localhost and 127.0.0.1 "
                "only), in lower case, no path, no slash at the end, and a port only if it is not the default"
            )
    return origins


def parse_range_url(text: str) -> str:
    return parse_https_url(text).rstrip("/") + "/"


def parse_dunning_schedule(text: str) -> str:
    days = r"(\d+(,\d+)*|never)"
    if not re.fullmatch(rf"retry={days}( retry\.[a-z_]+={days})* warn=\d+ suspend=\d+ cancel=\d+", text):
        raise ValueError("must be retry=DAY,… [retry.DECLINE_CODE=DAY,…|never] warn=DAY suspend=DAY cancel=DAY")
    return text


def parse_pause_rules(text: str) -> str:
    if not re.fullmatch(r"min=\d{1,3} per_year=[1-9]\d{0,2} cool_down=\d{1,3}", text):
        raise ValueError("must be min=DAYS per_year=COUNT cool_down=DAYS")
    return text


def parse_gift_amounts(text: str) -> str:
    GiftAmounts.parse(text)
    return text


def parse_seller_vat_number(text: str) -> str:
    """Parse the seller's VAT number; its country code and check digits must be right."""
    number = vat.normalize_vat_number(text)
    if vat.vat_number_country(number) is None:
        raise ValueError("must be a valid VAT number that starts with its country code, such as IE1234564WA")
    return number


def parse_country(text: str) -> str:
    if text not in COUNTRIES:
        raise ValueError("must be an ISO 3166-1 alpha-2 country code such as DE")
    return text


def parse_countries(text: str) -> tuple[str, ...]:
    return tuple(parse_country(code.strip()) for code in text.split(","))


def parse_time_zone(text: str) -> str:
    if text not in TIME_ZONES:
        raise ValueError("must be an IANA time zone such as Europe/Berlin")
    return text


def parse_number_prefix(text: str) -> str:
    if not is_number_prefix(text):
        raise ValueError("must be 1 to 10 of A–Z and 0–9 with at least one letter, and not CN")
    return text


def parse_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("must be a URL that starts with http:// or https://")
    return text.rstrip("/")


def parse_signing_secret(text: str) -> str:
    """Parse a secret of Standard Webhooks. The message never repeats it."""
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64: `echo whsec_$(openssl rand -base64 32)`")
    return text


def parse_mail_url(text: str) -> str:
    if not text.startswith(("console:", "file:/", "smtp://", "smtps://")):
        raise ValueError("must be console:, file:/folder, smtp://host:port or smtps://host:port")
    return text


def parse_oidc_providers(text: str) -> str:
    """Check `{"name": {"issuer", "client_id", "client_secret"?, "scope"?, "response_mode"?}}`; returned as text."""
    providers = json.loads(text)  # a JSONDecodeError is a ValueError
    required, allowed = {"issuer", "client_id"}, {"issuer", "client_id", "client_secret", "scope", "response_mode"}
    for name, entry in providers.items() if isinstance(providers, dict) else [("", None)]:
        if (
            not isinstance(entry, dict)
            or not required <= entry.keys() <= allowed
            or not re.fullmatch("[a-z0-9-]+", name)
        ):
            raise ValueError('must be {"name": {"issuer": …, "client_id": …, "client_secret": …, "scope": …}}')
        if not all(isinstance(value, str) for value in entry.values()):
            raise ValueError(f"{name}: all values must be text")
        if not re.match(r"https://|http://(127\.0\.0\.1|localhost)[:/]", entry["issuer"]):
            raise ValueError(f"{name}: issuer must start with https://")
        if entry.get("response_mode", "form_post") != "form_post":
            raise ValueError(f"{name}: response_mode must be form_post")
    return text


def parse_filter_file(text: str) -> str:
    if find_spec("rbloom") is None:
        raise ValueError("needs the extra `breaches`: pip install 'streamsvc[breaches]'")
    if not Path(text).is_file():
        raise ValueError(f"file {text} does not exist")
    return text


def parse_existing_file(text: str) -> str:
    if not Path(text).is_file():
        raise ValueError(f"file {text} does not exist")
    return text


def parse_publishable_key(text: str) -> str:
    """Check Stripe's publishable key. The message never repeats it: it may be a secret key by mistake."""
    if text.startswith(("sk_", "rk_")):
        raise ValueError("must be the publishable key (pk_…): browsers get it, so it must not be a secret key")
    if not re.fullmatch(r"pk_(test|live)_\w+", text, re.ASCII):
        raise ValueError("must be a publishable key that starts with pk_test_ or pk_live_")
    return text


def parse_media_pattern(text: str) -> str:
    if ITEM_ID not in urlsplit(text).path or not text.startswith(("http://", "https://", "/")):
        raise ValueError("must be a URL, or a path on the public URL, whose path contains {item_id}")
    split_media_pattern(text)
    return text


def parse_height_pattern(text: str) -> str:
    try:
        groups = re.compile(text, re.ASCII).groups
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from None
    if groups != 1:
        raise ValueError("must have exactly one group, for the height in lines")
    return text


def parse_network_prefixes(text: str) -> str:
    lengths = re.fullmatch(r"(\d{1,2})/(\d{1,3})", text, re.ASCII)
    if not lengths or int(lengths[1]) > 32 or int(lengths[2]) > 128:
        raise ValueError("must be the prefix lengths for IPv4 and IPv6, such as 24/56")
    return text


def parse_media_signers(text: str) -> tuple[MediaSigner, ...]:
    """Parse the signers of the media hosts; `key_file` is replaced by the private key in it."""
    entries = _parse_json(text)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and "key_file" in entry:
            entry["private_key"] = Path(parse_existing_file(str(entry.pop("key_file")))).read_text("latin-1")
    return parse_signers(entries)


def parse_drm(text: str) -> DrmProvider:
    return parse_drm_provider(_parse_json(text))


def _parse_json(text: str) -> Any:
    """Parse JSON. The message never repeats it, since there are secrets in it."""
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("must be JSON") from None


def parse_cookie_domain(text: str) -> str:
    """Parse the domain of cookies, with or without a dot before it; returned without."""
    domain = text.removeprefix(".")
    if not re.fullmatch(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?", domain, re.ASCII):
        raise ValueError("must be a domain in lower case with at least one dot in it, such as .service.example")
    return domain


def setting(default: Any, parse: Callable[[str], Any], description: str, secret: bool = False) -> Any:
    """Return a dataclass field with its parser and description; a `secret` value is masked in `streamsvc config`."""
    return field(default=default, metadata={"parse": parse, "description": description, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The operator's settings. Times are in seconds if the name ends in `_s`."""

    env: str = setting("development", one_of("development", "production"), "`production` refuses unsafe defaults.")
    data_dir: str = setting("instance", str, "Folder of the SQLite file and the generated development secret.")
    database_url: str = setting("", parse_database_url, "Database URL; empty: SQLite in the data folder.")
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
    public_url: str = setting("http://127.0.0.1:8000", parse_url, "Public URL of the service, used in links in mail.")
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
    log_level: str = setting("info", one_of("debug", "info", "warning", "error"), "Log level.")
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
        known = {PREFIX + f.name.upper(): f for f in fields(cls)}
        if unknown := list_unknown(env):
            raise SettingsError(f"{', '.join(unknown)}: unknown setting; `streamsvc config` lists all settings")
        texts = {name: env[name] for name in known if env.get(name)} | read_secret_files(env)
        for alias, name in (("PORT", "PORT"), ("WEB_CONCURRENCY", "WORKERS"), ("DATABASE_URL", "DATABASE_URL")):
            if env.get(alias):
                texts.setdefault(PREFIX + name, env[alias])
        values = {}
        for name, text in texts.items():
            try:
                values[known[name].name] = known[name].metadata["parse"](text)
            except ValueError as error:
                raise SettingsError(f"{name}: {error}") from None
        return cls(**values).with_defaults(creates_secret)

    def with_defaults(self, creates_secret: bool = True) -> "Settings":
        """Return the settings with development defaults. Raises SettingsError if they are unsafe or incomplete.

        `creates_secret`: whether a missing development secret is stored in the data folder, not just made up.
        """
        if self.env == "production" and not self.secret_key:
            raise SettingsError(f"{PREFIX}SECRET_KEY: required in production; generate one with `openssl rand -hex 32`")
        if self.env == "production" and self.payment_provider == "sandbox" and not self.sandbox:
            raise SettingsError(
                f"{PREFIX}PAYMENT_PROVIDER: production needs a real payment provider; `sandbox` takes no money"
            )
        if self.payment_provider == "stripe" and not (self.stripe_secret_key and self.stripe_webhook_secret):
            raise SettingsError(
                f"{PREFIX}STRIPE_SECRET_KEY and {PREFIX}STRIPE_WEBHOOK_SECRET: both are required for Stripe"
            )
        if self.sandbox and self.stripe_secret_key.startswith(("sk_live", "rk_live")):
            raise SettingsError(f"{PREFIX}STRIPE_SECRET_KEY: a live key cannot be used in the sandbox")
        if self.grant_cookie_domain:
            url = urlsplit(self.public_url)
            if url.scheme != "https" or not is_in_domain(url.hostname or "", self.grant_cookie_domain):
                raise SettingsError(
                    f"{PREFIX}GRANT_COOKIE_DOMAIN: must be a domain above the host of {PREFIX}PUBLIC_URL, which must "
                    "start with https://"
                )
        if self.stripe_secret_key.startswith("pk_"):
            raise SettingsError(f"{PREFIX}STRIPE_SECRET_KEY: must be the secret key (sk_…), not the publishable key")
        if self.stripe_publishable_key and not is_same_stripe_mode(self.stripe_secret_key, self.stripe_publishable_key):
            raise SettingsError(
                f"{PREFIX}STRIPE_PUBLISHABLE_KEY: must be of the same mode as {PREFIX}STRIPE_SECRET_KEY: both test or "
                "both live keys"
            )
        if self.webhooks_to_private and not self.sandbox:
            raise SettingsError(f"{PREFIX}WEBHOOKS_TO_PRIVATE: allowed in the sandbox only")
        if self.payment_provider == "stripe" and find_spec("stripe") is None:
            raise SettingsError(f"{PREFIX}PAYMENT_PROVIDER: needs the extra `stripe`: pip install 'streamsvc[stripe]'")
        if self.server == "granian" and find_spec("granian") is None:
            raise SettingsError(f"{PREFIX}SERVER: granian needs the extra `granian`: pip install 'streamsvc[granian]'")
        if self.oidc_providers and find_spec("joserfc") is None:
            raise SettingsError(f"{PREFIX}OIDC_PROVIDERS: needs the extra `oidc`: pip install 'streamsvc[oidc]'")
        if (self.usernames or self.phones) and not (find_spec("precis_i18n") and find_spec("phonenumbers")):
            name = "USERNAMES" if self.usernames else "PHONES"
            raise SettingsError(f"{PREFIX}{name}: needs the extra `identifiers`: pip install 'streamsvc[identifiers]'")
        if self.phones and not self.sms_countries:
            raise SettingsError(f"{PREFIX}SMS_COUNTRIES: required for telephone numbers, such as DE,AT,CH")
        if self.phones and not self.sandbox and not (self.sms_url and self.sms_secret):
            raise SettingsError(f"{PREFIX}SMS_URL and {PREFIX}SMS_SECRET: both are required for telephone numbers")
        if self.dpop and find_spec("joserfc") is None:
            raise SettingsError(f"{PREFIX}DPOP: needs the extra `dpop`: pip install 'streamsvc[dpop]'")
        if self.vpn == "refuse" and not self.vpn_database:
            raise SettingsError(f"{PREFIX}VPN_DATABASE: required to refuse viewers behind a VPN")
        for name in ("geo_database", "vpn_database"):
            if getattr(self, name) and find_spec("maxminddb") is None:
                extra = "needs the extra `geography`: pip install 'streamsvc[geography]'"
                raise SettingsError(f"{PREFIX}{name.upper()}: {extra}")
        if self.metrics and find_spec("prometheus_client") is None:
            raise SettingsError(f"{PREFIX}METRICS: needs the extra `metrics`: pip install 'streamsvc[metrics]'")
        for name in ("country_header", "city_header"):
            if getattr(self, name) and not (self.trusted_proxies or self.sandbox):
                reason = f"requires {PREFIX}TRUSTED_PROXIES, since any client could send this header"
                raise SettingsError(f"{PREFIX}{name.upper()}: {reason}")
        if bool(self.challenge_url) != bool(self.challenge_secret):
            raise SettingsError(f"{PREFIX}CHALLENGE_URL and {PREFIX}CHALLENGE_SECRET: both are required for challenges")
        if bool(self.sign_in_hook_url) != bool(self.sign_in_hook_secret):
            names = f"{PREFIX}SIGN_IN_HOOK_URL and {PREFIX}SIGN_IN_HOOK_SECRET"
            raise SettingsError(f"{names}: both are required for the sign-in hook")
        if self.sign_in_hook_url.startswith("http://") and not self.webhooks_to_private:
            raise SettingsError(f"{PREFIX}SIGN_IN_HOOK_URL: must be a URL that starts with https://")
        if not self.login_throttle and not self.sandbox:
            raise SettingsError(f"{PREFIX}LOGIN_THROTTLE: can be turned off in the sandbox only")
        if self.sandbox_clock and not self.sandbox:
            raise SettingsError(f"{PREFIX}SANDBOX_CLOCK: requires the sandbox (`{PREFIX}SANDBOX=1`)")
        needed = node_connections(self.workers, self.threads)
        is_postgresql = self.database_url.startswith("postgresql")
        if is_postgresql and 0 < self.database_connections < needed:
            raise SettingsError(
                f"{PREFIX}DATABASE_CONNECTIONS: {self.workers} web processes with {self.threads} threads each and a "
                f"worker need {needed}; allow as many, or lower {PREFIX}WORKERS or {PREFIX}THREADS"
            )
        folder = Path(self.data_dir).resolve()
        return self.replace(
            database_url=self.database_url or f"sqlite:///{folder / 'streamsvc.sqlite3'}",
            secret_key=self.secret_key or _development_secret(folder / "secret.key", creates_secret),
        )

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


def list_doubtful_settings(settings: Settings) -> list[str]:
    """List what is valid and yet wrong for a service that people pay for, or in production."""
    doubts = []
    if settings.env == "production":
        for is_wrong, doubt in (
            (settings.sandbox, "SANDBOX: is on in production; nobody pays"),
            (settings.mail_url.startswith("console:"), "MAIL_URL: no mail is sent"),
            (settings.mail_from.endswith("@localhost>"), "MAIL_FROM: mail has no sender"),
            (not settings.public_url.startswith("https://"), "PUBLIC_URL: links in mail are not https"),
            (settings.stripe_secret_key.startswith(("sk_test", "rk_test")), "STRIPE_SECRET_KEY: is a test key"),
        ):
            doubts += [PREFIX + doubt] if is_wrong else []
    elif not settings.sandbox:
        doubts.append(f"{PREFIX}ENV: is not production, so unsafe defaults are accepted")
    if min(len(set(key)) for key in settings.secret_key) < MIN_SECRET_VARIETY:
        doubts.append(f"{PREFIX}SECRET_KEY: is easy to guess; generate one with `openssl rand -hex 32`")
    return doubts


def is_same_stripe_mode(secret_key: str, publishable_key: str) -> bool:
    """Whether both keys are test keys or both are live keys: `sk_test_…` and `pk_test_…`."""
    return secret_key.split("_")[1:2] == publishable_key.split("_")[1:2]


def current_settings() -> Settings:
    """Return the settings of the current app."""
    settings: Settings = current_app.extensions["settings"]
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
        raise SettingsError(f"{PREFIX}DATA_DIR: {path} cannot be created: {error.strerror}") from None
    try:
        return parse_secret_keys(path.read_text())
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
    return [PREFIX + f.name.upper() for f in fields(Settings) if f.metadata["secret"] or f.name == "database_url"]


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
