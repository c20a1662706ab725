"""Faults in what the service decides, for the phases that run tests."""

import sqlalchemy as sa
from sqlalchemy import event

from bench.torture.plants.registry import plantable
from streamsvc.gateways.payments.stripe import StripeProvider
from streamsvc.http import idempotency
from streamsvc.storage import database
from streamsvc.storage.database import new_id


@plantable
def new_sandbox_key():
    """The sandbox's payment provider forgets what it has charged, so that a repeated request charges again."""
    from streamsvc.gateways.payments.sandbox import SandboxProvider

    find_outcomes, insert_requests = SandboxProvider._find_outcomes, SandboxProvider._insert_requests
    SandboxProvider.find_outcome = lambda self, key: None

    def insert_again(self, *rows):
        insert_requests(self, *rows)
        again = [row | {"id": new_id("ch"), "key": f"{row['key']} {new_id('key')}"} for row in rows]
        insert_requests(self, *again[:1])

    SandboxProvider._insert_requests = insert_again
    SandboxProvider._find_outcomes = find_outcomes


@plantable
def unfenced_lease():
    """A request commits whether or not the key is still its own."""
    session = database.db.session
    event.remove(session, "before_commit", idempotency._keep_lease)

    @event.listens_for(session, "before_commit")
    def keep_outcome(session):
        key = idempotency.g.get("idempotency_key")
        if key is not None and key.lease is not None and key.outcome:
            table = idempotency.IdempotencyKey.__table__
            session.execute(sa.update(table).where(table.c.id == key.id).values(key.outcome))


@plantable
def foreign_rows():
    """Whoever knows an id gets the row, whichever account it belongs to."""
    from streamsvc.storage.owned import OwnedByAccount

    OwnedByAccount.select_owned = classmethod(lambda cls, account_id: sa.select(cls).where(*cls.visible_conditions()))


@plantable
def ignored_unknown():
    """Members that a schema does not name are ignored."""
    from marshmallow import EXCLUDE

    from streamsvc.http.edge import StrictParser
    from streamsvc.schemas.base import StrictSchema

    StrictParser.DEFAULT_UNKNOWN_BY_LOCATION |= {"json": EXCLUDE}
    StrictSchema.unknown = property(lambda self: EXCLUDE, lambda self, value: None)


@plantable
def no_dummy_hash():
    """An account without a password costs no hash."""
    from streamsvc.security.password_hashing import HashingPermit

    verify = HashingPermit.verify_password
    HashingPermit.verify_password = lambda self, stored, password: bool(stored) and verify(self, stored, password)


@plantable
def short_months():
    """Every month has 28 days for a subscription's anchor."""
    from streamsvc.rules.billing import calendar

    day_in_month = calendar.day_in_month
    calendar.day_in_month = lambda year, month, day: day_in_month(year, month, min(day, 28))


@plantable
def unsigned_events():
    """Events of the payment provider need no signature."""
    import json

    StripeProvider.parse_event = lambda self, body, signature: json.loads(body)


@plantable
def new_event_id():
    """Each attempt to deliver an event has an id of its own."""
    from streamsvc.operations.outbox import webhooks

    build = webhooks.build_delivery

    def build_with_new_id(*args):
        body, headers = build(*args)
        return body, headers | {"webhook-id": new_id("evt")}

    webhooks.build_delivery = build_with_new_id


@plantable
def stored_secret():
    """A stored response contains its secret."""
    idempotency.extract_secrets = lambda body, secrets: (body, [])


@plantable
def kept_sessions():
    """Taking an account back leaves the devices and sessions of the intruder."""
    from streamsvc.operations.credentials import access_revocation

    access_revocation._revoke_devices_and_sessions = lambda *args, **kwargs: None


@plantable
def open_grant():
    """A playback token opens every path."""
    from streamsvc.blueprints.playback import verify

    verify.allows_path = lambda *arguments: True
