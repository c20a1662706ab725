"""Parsers of settings: each returns the value of a variable's text, or raises ValueError saying what it must be."""

import base64
import ipaddress
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from streamsvc.rules.billing import vat
from streamsvc.rules.billing.gifts import GiftAmounts
from streamsvc.rules.billing.number_series import is_number_prefix
from streamsvc.rules.catalog.codes import COUNTRIES, TIME_ZONES
from streamsvc.rules.playback.drm import DrmProvider, parse_drm_provider
from streamsvc.rules.playback.media_paths import ITEM_ID, split_media_pattern
from streamsvc.rules.playback.signers import MediaSigner, parse_signers

PREFIX = "STREAMSVC_"
MIN_SECRET_LENGTH = 32
ESCAPES = "a character to escape in the user or the password: %2F for /, %3F for ?, %23 for #, %40 for @"
ORIGIN = re.compile(
    r"(https://[a-z0-9-]+(\.[a-z0-9-]+)*(?!:443$)|http://(localhost|127\.0\.0\.1)(?!:80$))(:[1-9]\d{0,4})?", re.ASCII
)


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
    """Parse a URL of SQLAlchemy's. The message never repeats it, since there is a password in it."""
    text = text.replace("postgres://", "postgresql://", 1)
    if text.startswith("sqlite:///"):
        return text
    if not text.startswith(("postgresql://", "postgresql+psycopg://")):
        raise ValueError("must be sqlite:///path or postgresql://user:password@host/name")
    try:
        url = make_url(text)
    except (ValueError, ArgumentError):
        raise ValueError(f"has a port that is not a number, or {ESCAPES}") from None
    if "@" in (url.host or ""):
        raise ValueError("must have @ in the user and the password written as %40")
    _check_port(url.port)
    return text


def parse_replica_url(text: str) -> str:
    """Parse the URL of one PostgreSQL server: reads must know which server has replayed what."""
    text = parse_database_url(text)
    if text.startswith("sqlite"):
        raise ValueError("must be postgresql://user:password@host/name")
    hosts = make_url(text).query.get("host", "")
    if not isinstance(hosts, str) or "," in hosts:
        raise ValueError("must name one server")
    return text


def _check_port(port: int | None) -> None:
    if port is not None and not 1 <= port <= 65_535:
        raise ValueError("must have a port from 1 to 65535")


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
    if text.startswith("smtp"):
        _check_mail_server(text)
    return text


def _check_mail_server(text: str) -> None:
    """Raise ValueError if the URL names no server to connect to. The message never repeats it."""
    try:
        url = urlsplit(text)
        port, host = url.port, url.hostname
    except ValueError:  # its message repeats what stands for the port: half of a password, if one has a slash
        raise ValueError(f"has a host or a port that is not valid, or {ESCAPES}") from None
    _check_port(port)
    if not host or url.path.strip("/") or url.query or url.fragment:
        raise ValueError(f"must be smtp://user:password@host:port and nothing more, or {ESCAPES}")


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


def parse_commission(text: str) -> str:
    """Check `15`, or `30,15` if the percentage is another one after the first year."""
    parts = [part.strip() for part in text.split(",")]
    if not 1 <= len(parts) <= 2 or not all(part.isascii() and part.isdigit() and int(part) <= 100 for part in parts):
        raise ValueError("must be one or two percentages from 0 to 100, such as 30,15")
    return ",".join(parts)


def parse_account_ids(text: str) -> tuple[str, ...]:
    """Parse ids of accounts, comma-separated."""
    ids = tuple(part.strip() for part in text.split(",") if part.strip())
    if not all(re.fullmatch(r"acc_[0-9a-v]{26}", each, re.ASCII) for each in ids):
        raise ValueError("must be ids of accounts (acc_…), comma-separated")
    return ids


def parse_certificate_file(text: str) -> str:
    """Check that the file has one certificate, in PEM or DER."""
    from cryptography import x509

    raw = Path(parse_existing_file(text)).read_bytes()
    try:
        (x509.load_pem_x509_certificate if b"-----BEGIN" in raw else x509.load_der_x509_certificate)(raw)
    except ValueError:
        raise ValueError(f"file {text} has no certificate") from None
    return text


def parse_ec_key(text: str) -> str:
    """Check a private key on the curve P-256, in PEM. The message never repeats it."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text.replace("\\n", "\n").encode(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError("must be the .p8 file's text: a private key that begins with -----BEGIN PRIVATE KEY-----")
    return text.replace("\\n", "\n")


def parse_service_account(text: str) -> str:
    """Check Google's JSON key of a service account. The message never repeats it."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        account = json.loads(text)
        load_pem_private_key(account["private_key"].encode(), None)
        urls = [account["client_email"], account["token_uri"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        urls = []
    if not urls or not all(isinstance(each, str) for each in urls) or not urls[1].startswith(("https://", "http://")):
        raise ValueError("must be the JSON key of a service account: client_email, private_key and token_uri")
    return text
