"""Accounts: opened by a viewer, by a confirmed mail, or by the one who seeds a demo."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from flask import current_app

from streamsvc.models import Account, MailedToken, Profile
from streamsvc.models.subscriptions import Plan
from streamsvc.operations.credentials import breached_passwords
from streamsvc.operations.credentials.attempts import is_mail_allowed
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.emails import canonical_email, email_key
from streamsvc.rules.refusals.accounts import EmailTaken
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.rules.sign_in.passkeys import relying_party_and_origin
from streamsvc.rules.sign_in.passwords import password_errors, personal_words
from streamsvc.security import password_hashing
from streamsvc.storage.database import db, fetch_all, insert, new_id
from streamsvc.worker import jobs


@dataclass(frozen=True)
class NewAccount:
    """What a sign-up tells; the password only as its hash."""

    email: str
    password_hash: str | None
    country: str
    time_zone: str = "UTC"
    locale: str = "en"
    name: str | None = None


def check_password_strength(password: str, email: str, name: str | None = None, field: str = "password") -> None:
    """Raises Invalid where a new password is too short, known to attackers, the owner's own name, the service's or a
    plan's.

    Where its strength can be measured, the refusal tells it: `strength`: {score, hint}.
    """
    settings = current_app.extensions["settings"]
    names = (*personal_words(email, name), *relying_party_and_origin(settings.public_url)[0].split("."), *_plan_words())
    if found := password_errors(password, settings.shortest_password, breached_passwords.is_breached_password, names):
        measured = password_hashing.estimate_strength(password, names)
        raise Invalid(errors={field: found}, **({"strength": measured} if measured else {}))


def _plan_words() -> list[str]:
    """The words that plans are known by."""
    told = fetch_all(sa.select(Plan.code, Plan.name))
    return [word for plan in told for word in (plan.code, plan.name, *plan.name.split())]


def register_account(
    email: str, password: str, country: str, now: datetime, name: str | None = None, verified: bool = False, **more
) -> str:
    """Make an account with its first profile, in the caller's unit of work; its id. Raises EmailTaken, Invalid."""
    check_password_strength(password, email, name)
    return create_account(
        NewAccount(email, password_hashing.hash_password(password), country, name=name, **more), now, verified
    )


def create_account(new_account: NewAccount, now: datetime, verified: bool) -> str:
    """The id of a new account with one profile. Raises EmailTaken, also when two come at the same moment."""
    row = {
        "id": new_id("acc"),
        "email": canonical_email(new_account.email),
        "email_key": email_key(new_account.email),
        "email_verified_at": now if verified else None,
        "password_hash": new_account.password_hash,
        "name": new_account.name,
        "country": new_account.country,
        "time_zone": new_account.time_zone,
        "locale": new_account.locale,
        "status": "active",
        "created_at": now,
    }
    made = insert(Account).values(row).on_conflict_do_nothing(index_elements=["email_key"]).returning(Account.id)
    if db.session.execute(made).first() is None:
        raise EmailTaken
    first = (new_account.name or "").split(" ")[0] or "Me"
    db.session.add(Profile(account_id=row["id"], name=first[:50], language=new_account.locale, created_at=now))
    audit.record_event("account_created", row["id"])
    if not verified:
        mail.enqueue_token_mail("email_verification", row["email"], row["id"], now)
    return row["id"]


def import_account(record: dict, now: datetime) -> str:
    """Make an account of another system's, in the caller's unit of work; its id.

    Its first sign-in makes a hash of ours of the password; without a hash, the owner sets one by a reset. Raises
    EmailTaken, Invalid; Unavailable where a digest has to be hashed and too many ask.
    """
    try:
        kept = password_hashing.import_hash(record["password_hash"]) if record["password_hash"] is not None else None
    except ValueError as error:
        raise Invalid(errors={"password_hash": [f"Refused: {error}."]}) from None
    told = {name: record[name] for name in ("email", "country", "time_zone", "locale", "name")}
    return create_account(NewAccount(password_hash=kept, **told), now, record["email_verified"])


def enqueue_sign_up(new_account: NewAccount, now: datetime) -> None:
    """Leave a sign-up to the worker: whoever asked learns nothing, not even by the time it takes.

    Too many for one address are dropped without a word.
    """
    if is_mail_allowed(limits.MAIL_TO_ADDRESS, f"sign_up {email_key(new_account.email)}"):
        jobs.enqueue_job("accounts.sign_up", {**vars(new_account)}, now)


@jobs.job_handler("accounts.sign_up")
def send_sign_up_mail(payload: dict, now: datetime) -> None:
    """Write to the owner of the address: to confirm, or that there already is an account."""
    if Account.find_by_email_key(email_key(payload["email"])):
        mail.enqueue_mail("sign_up_again", canonical_email(payload["email"]), now)
    else:
        mail.enqueue_token_mail("sign_up", canonical_email(payload["email"]), None, now, **payload)


def confirm_sign_up(mailed_token: MailedToken, now: datetime) -> str:
    """The account that a confirmed mail opens; its id. Raises EmailTaken where it was confirmed twice over."""
    return create_account(NewAccount(**mailed_token.data), now, verified=True)


def can_sign_in(account) -> bool:
    """Whether the account's owner may come in at all: not disabled, and confirmed where that is asked for."""
    confirmed = account.email_verified_at or current_app.extensions["settings"].signup == "open"
    return account.status == "active" and bool(confirmed)
