"""The check command: tries what production needs, before the service starts."""

import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import click
from flask import Flask
from marshmallow import ValidationError

from streamsvc import clock
from streamsvc.app import create_app
from streamsvc.cli.doctor import echo_result
from streamsvc.gateways import vies
from streamsvc.gateways.mail import build_email, send_message, try_server
from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import ProviderUnavailable
from streamsvc.gateways.peers import CallFailed, CallRejected
from streamsvc.gateways.stores import find_store
from streamsvc.gateways.stores.interface import PurchaseForgotten, StoreUnavailable
from streamsvc.operations.maintenance.doctor import environment
from streamsvc.operations.maintenance.doctor.findings import (
    ERROR,
    OK,
    SKIPPED,
    WARNING,
    CheckResult,
    Finding,
    run_checks,
)
from streamsvc.operations.maintenance.health import is_database_writable
from streamsvc.schemas.base import Email
from streamsvc.setting_checks import find_setting_errors
from streamsvc.settings import PREFIX, Settings, SettingsError, current_settings

MAIL_TEXT = "streamsvc check sent this mail. Mail works."


def parse_address(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return value if value is None else Email().deserialize(value)
    except ValidationError as error:
        raise click.BadParameter(" ".join(error.messages)) from None


@click.command()
@click.option("--mail-to", metavar="ADDRESS", callback=parse_address, help="Also send a mail to this address.")
def check(mail_to: str | None) -> None:
    """Try the settings for production: mail, database, payment provider, VIES.

    Prints a line per check. Exits with 0 if the service can start and all of them respond, else with 1. Without
    --mail-to nothing is sent. Use `streamsvc doctor` for a running service.
    """
    logging.getLogger("streamsvc").addHandler(logging.NullHandler())  # the checks say what fails
    is_failed = False
    for result in _run_checks(mail_to):
        echo_result(result)
        is_failed |= result.status == ERROR
    sys.exit(is_failed)


def _run_checks(mail_to: str | None) -> Iterator[CheckResult]:
    try:
        settings, errors = Settings.read(os.environ)
    except SettingsError as error:
        yield CheckResult(ERROR, str(error), "Correct it; nothing else was checked.", "settings")
        return
    if settings.env != "production":
        errors.append(f"{PREFIX}ENV: must be production, else unsafe settings are accepted")
    settings = settings.replace(env="production")
    wrong = {sentence.partition(":")[0] for sentence in errors}
    for sentence in errors + [error for error in find_setting_errors(settings) if error.partition(":")[0] not in wrong]:
        yield CheckResult(ERROR, sentence, "", "settings")
    made_up = (secrets.token_hex(32),)  # production has no secret.key
    settings = settings.replace(secret_key=settings.secret_key or made_up).fill_defaults(creates_secret=False)
    if f"{PREFIX}DATABASE_URL" in wrong:
        yield CheckResult(SKIPPED, f"not checked: needs {PREFIX}DATABASE_URL", "", "database")
    else:
        yield from _check_database(settings)
    app = Flask("streamsvc.check")
    app.extensions["settings"] = settings
    peers = {"mail": lambda: _check_mail(mail_to), "payment provider": _check_provider, "VIES": _check_vies}
    peers |= {"App Store": lambda: _check_store("app_store"), "Google Play": lambda: _check_store("play_store")}
    with ThreadPoolExecutor(len(peers)) as pool:  # side by side, since each may take as long as its deadline
        yield from pool.map(partial(_try_peer, app), *zip(*peers.items(), strict=True))


def _try_peer(app: Flask, name: str, function: Callable[[], Finding]) -> CheckResult:
    """Run one check. A peer's error is the check's."""
    try:
        with app.app_context():
            finding = function()
    except (CallFailed, CallRejected, OSError) as error:
        finding = Finding(ERROR, str(error))
    return CheckResult(finding.status, finding.message, finding.advice, name)


def _check_database(settings: Settings) -> Iterator[CheckResult]:
    """Check the database, and the rest of what the doctor checks of an environment; create no file."""
    if missing := settings.find_missing_file():
        message, advice = f"{missing} does not exist or is empty", f"Run `streamsvc db upgrade`, or correct {PREFIX}"
        yield CheckResult(ERROR, message, advice + "DATABASE_URL.", "database")
        return
    try:
        app = create_app(settings)
    except (SettingsError, ImportError) as error:
        yield CheckResult(ERROR, f"cannot be tried: {error}", "", "database")
        return
    with app.app_context():
        is_usable = True
        for result in run_checks(full=False, module=environment):
            yield result
            is_usable &= result.check not in ("database", "schema") or result.status == OK
        if not is_usable:
            yield CheckResult(SKIPPED, "not checked: needs the database and its schema", "", "write")
        elif is_database_writable():
            yield CheckResult(OK, "the database accepts writes", "", "write")


def _check_mail(mail_to: str | None) -> Finding:
    settings = current_settings()
    if not settings.mail_url.startswith("smtp"):
        if mail_to:
            return Finding(ERROR, f"no mail was sent to {mail_to}: no mail server is set")
        return Finding(SKIPPED, "no mail server is set")
    if mail_to is None:
        try_server(settings.mail_url)
        return Finding(OK, "the server responds and accepts the sign-in; --mail-to ADDRESS sends a mail")
    send_message(settings.mail_url, build_email(settings.mail_from, mail_to, "Mail works", MAIL_TEXT, MAIL_TEXT))
    return Finding(OK, f"the server accepted a mail to {mail_to}")


def _check_provider() -> Finding:
    if current_settings().payment_provider == "sandbox":
        return Finding(SKIPPED, "no payment provider is set")
    try:
        current_provider().list_charges(clock.wall_time())
    except ProviderUnavailable as error:
        return Finding(ERROR, f"no access: {error}", f"Correct {PREFIX}STRIPE_SECRET_KEY, or allow the connection.")
    return Finding(OK, f"{current_settings().payment_provider} accepts the key")


def _check_store(source: str) -> Finding:
    """Ask the store for a purchase that does not exist: a key that it accepts gets the answer that it is unknown."""
    try:
        store = find_store(source)
        if store is None:
            return Finding(SKIPPED, "no app is set")
        with suppress(PurchaseForgotten):
            store.fetch_state("0", ())
    except StoreUnavailable as error:
        return Finding(ERROR, f"no access: {error}", "Correct the key and its permissions, or allow the connection.")
    except ImportError:
        return Finding(ERROR, "needs the extra `stores`", "pip install 'streamsvc[stores]'")
    return Finding(OK, "accepts the key")


def _check_vies() -> Finding:
    settings = current_settings()
    if settings.vat_check != "vies" or not settings.seller_vat_id:
        return Finding(SKIPPED, "is not used: no VAT number of the seller is set, or VAT numbers are checked by form")
    if vies.is_available():
        return Finding(OK, "is available")
    return Finding(WARNING, "responds, and is not available just now", "VAT numbers are checked once it is.")
