"""Subscribers through 24 months: declines, changes, pauses, cancellations, refunds; then the books, to the cent.

`python -m bench.simulate [subscribers] [months] [--parts 2] [--plot file.svg]`. It goes through the operations that the
API and the worker share, not through HTTP, on a SQLite file of its own; with parts, each on its own, side by side, as
services do that keep their markets apart. The seed is fixed: the same run gives the same sums.
Mails are asked for and not written: what they would say is no part of the books. Nobody else writes and nothing has
to outlive the machine's power, so sets are larger than a worker's and SQLite does not wait for its disk.
"""

import argparse
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import flask_migrate
import sqlalchemy as sa

from streamsvc.app import create_app
from streamsvc.gateways.payments.interface import SUCCEEDED
from streamsvc.models import Account, Job
from streamsvc.models.subscriptions import (
    Invoice,
    LedgerEntry,
    PaymentMethod,
    SandboxCharge,
    Subscription,
    SubscriptionEvent,
)
from streamsvc.operations.billing.books.audit import audit_billing
from streamsvc.operations.billing.core import batches
from streamsvc.operations.billing.core.aggregate import load_locked
from streamsvc.operations.billing.invoices import corrections
from streamsvc.operations.billing.plans import replace_plan
from streamsvc.operations.billing.reporting.revenue import revenue_report
from streamsvc.operations.billing.subscriptions import changes
from streamsvc.operations.maintenance import job_handlers
from streamsvc.rules.refusals.base import Refusal
from streamsvc.settings import Settings
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_one, new_id
from streamsvc.storage.unit_of_work import unit_of_work
from streamsvc.worker import gc_tuning, jobs

assert job_handlers
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SEED = 4
PRICES = ((1299, "month", 1), (3499, "month", 3), (11900, "year", 1))
"""Cents, for how long; a third of the subscribers have each."""
DECLINED = 0.03
"""Cards that change, of all, by the month; every other one is never good for a payment again."""
EVENTS = (("change", 0.01), ("pause", 0.005), ("cancel", 0.01), ("refund", 0.005))
"""What happens to a subscriber in a month, and how likely."""
AT_ONCE = 500
PRAGMAS = "PRAGMA synchronous=OFF; PRAGMA cache_size=-1000000;"
TABLES = (Account, PaymentMethod, Subscription, SubscriptionEvent)


class Clock:
    at = START

    def __call__(self):
        return self.at


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subscribers", nargs="?", type=int, default=100_000)
    parser.add_argument("months", nargs="?", type=int, default=24)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    many, more = divmod(asked.subscribers, asked.parts)
    parts = [(many + (part < more), asked.months, SEED + part) for part in range(asked.parts)]
    if asked.parts == 1:
        whole = live(*parts[0])
    else:
        with multiprocessing.get_context("spawn").Pool(asked.parts) as processes:
            ends = processes.starmap(live, parts, chunksize=1)
        for end in ends:
            tell(end)
        print("All together")
        whole = together_of(ends)
    tell(whole)
    if asked.plot:
        asked.plot.write_text(plot(whole.months))
    sys.exit(1 if whole.difference else 0)


