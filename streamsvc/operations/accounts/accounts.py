"""Accounts: created by sign-up, by a confirmed email address, by an import or for the demo."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account, MailedToken, Profile
from streamsvc.models.subscriptions import Plan
from streamsvc.operations.credentials import breached_passwords
from streamsvc.operations.credentials.mail_limits import count_mail_request, is_token_mail_due
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules.emails import canonical_email, email_key, imitated_email_key, new_email_error
from streamsvc.rules.refusals.accounts import EmailTaken
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.inputs import ImportedAccountInput
from streamsvc.rules.sign_in.passkeys import relying_party_and_origin
from streamsvc.rules.sign_in.passwords import password_errors, personal_words
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security import password_hashing
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, fetch_all, insert, new_id
from streamsvc.worker import jobs


@dataclass(frozen=True)
class NewAccount:
    """The data of a sign-up, with the password as a hash only."""

    email: str
    password_hash: str | None
    country: str
    time_zone: str = "UTC"
    locale: str = "en"
    name: str | None = None


def check_password_strength(password: str, email: str, name: str | None = None, field: str = "password") -> None:
    """Check a new password: its length, known breaches, and the names of its owner, of the service and of the plans.

    Raises Invalid for `field`. If the strength can be estimated, the error has a member `strength`: {score, hint}.
    """
    settings = current_settings()
    service_host = relying_party_and_origin(settings.public_url)[0]
    words = (*personal_words(email, name), *service_host.split("."), *_plan_words())
    errors = password_errors(password, settings.shortest_password, breached_passwords.is_breached_password, words)
    if errors:
        strength = password_hashing.estimate_strength(password, words)
        members: dict[str, Any] = {"strength": strength} if strength else {}
        raise Invalid(errors={field: errors}, **members)


def _plan_words() -> list[str]:
    """Return the codes, names and words of the names of all plans."""
    plans = fetch_all(sa.select(Plan.code, Plan.name))
    return [word for plan in plans for word in (plan.code, plan.name, *plan.name.split())]


def register_account(
    email: str,
    password: str,
    country: str,
    now: datetime,
    name: str | None = None,
    verified: bool = False,
    **fields: Any,
) -> str:
    """Create an account with its first profile, in the caller's transaction, and return its id.

    `fields` are further fields of NewAccount. Raises EmailTaken, Invalid.
    """
    check_password_strength(password, email, name)
    new_account = NewAccount(email, password_hashing.hash_password(password), country, name=name, **fields)
    return create_account(new_account, now, verified)


def check_new_email(email: str) -> None:
    """Check an address that is new to the service. Raises Invalid."""
    if error := new_email_error(email):
        raise Invalid(errors={"email": [error]})


def refuse_look_alike(email: str, account_id: str | None = None) -> None:
    """Refuse an address that looks like the one of another account. Raises EmailTaken."""
    imitated = imitated_email_key(email)
    account = Account.find_by_email_key(imitated) if imitated else None
    if account is not None and account.id != account_id:
        raise EmailTaken


def create_account(new_account: NewAccount, now: datetime, verified: bool) -> str:
    """Create an account with one profile and return its id.

    Unless `verified`, a mail to verify the address is enqueued. Raises EmailTaken, also for concurrent sign-ups, and
    Invalid.
    """
    check_new_email(new_account.email)
    refuse_look_alike(new_account.email)
    [account_id] = create_accounts([new_account], now, verified)
    return account_id


def create_accounts(new_accounts: Sequence[NewAccount], now: datetime, verified: bool) -> list[str]:
    """Create accounts whose addresses were checked; see `create_account`. Returns their ids. Raises EmailTaken."""
    rows: list[dict[str, Any]] = [
        {
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
        for new_account in new_accounts
    ]
    statement = insert(Account).values(rows).on_conflict_do_nothing(index_elements=["email_key"]).returning(Account.id)
    if len(db.session.execute(statement).all()) < len(rows):
        raise EmailTaken
    for row, new_account in zip(rows, new_accounts, strict=True):
        name = (new_account.name or "").split(" ")[0] or "Me"
        db.session.add(Profile(account_id=row["id"], name=name[:50], language=new_account.locale, created_at=now))
        audit.record_event("account_created", row["id"])
        if not verified:
            mail.enqueue_token_mail("email_verification", row["email"], row["id"], now)
    return [row["id"] for row in rows]


def import_account(record: ImportedAccountInput, now: datetime) -> str:
    """Create an account from another system's record, in the caller's transaction, and return its id.

    The first sign-in replaces the imported hash with an argon2id hash. Without a hash, the owner sets a password by a
    password reset. Raises EmailTaken, Invalid; Unavailable if a digest has to be hashed and the queue is full.
    """
    foreign_hash = record["password_hash"]
    try:
        password_hash = password_hashing.import_hash(foreign_hash) if foreign_hash is not None else None
    except ValueError as error:
        raise Invalid(errors={"password_hash": [f"Rejected: {error}."]}) from None
    new_account = NewAccount(
        password_hash=password_hash,
        email=record["email"],
        country=record["country"],
        time_zone=record["time_zone"],
        locale=record["locale"],
        name=record["name"],
    )
    return create_account(new_account, now, record["email_verified"])


def enqueue_sign_up(new_account: NewAccount, binding: str, facts: RequestFacts, now: datetime) -> None:
    """Leave a sign-up to the worker, so that neither the response nor its timing reveals whether the account exists.

    Only the holder of `binding` can confirm it together with its password. The steps are the same beyond the mail
    limits. Raises Invalid.
    """
    check_new_email(new_account.email)
    request = count_mail_request(f"sign_up {email_key(new_account.email)}", facts)
    payload = {**vars(new_account), "binding_hash": hash_token(binding), "request": request}
    jobs.enqueue_job("accounts.sign_up", payload, now)


@jobs.job_handler("accounts.sign_up", jobs.INTERACTIVE_LANE)
def send_sign_up_mail(payload: dict, now: datetime) -> None:
    """Mail a confirmation link to the address, or a notice that it already has an account."""
    request, sign_up = payload.get("request", {}), {k: v for k, v in payload.items() if k != "request"}
    address = canonical_email(sign_up["email"])
    if Account.find_by_email_key(email_key(address)):
        if not request:
            mail.enqueue_mail("sign_up_again", address, now)
    elif is_token_mail_due("sign_up", None, request, now, MailedToken.email == address):
        mail.enqueue_token_mail("sign_up", address, None, now, **sign_up)


def confirm_sign_up(mailed_token: MailedToken, now: datetime, with_password: bool) -> str:
    """Create the account of a confirmed sign-up and return its id. Raises EmailTaken if another one was confirmed."""
    fields = {name: value for name, value in mailed_token.data.items() if name != "binding_hash"}
    new_account = NewAccount(**fields)
    return create_account(
        new_account if with_password else replace(new_account, password_hash=None), now, verified=True
    )


def can_sign_in(account: Account | sa.Row) -> bool:
    """Whether the account is active, and its email address verified where sign-up requires it."""
    is_verified = account.email_verified_at or current_settings().signup == "open"
    return account.status == "active" and bool(is_verified)
