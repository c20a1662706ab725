"""A new price for those who bought the old one: at a renewal on or after the day, and after the days of notice."""

from datetime import date, datetime, timedelta

import sqlalchemy as sa

from streamsvc import jobs
from streamsvc.database import db
from streamsvc.models.subscriptions import Price, Subscription
from streamsvc.operations.billing import notices
from streamsvc.operations.billing.standing import stand
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import LIVE
from streamsvc.rules.refusals import Invalid

JOB = "price.migrate"
CHUNK = 200


def migrate(asked: dict, now: datetime, actor: str) -> dict:
    """Schedule the move of everyone who has the old price. Commits as it goes. Raises Invalid."""
    old, new = db.session.get(Price, asked["from_price_id"]), db.session.get(Price, asked["to_price_id"])
    if old is None or new is None or old.id == new.id:
        raise Invalid(errors={"to_price_id": ["Give two prices that there are."]})
    if (old.currency, old.terms.interval) != (new.currency, new.terms.interval):
        raise Invalid(errors={"to_price_id": ["It must have the currency and the interval of the old one."]})
    notice = timedelta(days=asked["notice_days"])
    move = {"from": old.id, "to": new.id, "effective": max(asked["effective"], now.date() + notice).isoformat()}
    live = sa.select(sa.func.count()).where(Subscription.price_id == old.id, Subscription.status.in_(LIVE))
    count = db.session.scalar(live)
    move_some(move | {"actor": actor, "after": ""}, now)
    return {**asked, "effective": date.fromisoformat(move["effective"]), "subscriptions": count}


@jobs.handler(JOB)
def move_some(payload: dict, now: datetime) -> None:
    """Schedule the move for the next few subscriptions, and a job for those after them."""
    few = db.session.scalars(
        sa.select(Subscription.id)
        .where(
            Subscription.price_id == payload["from"], Subscription.status.in_(LIVE), Subscription.id > payload["after"]
        )
        .order_by(Subscription.id)
        .limit(CHUNK)
    ).all()
    for subscription_id in few:
        at = stand(subscription_id, now)
        event = (db.session.get(Price, payload["to"]).terms, date.fromisoformat(payload["effective"]), payload["from"])
        planned = {(one.price, one.not_before, one.only_from) for one in at.timeline.scheduled}
        if not at.timeline.ended_on and event not in planned:
            at.happen(fact.PriceScheduled, *event, actor=payload["actor"])
            prices = [db.session.get(Price, payload[which]) for which in ("from", "to")]
            notices.price_change(at, *prices, event[1])
            at.show()
        db.session.commit()
    if len(few) == CHUNK:
        jobs.enqueue(JOB, payload | {"after": few[-1]}, now)
