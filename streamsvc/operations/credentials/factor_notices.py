"""Notices of added sign-in methods. The mail has a link by which the owner takes everything back: see access_links."""

from datetime import datetime

from streamsvc.models import Session
from streamsvc.operations.outbox import mail
from streamsvc.storage.database import db


def enqueue_factor_added_mail(email: str, account_id: str, session_id: str, factor: str, now: datetime) -> None:
    """Notify the owner, in the caller's transaction. Links of earlier mails stay valid: they are about other factors.

    `factor` is what was added, at the start of a sentence.
    """
    device = db.session.get_one(Session, session_id).device.name
    at = f"{now:%B} {now.day}, {now.year} at {now:%H:%M} UTC"
    context = {"factor": factor, "device": device, "at": at}
    mail.enqueue_token_mail("factor_added", email, account_id, now, session_id=session_id, context=context)
