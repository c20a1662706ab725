"""Every `STREAMSVC_*` variable: its name, its type, its default and one sentence. Read once, at start."""

import ipaddress
import json
import os
import re
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

PREFIX = "STREAMSVC_"
MIN_SECRET_LENGTH = 32
PASSWORD_IN_URL = re.compile(r"(://[^:/@]*:)[^@]*@")


class SettingsError(Exception):
    """The environment asks for something that cannot be; the message names the variable and the mend."""


def parse_flag(text: str) -> bool:
    if text.lower() not in ("0", "1", "false", "true", "no", "yes", "off", "on"):
        raise ValueError("give 1 or 0")
    return text.lower() in ("1", "true", "yes", "on")


def integer_between(lowest: int, highest: int):
    def read(text: str) -> int:
        if not text.lstrip("-").isdecimal() or not lowest <= int(text) <= highest:
            raise ValueError(f"give a whole number from {lowest} to {highest}")
        return int(text)

    return read


def parse_trusted_proxies(text: str) -> int | tuple:
    """How many there are, or the networks that they lie in."""
    if text.isdecimal():
        return integer_between(0, 8)(text)
    try:
        networks = tuple(ipaddress.ip_network(each.strip()) for each in text.split(","))
    except ValueError as error:
        raise ValueError(f"give how many, 0 to 8, or networks such as 10.0.0.0/8,127.0.0.1 ({error})") from None
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("a network of all addresses lets everybody choose theirs; name those of the proxies")
    return networks


def one_of(*words: str):
    def read(text: str) -> str:
        if text not in words:
            raise ValueError("give one of " + ", ".join(words))
        return text

    return read


def parse_moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError("give a time such as 2026-01-31T12:00:00Z")
    return at.astimezone(UTC)


def parse_database_url(text: str) -> str:
    text = text.replace("postgres://", "postgresql://", 1)
    if not text.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
        raise ValueError("give sqlite:///path or postgresql://user:password@host/name")
    return text


