"""Notices of sign-ins on new devices. The mail has a link by which the owner disowns the device: see access_links."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account, Device
from streamsvc.operations.outbox import mail
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.storage.database import db

TOKEN_KIND = "new_device"


def enqueue_new_device_mail(account_id: str, device: Device, facts: RequestFacts, now: datetime) -> None:
    """Notify the owner, in the caller's transaction. Links of earlier mails stay valid: they are for other sign-ins.

    The device may be older, if it only looks like the one of this sign-in. Then the link reaches back to the sign-in.
    """
    place = ", ".join(filter(None, (facts.city, facts.place.country, facts.address))) or "an unknown place"
    context = {"device": device.name, "address": place}
    email = db.session.scalars(sa.select(Account.email).where(Account.id == account_id)).one()
    data: dict[str, Any] = {"device_id": device.id, "is_older_device": device.created_at < now, "context": context}
    mail.enqueue_token_mail(TOKEN_KIND, email, account_id, now, **data)
