"""An account's telephone number: added by a code in a text message, changed and removed.

The latest proof of a number wins: carriers give numbers of former customers to new ones. Whoever loses a number that
way loses one name to sign in with and no access, because a number alone opens nothing.
"""

import hmac
from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, Phone, PhoneVerification
from streamsvc.operations.outbox import audit, mail, sms
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import WrongCode
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.phones import CODE_LIFETIME, MAX_CODE_ATTEMPTS, mask_phone
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security import identifiers as forms
from streamsvc.security import rate_limits
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, execute_in_session, lock_existing_row


def start_phone_verification(account_id: str, text: str, facts: RequestFacts, now: datetime) -> None:
    """Send a code to the number, in the caller's transaction. Raises NotFound, Invalid, TooManyAttempts.

    The account's number stays the same until the code is entered. A new request replaces the pending one.
    """
    settings = current_settings()
    if not settings.phones:
        raise NotFound
    try:
        number, country = forms.normalize_phone(text)
    except forms.IdentifierInvalid as error:
        raise Invalid(errors={"phone": [str(error)]}) from None
    if country not in settings.sms_countries:
        raise Invalid(errors={"phone": ["Numbers of this country are not accepted."]})
    if settings.login_throttle:
        _hit_sms_limits(account_id, number, facts)
    lock_existing_row(Account, account_id)
    db.session.execute(sa.delete(PhoneVerification).where(PhoneVerification.account_id == account_id))
    verification = PhoneVerification(
        account_id=account_id, number=number, created_at=now, expires_at=now + CODE_LIFETIME, attempts=0, sends=0
    )
    db.session.add(verification)
    db.session.flush()
    sms.enqueue_verification_sms(verification, now)
    audit.record_event("phone_verification_asked", account_id, phone=mask_phone(number))


def _hit_sms_limits(account_id: str, number: str, facts: RequestFacts) -> None:
    """Count the message against every limit, or against none if one is exhausted. Raises TooManyAttempts.

    Fraudsters earn from messages to numbers of their own, mostly of one carrier; the limit per calling code bounds what
    a thousand accounts from a thousand addresses can cost.
    """
    per_country = limits.RateLimit("sms.calling_code", current_settings().sms_per_country, limits.HOUR_S)
    with rate_limits.counter_transaction() as counters:
        counters.hit(limits.SMS_BY_ACCOUNT, account_id)
        counters.hit(limits.SMS_TO_NUMBER, number)
        counters.hit(limits.SMS_FROM_ADDRESS, facts.network)
        counters.hit(per_country, forms.calling_code(number))


def complete_phone_verification(account_id: str, session_id: str, code: str, now: datetime) -> None:
    """Make the pending number the account's own, in the caller's transaction. Raises WrongCode.

    Each call counts before the code is compared, also if it fails: five are possible.
    """
    verification = PhoneVerification
    is_open = (
        verification.account_id == account_id,
        verification.expires_at > now,
        verification.attempts < MAX_CODE_ATTEMPTS,
        verification.code_hash.is_not(None),
    )
    counted = (
        sa.update(verification)
        .where(*is_open)
        .values(attempts=verification.attempts + 1)
        .returning(verification.id, verification.number, verification.code_hash)
    )
    row = db.session.execute(counted).first()
    db.session.commit()
    expected = hash_token(f"{account_id}:{row.number}:{code}") if row else ""
    if row is None or not hmac.compare_digest(row.code_hash, expected):
        raise WrongCode("code")
    account = lock_existing_row(Account, account_id)
    is_unchanged = (verification.id == row.id, verification.code_hash == row.code_hash)
    if execute_in_session(sa.delete(verification).where(*is_unchanged)) != 1:
        db.session.rollback()
        raise WrongCode("code")
    _move_number(account, session_id, row.number, now)


def _move_number(account: Account, session_id: str, number: str, now: datetime) -> None:
    removed = sa.delete(Phone).where(Phone.number == number, Phone.account_id != account.id).returning(Phone.account_id)
    if former_id := db.session.scalar(removed):
        audit.record_event("phone_removed", former_id, actor="anonymous", phone=mask_phone(number))
        email = db.session.get_one(Account, former_id).email
        change = f"Your number {mask_phone(number)} was removed, because another account proved that it has it"
        mail.enqueue_mail("identifier_changed", email, now, change=change)
    row = db.session.get(Phone, account.id)
    if row is None:
        row = Phone(account_id=account.id)
        db.session.add(row)
    row.number, row.verified_at, row.added_by_session_id = number, now, session_id
    audit.record_event("phone_set", account.id, phone=mask_phone(number))
    mail.enqueue_mail("identifier_changed", account.email, now, change=f"The number {mask_phone(number)} was set")


def remove_phone(account_id: str, now: datetime) -> None:
    """Remove the number and any pending verification, in the caller's transaction. Raises NotFound."""
    account = lock_existing_row(Account, account_id)
    pending = execute_in_session(sa.delete(PhoneVerification).where(PhoneVerification.account_id == account_id))
    row = db.session.get(Phone, account_id)
    if row is None:
        if not pending:
            raise NotFound
        return
    db.session.delete(row)
    audit.record_event("phone_removed", account_id, phone=mask_phone(row.number))
    change = f"The number {mask_phone(row.number)} was removed"
    mail.enqueue_mail("identifier_changed", account.email, now, change=change)