def parse_secret_keys(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    if not keys or min(map(len, keys)) < MIN_SECRET_LENGTH:
        raise ValueError(f"give at least {MIN_SECRET_LENGTH} characters; the first of several keys, by commas, signs")
    return keys


def parse_peppers(text: str) -> tuple[tuple[str, str], ...]:
    """`id:secret` or `none`, by commas."""
    found = tuple(
        tuple(entry.strip().split(":", 1)) if entry.strip() != "none" else ("", "") for entry in text.split(",")
    )
    for entry in found:
        if entry != ("", "") and not (
            len(entry) == 2 and re.fullmatch("[a-z0-9]{1,16}", entry[0]) and len(entry[1]) >= MIN_SECRET_LENGTH
        ):
            raise ValueError(
                f"give id:secret, the secret of at least {MIN_SECRET_LENGTH} characters; several by commas"
            )
    if len({entry[0] for entry in found}) != len(found):
        raise ValueError("give each id once")
    return found


def parse_https_url(text: str) -> str:
    if not re.match(r"https://|http://(127\.0\.0\.1|localhost)[:/]", text):
        raise ValueError("give an address that starts with https://")
    return text


def parse_range_url(text: str) -> str:
    return parse_https_url(text).rstrip("/") + "/"


def parse_dunning_schedule(text: str) -> str:
    days = r"(\d+(,\d+)*|never)"
    if not re.fullmatch(rf"retry={days}( retry\.[a-z_]+={days})* warn=\d+ suspend=\d+ cancel=\d+", text):
        raise ValueError("give retry=DAY,… [retry.DECLINE_CODE=DAY,…|never] warn=DAY suspend=DAY cancel=DAY")
    return text


def parse_vat_number(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}[0-9A-Z+*]{2,12}", text):
        raise ValueError("give a VAT number with the letters of its country in front, such as IE1234567WA")
    return text


def parse_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("give an address that starts with http:// or https://")
    return text.rstrip("/")


def parse_mail_url(text: str) -> str:
    if not text.startswith(("console:", "file:/", "smtp://", "smtps://")):
        raise ValueError("give console:, file:/folder, smtp://host:port or smtps://host:port")
    return text


def parse_oidc_providers(text: str) -> str:
    """`{"name": {"issuer", "client_id", "client_secret"?, "scope"?, "response_mode"?}}`, kept as text."""
    told = json.loads(text)  # a JSONDecodeError is a ValueError
    needed, known = {"issuer", "client_id"}, {"issuer", "client_id", "client_secret", "scope", "response_mode"}
    for name, entry in told.items() if isinstance(told, dict) else [("", None)]:
        if not isinstance(entry, dict) or not needed <= entry.keys() <= known or not re.fullmatch("[a-z0-9-]+", name):
            raise ValueError('give {"name": {"issuer": …, "client_id": …, "client_secret": …, "scope": …}}')
        if not all(isinstance(value, str) for value in entry.values()):
            raise ValueError(f"{name}: give text")
        if not re.match(r"https://|http://(127\.0\.0\.1|localhost)[:/]", entry["issuer"]):
            raise ValueError(f"{name}: the issuer starts with https://")
        if entry.get("response_mode", "form_post") != "form_post":
            raise ValueError(f"{name}: the only response_mode to ask for is form_post")
    return text


def parse_filter_file(text: str) -> str:
    if find_spec("rbloom") is None:
        raise ValueError("needs the extra; `pip install 'streamsvc[breaches]'` has it")
    if not Path(text).is_file():
        raise ValueError(f"there is no file {text}")
    return text


def parse_media_pattern(text: str) -> str:
    if "{item_id}" not in text or not text.startswith(("http://", "https://", "/")):
        raise ValueError("give an address, or a path below the public one, with {item_id} in it")
    return text


def setting(default, parse, description: str, secret: bool = False):
    return field(default=default, metadata={"read": parse, "about": description, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the operator decided. Times in seconds where the name ends in `_s`."""

    env: str = setting("development", one_of("development", "production"), "`production` refuses unsafe defaults.")
    data_dir: str = setting("instance", str, "Folder of the SQLite file and the generated development secret.")
    database_url: str = setting("", parse_database_url, "Database; empty means SQLite in the data folder.")
    secret_key: tuple[str, ...] = setting(
        (), parse_secret_keys, "Signs cursors and playback grants; several by commas, the first signs.", secret=True
    )
    host: str = setting("127.0.0.1", str, "Address that `serve` listens on.")
    port: int = setting(8000, integer_between(1, 65535), "Port that `serve` listens on; `PORT` is honoured too.")
    workers: int = setting(2, integer_between(1, 64), "Web processes of `serve`; `WEB_CONCURRENCY` is honoured too.")
    threads: int = setting(8, integer_between(1, 128), "Threads of each web process.")
    public_url: str = setting(
        "http://127.0.0.1:8000", parse_url, "Where viewers reach the service; links in mail start so."
    )
    hsts_subdomains: bool = setting(
        False, parse_flag, "Where the public address is https, browsers shun http for all hosts below it too."
    )
    docs: bool = setting(True, parse_flag, "Shows `/docs` and `/openapi.json`; off, they are not found.")
    storefront: bool = setting(
        False, parse_flag, "Shows the demo's storefront at `/`: a page for a browser, over this API."
    )
    trusted_proxies: int | tuple = setting(
        0,
        parse_trusted_proxies,
        "How many reverse proxies stand before the service, or their networks: `10.0.0.0/8,127.0.0.1`.",
    )
    country_header: str = setting(
        "", str, "Header in which a trusted proxy tells the viewer's country; empty: the account's country counts."
    )
    city_header: str = setting(
        "", str, "Header in which a trusted proxy tells the viewer's city, for the list of sessions; empty: none is."
    )
    media_url: str = setting(
        "/media/{item_id}/master.m3u8",
        parse_media_pattern,
        "Where a title's manifest lies if the catalogue names none.",
    )
    signup: str = setting("open", one_of("open", "confirm"), "`confirm` never tells whether an e-mail is taken.")
    login_throttle: bool = setting(True, parse_flag, "Sign-in throttles; off is refused outside the sandbox.")
    trusted_device_days: int = setting(
        30,
        integer_between(0, 90),
        "Days in which a device that its owner trusts asks for no second factor; 0: it always does.",
    )
    device_limit: str = setting(
        "refuse",
        one_of("refuse", "evict"),
        "What plays on a device more than the plan has: nothing, or it takes the place of the longest unused one.",
    )
    deletion_grace_days: int = setting(
        14,
        integer_between(0, 365),
        "Days in which a deleted account may be taken back before it is erased; 0: erased at once.",
    )
    shortest_password: int = setting(
        8,
        integer_between(8, 64),
        "Characters of the shortest new password; NIST SP 800-63B-4 asks for 15 where nothing else is asked for.",
    )
    breached_passwords: str = setting(
        "",
        parse_filter_file,
        "File of further breached passwords, made by `streamsvc breached-passwords`; empty: the core's.",
    )
    breach_range_url: str = setting(
        "",
        parse_range_url,
        "A service that knows more of them, asked by five letters of their SHA-1; empty: none is.",
    )
    session_epoch: int = setting(0, integer_between(0, 2**31 - 1), "Raise it to end every session signed in before.")
    mail_url: str = setting(
        "console:",
        parse_mail_url,
        "Where mail goes: `console:`, `file:/folder`, `smtp://user:word@host:587`.",
        secret=True,
    )
    mail_from: str = setting("streamsvc <no-reply@localhost>", str, "Who mail says it is from.")
    oidc_providers: str = setting(
        "",
        parse_oidc_providers,
        "Who else may say who signs in, as JSON: name, issuer, client_id, client_secret; needs the extra `oidc`.",
        secret=True,
    )
    oidc_redirect_url: str = setting(
        "",
        parse_url,
        "The front end's page that providers send the browser back to; empty: the public address and `/`.",
    )
    challenge_url: str = setting(
        "",
        parse_https_url,
        "Who knows whether a challenge was solved: Turnstile's or hCaptcha's siteverify; empty: none is.",
    )
    challenge_secret: str = setting("", str, "This site's secret there.", secret=True)
    payment_provider: str = setting("sandbox", one_of("sandbox", "stripe"), "Who moves the money.")
    stripe_secret_key: str = setting("", str, "Stripe's secret key; needs the extra `stripe`.", secret=True)
    stripe_webhook_secret: str = setting("", str, "Signing secret of `POST /v1/webhooks/stripe`.", secret=True)
    stripe_url: str = setting("https://api.stripe.com", parse_url, "Where Stripe's API answers.")
    webhooks_to_private: bool = setting(
        False, parse_flag, "Lets webhooks reach private addresses and http://; refused outside the sandbox."
    )
    dunning: str = setting(
        "retry=1,3,5,7,10,14 warn=0 suspend=7 cancel=21",
        parse_dunning_schedule,
        "Days after a payment failed: when it is tried again (`retry.insufficient_funds=2,5,9`: after that decline;"
        " `never`: not by itself), plan changes are refused, access ends, all ends.",
    )
    invoice_review_hours: int = setting(
        0,
        integer_between(0, 168),
        "Hours in which a renewal's invoice is a draft that operators may add to or hold; 0: none.",
    )
    trial_without_card: str = setting(
        "cancel",
        one_of("cancel", "pause", "invoice"),
        "What becomes of a trial without a card where it would cost something: it ends, pauses, or is owed.",
    )
    seller_vat_id: str = setting(
        "", parse_vat_number, "The seller's VAT number; with it, businesses of other EU states pay the tax themselves."
    )
    vat_check: str = setting(
        "form",
        one_of("form", "vies"),
        "Whether a customer's VAT number counts by its form, or once VIES vouches for it.",
    )
    vies_url: str = setting(
        "https://ec.europa.eu/taxation_customs/vies/rest-api", parse_url, "Where the register of VAT numbers answers."
    )
    sandbox: bool = setting(
        False, parse_flag, "Opens `/v1/sandbox`: a clock to move, mails to read, declines on demand."
    )
    sandbox_clock: datetime | None = setting(
        None, parse_moment, "Where the sandbox's clock starts; else the wall clock."
    )
    metrics: bool = setting(
        False, parse_flag, "Opens `/metrics` to Prometheus; keep it from the outside. Needs the extra `metrics`."
    )
    log_level: str = setting("info", one_of("debug", "info", "warning", "error"), "How much the log tells.")
    password_pepper: tuple[tuple[str, str], ...] = setting(
        (),
        parse_peppers,
        "`id:secret` that goes into each password's hash; several by commas, the first counts.",
        secret=True,
    )
    argon2_memory_kib: int = setting(19_456, integer_between(19_456, 1_048_576), "Memory of one password hash, in KiB.")
    argon2_time_cost: int = setting(2, integer_between(2, 16), "Passes of one password hash.")

    @classmethod
    def from_env(cls, env=os.environ) -> "Settings":
        """The settings that `env` asks for. Raises SettingsError on an unknown name or a bad value."""
        known = {PREFIX + f.name.upper(): f for f in fields(cls)}
        unknown = [n for n in env if n.startswith(PREFIX) and n not in known and not n.startswith(PREFIX + "TEST_")]
        if unknown:
            raise SettingsError(f"{', '.join(sorted(unknown))}: there is no such setting; `streamsvc config` lists all")
        given = {name: env[name] for name in known if env.get(name)}
        for alias, name in (("PORT", "PORT"), ("WEB_CONCURRENCY", "WORKERS"), ("DATABASE_URL", "DATABASE_URL")):
            if env.get(alias):
                given.setdefault(PREFIX + name, env[alias])
        values = {}
        for name, text in given.items():
            try:
                values[known[name].name] = known[name].metadata["read"](text)
            except ValueError as error:
                raise SettingsError(f"{name}: {error}") from None
        return cls(**values).with_defaults()

    def with_defaults(self) -> "Settings":
        """The same with what development fills in by itself. Raises SettingsError where that would be unsafe."""
        if self.env == "production" and not self.secret_key:
            raise SettingsError(f"{PREFIX}SECRET_KEY: production needs one; `openssl rand -hex 32` makes one")
        if self.env == "production" and self.payment_provider == "sandbox" and not self.sandbox:
            raise SettingsError(f"{PREFIX}PAYMENT_PROVIDER: `sandbox` takes no money; production needs a real one")
        if self.payment_provider == "stripe" and not (self.stripe_secret_key and self.stripe_webhook_secret):
            raise SettingsError(f"{PREFIX}STRIPE_SECRET_KEY and {PREFIX}STRIPE_WEBHOOK_SECRET: Stripe needs both")
        if self.sandbox and self.stripe_secret_key.startswith(("sk_live", "rk_live")):
            raise SettingsError(f"{PREFIX}STRIPE_SECRET_KEY: a live key moves real money; the sandbox refuses it")
        if self.webhooks_to_private and not self.sandbox:
            raise SettingsError(f"{PREFIX}WEBHOOKS_TO_PRIVATE: webhooks reach private addresses in the sandbox only")
        if self.oidc_providers and find_spec("joserfc") is None:
            raise SettingsError(f"{PREFIX}OIDC_PROVIDERS: needs the extra; `pip install 'streamsvc[oidc]'` has it")
        if self.metrics and find_spec("prometheus_client") is None:
            raise SettingsError(f"{PREFIX}METRICS: needs the extra; `pip install 'streamsvc[metrics]'` has it")
        for name in ("country_header", "city_header"):
            if getattr(self, name) and not (self.trusted_proxies or self.sandbox):
                needs = f"anybody could send it; it needs {PREFIX}TRUSTED_PROXIES"
                raise SettingsError(f"{PREFIX}{name.upper()}: {needs}")
        if bool(self.challenge_url) != bool(self.challenge_secret):
            raise SettingsError(f"{PREFIX}CHALLENGE_URL and {PREFIX}CHALLENGE_SECRET: challenges need both")
        if not self.login_throttle and not self.sandbox:
            raise SettingsError(f"{PREFIX}LOGIN_THROTTLE: it can be off in the sandbox only")
        if self.sandbox_clock and not self.sandbox:
            raise SettingsError(f"{PREFIX}SANDBOX_CLOCK: only the sandbox (`{PREFIX}SANDBOX=1`) has a clock to set")
        folder = Path(self.data_dir).resolve()
        return self.replace(
            database_url=self.database_url or f"sqlite:///{folder / 'streamsvc.sqlite3'}",
            secret_key=self.secret_key or _development_secret(folder / "secret.key"),
        )

    def replace(self, **changes) -> "Settings":
        return type(self)(**{f.name: getattr(self, f.name) for f in fields(self)} | changes)

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")


def _development_secret(path: Path) -> tuple[str, ...]:
    """The secret key of development, created at the first start and readable by its owner alone.

    It is written to a file beside `path` and linked into place: another process sees all of it or nothing.
    Raises SettingsError where the file is empty or its key is too short.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # readable by its owner alone
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(file.name, path)
    try:
        return parse_secret_keys(path.read_text())
    except ValueError:
        raise SettingsError(f"{path} has no usable key: restore the file, or delete it to get a new key") from None


def describe_settings(settings: Settings) -> list[tuple[str, str, str]]:
    """(variable, value in force, what it does) of every setting; secrets are masked."""
    rows = []
    for f in fields(settings):
        value = getattr(settings, f.name)
        shown = "(set)" if f.metadata["secret"] and value else PASSWORD_IN_URL.sub(r"\1***@", _format_value(value))
        rows.append((PREFIX + f.name.upper(), shown, f.metadata["about"]))
    return rows


def _format_value(value) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
