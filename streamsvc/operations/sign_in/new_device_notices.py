"""Notices of sign-ins on new devices. The mail has a link by which the owner disowns the device."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, Device, Session
from streamsvc.operations.credentials import mailed_tokens, revocation, sessions
from streamsvc.operations.outbox import audit, mail, security_events
from streamsvc.rules.refusals.accounts import TokenInvalid
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.storage.database import db, lock_existing_row

TOKEN_KIND = "new_device"


def enqueue_new_device_mail(account_id: str, device: Device, facts: RequestFacts, now: datetime) -> None:
    """Notify the owner, in the caller's transaction. Links of earlier mails stay valid: they are for other devices."""
    place = ", ".join(filter(None, (facts.city, facts.place.country, facts.address))) or "an unknown place"
    context = {"device": device.name, "address": place}
    email = db.session.get_one(Account, account_id).email
    mail.enqueue_token_mail(TOKEN_KIND, email, account_id, now, device_id=device.id, told=context)


def disown_device(token: str, now: datetime) -> None:
    """Sign the device out and remove it, in the caller's transaction. Raises TokenInvalid.

    The sign-in on it used valid credentials, so the password stops working and a mail to set a new one is enqueued.
    """
    mailed_token = mailed_tokens.consume_mailed_token(token, now, TOKEN_KIND)
    if mailed_token is None:
        raise TokenInvalid
    account, device_id = lock_existing_row(Account, mailed_token.owner_id), mailed_token.data["device_id"]
    db.session.execute(sa.update(Device).where(Device.id == device_id).values(removed_at=now))
    ended = sessions.end_sessions(account.id, now, "device_disowned", Session.device_id == device_id)
    account.password_hash = None
    revocation.cancel_pending_sign_ins(account.id, now)
    audit.record_event("device_disowned", account.id, device=device_id, sessions_ended=len(ended))
    security_events.publish_password_changed(account.id, "cleared")
    mail.enqueue_token_mail("password_reset", account.email, account.id, now)
