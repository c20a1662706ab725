"""A new price for those who bought the old one: at a renewal on or after the day, and after the days of notice.

It can be taken back, and declined where it says so, as long as the renewal has not come.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import Price, PriceMigration, Subscription
from streamsvc.operations.billing.core import notices
from streamsvc.operations.billing.core.aggregate import Standing, stand
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import LIVE
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, new_id
from streamsvc.worker import jobs

JOB = "price.migrate"
UNDO_JOB = "price.migrate.undo"
CHUNK = 200


def migrate(asked: dict, now: datetime, actor: str) -> dict:
    """Schedule the move of everyone who has the old price. Commits as it goes. Raises Invalid."""
    old, new = db.session.get(Price, asked["from_price_id"]), db.session.get(Price, asked["to_price_id"])
    if old is None or new is None or old.id == new.id:
        raise Invalid(errors={"to_price_id": ["Give two prices that there are."]})
    if (old.currency, old.terms.interval) != (new.currency, new.terms.interval):
        raise Invalid(errors={"to_price_id": ["It must have the currency and the interval of the old one."]})
    effective = max(asked["effective"], now.date() + timedelta(days=asked["notice_days"]))
    row = PriceMigration(**{**asked, "effective": effective}, id=new_id("mig"), created_at=now)
    db.session.add(row)
    db.session.flush()
    shown = view(row) | {
        "subscriptions": db.session.scalar(sa.select(sa.func.count()).select_from(meant(row).subquery()))
    }
    move_some({"migration": row.id, "actor": actor, "after": ""}, now)
    return shown


def view(row: PriceMigration) -> dict:
    """The columns of a migration, as they are now."""
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}


def meant(row: PriceMigration):
    """Whose price it moves: the ids of live subscriptions at the old price."""
    chosen = sa.select(Subscription.id).where(Subscription.price_id == row.from_price_id, Subscription.status.in_(LIVE))
    if row.started_before:
        chosen = chosen.where(Subscription.started_on < row.started_before)
    if row.country:
        chosen = chosen.join(Account, Account.id == Subscription.account_id).where(Account.country == row.country)
    return chosen


@jobs.handler(JOB)
def move_some(payload: dict, now: datetime) -> None:
    """Schedule the move for the next few subscriptions, and a job for those after them."""
    _few(JOB, payload, now, _schedule)


@jobs.handler(UNDO_JOB)
def undo_some(payload: dict, now: datetime) -> None:
    """Take the move back for the next few, and a job for those after them."""
    _few(UNDO_JOB, payload, now, _withdraw)


def _few(job: str, payload: dict, now: datetime, step) -> None:
    row = db.session.get(PriceMigration, payload["migration"])
    after = (Subscription.id > payload["after"], sa.true() if job == UNDO_JOB else sa.literal(not row.withdrawn_at))
    few = db.session.scalars(meant(row).where(*after).order_by(Subscription.id).limit(CHUNK)).all()
    for subscription_id in few:
        at = stand(subscription_id, now)
        step(at, db.session.get(PriceMigration, payload["migration"]), payload["actor"])
        db.session.commit()
    if len(few) == CHUNK:
        jobs.enqueue(job, payload | {"after": few[-1]}, now)


def _schedule(at: Standing, row: PriceMigration, actor: str) -> None:
    if at.timeline.ended_on or planned(at, row):
        return
    old, new = db.session.get(Price, row.from_price_id), db.session.get(Price, row.to_price_id)
    at.happen(fact.PriceScheduled, new.terms, row.effective, old.id, actor=actor)
    notices.price_change(at, old, new, row.effective)
    at.show()


def _withdraw(at: Standing, row: PriceMigration, actor: str) -> None:
    event = planned(at, row)
    if event is None:
        return
    at.happen(fact.Reverted, event.ref, actor=actor)
    notices.price_change_withdrawn(at, db.session.get(Price, row.from_price_id), row.effective)
    at.show()


def planned(at: Standing, row: PriceMigration) -> fact.PriceScheduled | None:
    """The event by which the migration still waits for this subscription's renewal."""
    terms = (row.to_price_id, row.effective, row.from_price_id)
    waiting = [one for one in at.timeline.scheduled if (one.price.id, one.not_before, one.only_from) == terms]
    return waiting[0] if waiting else None


def withdraw(migration_id: str, now: datetime, actor: str) -> dict:
    """Take a migration back for all whose renewal has not come. Commits as it goes. Raises WrongState."""
    row = db.session.get(PriceMigration, migration_id)
    if row.withdrawn_at:
        raise WrongState(detail="This price migration was withdrawn before.")
    row.withdrawn_at = now
    db.session.flush()
    shown = view(row)
    undo_some({"migration": migration_id, "actor": actor, "after": ""}, now)
    return shown


def declinable(row: Subscription) -> list[PriceMigration]:
    """The migrations that the subscription's owner may decline."""
    mine = sa.select(PriceMigration).where(
        PriceMigration.from_price_id == row.price_id,
        PriceMigration.can_decline,
        PriceMigration.withdrawn_at.is_(None),
    )
    return list(db.session.scalars(mine.order_by(PriceMigration.id)))


def decline(at: Standing, actor: str) -> None:
    """Keep the old price. Raises WrongState where nothing waits that may be declined."""
    waiting = [event for row in declinable(at.subscription) if (event := planned(at, row))]
    if not waiting:
        raise WrongState(detail="No change of price waits that can be declined.")
    for event in waiting:
        at.happen(fact.Reverted, event.ref, actor=actor)