def live(subscribers, months, seed) -> "End":
    """One part from its first day to its audit."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        url = f"sqlite:///{folder}/simulation.sqlite3"
        app = create_app(Settings(database_url=url, secret_key=("s" * 40,), sandbox=True).with_defaults(), now=clock)
        jobs.MAX_BATCH_SIZE = AT_ONCE
        with app.app_context():
            for engine in db.engines.values():
                sa.event.listen(engine, "connect", lambda raw, _: raw.executescript(PRAGMAS))
            flask_migrate.upgrade()
            return simulate(clock, subscribers, months, random.Random(seed))


def simulate(clock, subscribers, months, chance) -> "End":
    """Live through it, and look at what came of it."""
    prices = sell()
    everyone = begin(clock, subscribers, prices, chance)
    gc_tuning.tune_gc()
    days, began = months * 30, time.perf_counter()
    with click.progressbar(range(days), label=f"{subscribers} subscribers, {months} months", file=sys.stderr) as bar:
        for _ in bar:
            clock.at += timedelta(days=1)
            pass_day(clock)
            for subscription_id, account_id in some(everyone, chance):
                happen(subscription_id, account_id, prices, chance, clock.at)
    lived_s = time.perf_counter() - began
    rows = revenue_report(START.date(), clock.at.date(), "month")["revenue"]
    began = time.perf_counter()
    found = audit_billing(clock.at)
    took = {"lived_s": lived_s, "audited_s": time.perf_counter() - began}
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return End(rows, **books(), found=[str(one) for one in found], **took, peak_mib=peak_mib)


def pass_day(clock) -> None:
    """All that falls due up to now, at the moment it falls due; then what nobody will ask for is forgotten."""
    today = clock.at
    while due := jobs.find_next_due_job(today):
        clock.at = max(due.run_at, today - timedelta(days=1))
        jobs.run_batch(jobs.lease_batch(due.run_at, AT_ONCE), clock.at)
        execute_write(sa.delete(Job).where(jobs.IS_OPEN, Job.run_at <= clock.at, Job.kind == "mail.send"))
    clock.at = today
    execute_write(sa.delete(Job).where(Job.done_at.is_not(None)))


def sell() -> list[str]:
    terms = {"currency": "USD", "trial_days": 0, "intro": None, "tax": "exclusive", "countries": None}
    asked = [
        {**terms, "amount_minor": amount, "interval": interval, "interval_count": count}
        for amount, interval, count in PRICES
    ]
    plan = replace_plan("simulated", {"name": "Plan", "description": None, "features": {}, "prices": asked}, START)
    db.session.commit()
    return [price.id for price in sorted(plan.prices, key=lambda one: one.amount_minor)]


def begin(clock, subscribers, prices, chance) -> list[tuple[str, str]]:
    """(subscription, account) of all: they come from another system, somewhere in a period that is paid."""
    plan_id = fetch_one(sa.text("SELECT plan_id FROM prices"))[0]
    everyone = []
    with click.progressbar(range(0, subscribers, AT_ONCE), label="They come along", file=sys.stderr) as bar:
        for first in bar:
            numbers = range(first, min(first + AT_ONCE, subscribers))
            rows = [arrival(n, *some_terms(prices, chance), plan_id, clock.at) for n in numbers]
            columns = zip(*rows, strict=True)
            for model, kept in zip(TABLES, columns, strict=True):
                db.session.execute(sa.insert(model), list(kept))
            ids = [(subscription["id"], account["id"]) for account, _, subscription, _ in rows]
            with unit_of_work():
                batches.lock_and_preload([subscription_id for subscription_id, _ in ids])
                for subscription_id, _ in ids:
                    load_locked(subscription_id, clock.at).save_projection()
            db.session.commit()
            db.session.remove()
            everyone += ids
    return everyone


def some_terms(prices, chance) -> tuple[str, int]:
    """A price, and how many days of it are left."""
    which = chance.randrange(len(prices))
    _, interval, count = PRICES[which]
    return prices[which], chance.randint(1, {"month": 30, "year": 365}[interval] * count)


def arrival(number, price_id, paid_days, plan_id, now) -> tuple[dict, ...]:
    """One subscriber as rows: account, card, subscription, and the event that it was brought along."""
    account, start = {"id": new_id("acc"), "status": "active", "country": "US", "created_at": now}, date(2025, 1, 1)
    account |= {"email": f"{number}@example.com", "email_key": f"{number}@example.com", "time_zone": "UTC"}
    mine = {"account_id": account["id"], "created_at": now}
    card = {"id": new_id("pme"), "provider": "sandbox", "reference": "pm_card_visa/x", "kind": "card"}
    what = {"id": new_id("sub"), "plan_id": plan_id, "price_id": price_id, "status": "active", "currency": "USD"}
    paid_through = (START + timedelta(days=paid_days)).date()
    data = {"price": price_id, "start": str(start), "paid_through": str(paid_through), "anchor_day": None}
    event = {"subscription_id": what["id"], "seq": 0, "kind": "imported", "on": now.date(), "data": data, "at": now}
    return (
        account | {"locale": "en"},
        card | mine | {"is_default": True},
        what | mine | {"time_zone": "UTC", "started_on": start},
        event,
    )


def some(everyone, chance) -> list[sa.Row]:
    """Those to whom something happens today, if they are still there."""
    share = (DECLINED + sum(odds for _, odds in EVENTS)) / 30
    chosen = [ids[0] for ids in chance.sample(everyone, round(len(everyone) * share + chance.random() - 0.5))]
    present = sa.select(Subscription.id, Subscription.account_id).where(Subscription.id.in_(chosen))
    return fetch_all(present.where(Subscription.status != "canceled").order_by(Subscription.id))


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
            changes.apply_change(subscription_id, step_of(what, prices, chance, now), now)
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
        return lambda at: changes.pause_subscription(at, until, at.account.id)
    asked = {"when": chance.choice(["now", "period_end"])}
    return lambda at: changes.cancel_subscription(at, asked, at.account.id)


def refund_last(subscription_id, now) -> None:
    paid = sa.select(Invoice.id).where(Invoice.subscription_id == subscription_id, Invoice.amount_paid_minor > 0)
    last = db.session.scalar(paid.order_by(Invoice.id.desc()).limit(1))
    if last:
        corrections.refund_invoice(last, {}, now)


def books() -> dict[str, int]:
    """What the ledger holds, and what the bank took, in cents."""
    sums = sa.select(LedgerEntry.book, sa.func.sum(LedgerEntry.amount_minor)).group_by(LedgerEntry.book)
    by_book = dict(fetch_all(sums))
    refunds = sa.func.sum(LedgerEntry.amount_minor)
    refunded = fetch_one(sa.select(refunds).where(LedgerEntry.kind == "refund", LedgerEntry.book == "cash"))[0] or 0
    bank = sa.func.sum(sa.case((SandboxCharge.kind == "refund", -1), else_=1) * SandboxCharge.amount_minor)
    return {
        "requests": fetch_one(sa.select(sa.func.count()).select_from(SandboxCharge))[0],
        "billed": -sum(by_book.get(book, 0) for book in ("revenue", "tax")),
        "collected": by_book.get("cash", 0),
        "refunded": -refunded,
        "written_off": by_book.get("written_off", 0),
        "owed": by_book.get("receivable", 0),
        "credit": -by_book.get("customer_credit", 0),
        "bank": fetch_one(sa.select(bank).where(SandboxCharge.status == SUCCEEDED))[0] or 0,
    }


@dataclass(frozen=True)
class End:
    """What came of a simulation: the months of the revenue report, the sums of `books`, what the audit found."""

    months: list[dict]
    requests: int
    billed: int
    collected: int
    refunded: int
    written_off: int
    owed: int
    credit: int
    bank: int
    found: list[str]
    lived_s: float
    audited_s: float
    peak_mib: int

    @property
    def difference(self) -> int:
        """Between the books, between the books and the bank, and what the audit found: nothing, in good books."""
        books = abs(self.billed + self.credit - self.collected - self.written_off - self.owed)
        return books + abs(self.collected - self.bank) + len(self.found)


ENLARGED = 10
PLOTTED = ("collected_minor", "written_off_minor")


def together_of(ends: list[End]) -> End:
    """Parts that lived side by side as one."""
    months = {}
    for row in sorted((row for end in ends for row in end.months), key=lambda row: row["period"]):
        month = months.setdefault(row["period"], dict.fromkeys(PLOTTED, 0) | {"period": row["period"]})
        month |= {name: month[name] + row[name] for name in PLOTTED}
    summed = "requests billed collected refunded written_off owed credit bank found peak_mib".split()
    sums = {name: sum((getattr(end, name) for end in ends[1:]), getattr(ends[0], name)) for name in summed}
    longest = {name: max(getattr(end, name) for end in ends) for name in ("lived_s", "audited_s")}
    return End(list(months.values()), **sums, **longest)


def tell(end: End) -> None:
    rate = end.requests / end.lived_s
    print(f"{end.requests} requests to the payment provider in {end.lived_s:.0f} s: {rate:.0f} a second")
    print(f"billed       {end.billed / 100:>16,.2f} USD  after credits")
    print(f"collected    {end.collected / 100:>16,.2f} USD  after {end.refunded / 100:,.2f} refunded")
    print(f"written off  {end.written_off / 100:>16,.2f} USD")
    print(f"still owed   {end.owed / 100:>16,.2f} USD  and {end.credit / 100:,.2f} of account credit")
    print(f"difference   {end.difference / 100:>16,.2f} USD  between the books, and between the books and the bank")
    print(f"{len(end.found)} differences found by the billing audit, in {end.audited_s:.0f} s")
    print(f"{end.peak_mib} MiB of memory at the most")
    for one in end.found[:20]:
        print("  ", one)


def plot(rows) -> str:
    """Collected and written off by month, as bars in a small SVG."""
    width, height, gap = 24, 200, 6
    top = max(row["collected_minor"] for row in rows) or 1
    bars = []
    for place, row in enumerate(rows):
        x, tall = 50 + place * (width + gap), row["collected_minor"] * height // top
        lost = row["written_off_minor"] * ENLARGED * height // top
        bars.append(f'<rect x="{x}" y="{height + 20 - tall}" width="{width}" height="{tall}" fill="#3b6ea5"/>')
        bars.append(f'<rect x="{x}" y="{height + 20 - lost}" width="{width}" height="{lost}" fill="#c0392b"/>')
        bars.append(f'<text x="{x + width // 2}" y="{height + 36}" text-anchor="middle">{row["period"][2:]}</text>')
    whole = 60 + len(rows) * (width + gap)
    title = (
        f'<text x="50" y="14">Collected by month (blue), at the most {top / 100:,.2f};'
        f" written off (red) is drawn {ENLARGED} times as tall</text>"
    )
    style = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="9"'
    return f'<svg {style} viewBox="0 0 {whole} {height + 50}">{title}{"".join(bars)}</svg>\n'


if __name__ == "__main__":
    main()
