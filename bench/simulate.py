"""Subscribers through 24 months: declines, changes, pauses, cancellations, refunds; then the books, to the cent.

`python -m bench.simulate [subscribers] [months] [--plot file.svg]`. It goes through the operations that the API and
the worker share, not through HTTP, on a SQLite file of its own. The seed is fixed: the same run gives the same sums.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import flask_migrate
import sqlalchemy as sa

from streamsvc import jobs
from streamsvc.app import create_app
from streamsvc.database import all_rows, db, one_row
from streamsvc.gateways.payments.interface import SUCCEEDED
from streamsvc.models.subscriptions import Invoice, LedgerEntry, PaymentMethod, SandboxCharge, Subscription
from streamsvc.operations.billing import changes, corrections
from streamsvc.operations.billing.audit import audit
from streamsvc.operations.billing.importing import import_subscribers
from streamsvc.operations.billing.plans import put_plan
from streamsvc.operations.billing.reporting.revenue import revenue
from streamsvc.rules.refusals import Refusal
from streamsvc.settings import Settings

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SEED = 4
AMOUNTS = (799, 1299, 1999)
DECLINED = 0.05
"""Cards that never pay again, of all, by the month; one in two is replaced within a week."""
EVENTS = (("change", 0.02), ("pause", 0.01), ("cancel", 0.015), ("refund", 0.005))
"""What happens to a subscriber in a month, and how likely."""


class Clock:
    at = START

    def __call__(self):
        return self.at


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subscribers", nargs="?", type=int, default=100_000)
    parser.add_argument("months", nargs="?", type=int, default=24)
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        url = f"sqlite:///{folder}/simulation.sqlite3"
        app = create_app(Settings(database_url=url, secret_key=("s" * 40,), sandbox=True).completed(), now=clock)
        with app.app_context():
            flask_migrate.upgrade()
            rows = simulate(clock, asked.subscribers, asked.months, Path(folder))
            difference = told(clock)
    if asked.plot:
        asked.plot.write_text(plot(rows))
    sys.exit(1 if difference else 0)


def simulate(clock, subscribers, months, folder) -> list[dict]:
    """Live through it; the months of the revenue report."""
    chance, prices = random.Random(SEED), sell()
    begin(clock, subscribers, prices, folder, chance)
    days, began = months * 30, time.perf_counter()
    with click.progressbar(range(days), label=f"{subscribers} subscribers, {months} months", file=sys.stderr) as bar:
        for _ in bar:
            clock.at += timedelta(days=1)
            while due := jobs.next_due(clock.at):
                today, clock.at = clock.at, max(due.run_at, clock.at - timedelta(days=1))
                jobs.run(jobs.take(today), clock.at)
                clock.at = today
            for subscription_id, account_id in live(chance, subscribers):
                happen(subscription_id, account_id, prices, chance, clock.at)
    took = time.perf_counter() - began
    charges = one_row(sa.select(sa.func.count()).select_from(SandboxCharge))[0]
    print(f"{charges} requests to the payment provider in {took:.0f} s: {charges / took:.0f} a second")
    return revenue(START.date(), clock.at.date(), "month")["revenue"]


def sell() -> list[str]:
    terms = {"currency": "USD", "interval": "month", "interval_count": 1, "trial_days": 0, "intro": None}
    asked = [{**terms, "amount_minor": one, "tax": "exclusive", "countries": None} for one in AMOUNTS]
    plan = put_plan("simulated", {"name": "Plan", "description": None, "features": {}, "prices": asked}, START)
    db.session.commit()
    return [price.id for price in plan.prices]


def begin(clock, subscribers, prices, folder, chance) -> None:
    """They come from another system, paid through a day of the first month."""
    file = folder / "subscribers.ndjson"
    with file.open("w") as lines:
        for n in range(subscribers):
            paid_through = START.date() + timedelta(days=chance.randint(1, 30))
            line = {"external_id": str(n), "email": f"{n}@example.com", "country": "US", "started_on": "2025-12-01"}
            line |= {"price_id": chance.choice(prices), "paid_through": str(paid_through)}
            lines.write(json.dumps({**line, "payment_method": {"reference": f"pm_card_visa/{n}"}}) + "\n")
    with click.progressbar(length=subscribers, label="They come along", file=sys.stderr) as bar:
        report = import_subscribers(file, clock.at, on_progress=lambda: bar.update(1))
    assert report.counts["added"] == subscribers, report


def live(chance, subscribers):
    """Some of the subscribers, as many as something happens to in a day."""
    share = (DECLINED + sum(odds for _, odds in EVENTS)) / 30
    few = sum(chance.random() < share for _ in range(subscribers))
    ids = [row.id for row in all_rows(sa.select(Subscription.id).where(Subscription.status != "canceled"))]
    chosen = chance.sample(ids, min(few, len(ids)))
    return all_rows(sa.select(Subscription.id, Subscription.account_id).where(Subscription.id.in_(chosen)))


def happen(subscription_id, account_id, prices, chance, now) -> None:
    """Something happens to one of them; what the rules refuse does not."""
    what = chance.choices(["decline", *(name for name, _ in EVENTS)], [DECLINED, *(odds for _, odds in EVENTS)])[0]
    try:
        if what == "decline":
            good = chance.random() < 0.5
            reference = "pm_card_visa/new" if good else "pm_card_chargeCustomerFail/old"
            method = sa.update(PaymentMethod).where(PaymentMethod.account_id == account_id)
            db.session.execute(method.values(reference=reference))
            db.session.commit()
        elif what == "refund":
            refund_last(subscription_id, now)
        else:
            changes.carry_out(subscription_id, step_of(what, prices, chance, now), now)
    except Refusal:
        db.session.rollback()
    finally:
        db.session.remove()


def step_of(what, prices, chance, now):
    if what == "change":
        asked = {"price_id": chance.choice(prices)}
        return lambda at: changes.change_plan(at, asked, at.account.id)
    if what == "pause":
        until = now + timedelta(days=chance.randint(1, 60))
        return lambda at: changes.pause(at, until, at.account.id)
    asked = {"when": chance.choice(["now", "period_end"])}
    return lambda at: changes.cancel(at, asked, at.account.id)


def refund_last(subscription_id, now) -> None:
    paid = sa.select(Invoice.id).where(Invoice.subscription_id == subscription_id, Invoice.amount_paid_minor > 0)
    last = db.session.scalar(paid.order_by(Invoice.id.desc()).limit(1))
    if last:
        corrections.refund(last, {}, now)


def told(clock) -> int:
    """Say what came of it; the difference between what should be and what is."""
    by_book = dict(
        all_rows(sa.select(LedgerEntry.book, sa.func.sum(LedgerEntry.amount_minor)).group_by(LedgerEntry.book))
    )
    kinds = sa.select(LedgerEntry.kind, LedgerEntry.book, sa.func.sum(LedgerEntry.amount_minor))
    sums = {(kind, book): amount for kind, book, amount in all_rows(kinds.group_by(LedgerEntry.kind, LedgerEntry.book))}
    bank = sa.func.sum(sa.case((SandboxCharge.kind == "refund", -1), else_=1) * SandboxCharge.amount_minor)
    took = one_row(sa.select(bank).where(SandboxCharge.status == SUCCEEDED))[0] or 0
    billed, collected = -sum(by_book.get(book, 0) for book in ("revenue", "tax")), by_book.get("cash", 0)
    written_off, owed = by_book.get("written_off", 0), by_book.get("receivable", 0)
    credit = -by_book.get("customer_credit", 0)
    difference = abs(billed + credit - collected - written_off - owed) + abs(collected - took)
    print(f"billed       {billed / 100:>16,.2f} USD  after credits")
    print(f"collected    {collected / 100:>16,.2f} USD  after {-sums.get(('refund', 'cash'), 0) / 100:,.2f} refunded")
    print(f"written off  {written_off / 100:>16,.2f} USD")
    print(f"still owed   {owed / 100:>16,.2f} USD  and {credit / 100:,.2f} of account credit")
    print(f"difference   {difference / 100:>16,.2f} USD  between the books, and between the books and the bank")
    found = audit(clock.at)
    print(f"{len(found)} differences found by the billing audit")
    for one in found[:20]:
        print("  ", one)
    return difference + len(found)


def plot(rows) -> str:
    """Collected and written off by month, as bars in a small SVG."""
    width, height, gap = 24, 200, 6
    top = max(row["collected_minor"] for row in rows) or 1
    bars = []
    for place, row in enumerate(rows):
        x, tall = 50 + place * (width + gap), row["collected_minor"] * height // top
        lost = row["written_off_minor"] * height // top
        bars.append(f'<rect x="{x}" y="{height + 20 - tall}" width="{width}" height="{tall}" fill="#3b6ea5"/>')
        bars.append(f'<rect x="{x}" y="{height + 20 - lost}" width="{width}" height="{lost}" fill="#c0392b"/>')
        bars.append(f'<text x="{x + width // 2}" y="{height + 36}" text-anchor="middle">{row["period"][2:]}</text>')
    whole = 60 + len(rows) * (width + gap)
    title = (
        f'<text x="50" y="14">Collected (blue) and written off (red) by month; the highest is {top / 100:,.2f}</text>'
    )
    style = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="9"'
    return f'<svg {style} viewBox="0 0 {whole} {height + 50}">{title}{"".join(bars)}</svg>\n'


if __name__ == "__main__":
    main()
