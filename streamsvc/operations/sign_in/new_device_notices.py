"""A device that an account did not know: told to its owner, who says by one click of the mail that it is not theirs."""

from datetime import datetime

import sqlalchemy as sa
from flask import request

from streamsvc.http import trusted_proxies
from streamsvc.models import Account, Device, Session
from streamsvc.operations.credentials import mailed_tokens, revocation
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules.refusals.accounts import TokenInvalid
from streamsvc.storage.database import db, lock_row

TOKEN_KIND = "new_device"


def enqueue_new_device_mail(account_id: str, device: Device, now: datetime) -> None:
    """Write to the owner, in the caller's unit of work. An earlier mail's link still works: it is about another one."""
    place = ", ".join(filter(None, (trusted_proxies.client_city(), request.remote_addr))) or "an unknown place"
    told = {"device": device.name, "address": place}
    to = db.session.get(Account, account_id).email
    mail.enqueue_token_mail(TOKEN_KIND, to, account_id, now, revoke_previous=False, device_id=device.id, told=told)


def disown_device(token: str, now: datetime) -> None:
    """Sign the device out and forget it, in the caller's unit of work. Raises TokenInvalid.

    Whoever used it knew a way in: the password opens nothing any more, and a mail goes out to choose another.
    """
    proof = mailed_tokens.consume_mailed_token(token, now, TOKEN_KIND)
    if proof is None:
        raise TokenInvalid
    account, device_id = lock_row(Account, proof.account_id), proof.data["device_id"]
    db.session.execute(sa.update(Device).where(Device.id == device_id).values(removed_at=now))
    ended = Session.revoke_all(account.id, now, Session.device_id == device_id)
    account.password_hash = None
    revocation.cancel_pending_sign_ins(account.id, now)
    audit.record_event("device_disowned", account.id, device=device_id, sessions_ended=len(ended))
    mail.enqueue_token_mail("password_reset", account.email, account.id, now)
