"""python -m bench.simulate: bill subscribers for 24 months, then check the books to the cent.

`python -m bench.simulate [subscribers] [months] [--parts 2] [--plot file.svg]`. Payments are declined, and subscribers
change plans, pause, cancel, get refunds, and some subscribe in an app store as well. The simulation calls the
operations that the API and the worker share, without HTTP, on a temporary SQLite database; with several parts, each has
a database and a process of its own, like separate services per market. The seed is fixed: the same run gives the same
sums.

Mails are enqueued but not rendered, since their text does not affect the books. Nothing else writes and nothing must
survive a power failure, so batches are larger than a worker's and SQLite does not sync to disk.
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

from bench.simulate_stores import PRODUCT, apply_store_event, describe_stores
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
from streamsvc.operations.billing.invoices import refunds
from streamsvc.operations.billing.plans import replace_plan
from streamsvc.operations.billing.reporting.revenue import revenue_report
from streamsvc.operations.billing.subscriptions import changes
from streamsvc.operations.maintenance import job_handlers
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.stores.state import SOURCES
from streamsvc.schemas.subscriptions.subscriptions import PlanIn
from streamsvc.settings import Settings
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_one, new_id
from streamsvc.worker import gc_tuning, jobs

assert job_handlers
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SEED = 4
PRICES = ((1299, "month", 1), (3499, "month", 3), (11900, "year", 1))
"""(amount in cents, interval, interval count); each third of the subscribers has one of them."""
CARD_CHANGES = 0.03
"""Share of cards that change per month; half of them decline every payment afterwards."""
EVENTS = (("change", 0.01), ("pause", 0.005), ("cancel", 0.01), ("refund", 0.005))
"""Events of a subscriber, and the probability of each per month."""
STORE_EVENTS = 0.02
"""Share of subscribers who, per month, subscribe in an app store, or to whose subscription there something happens."""
BATCH_SIZE = 500
PRAGMAS = "PRAGMA synchronous=OFF; PRAGMA cache_size=-1000000;"
TABLES = (Account, PaymentMethod, Subscription, SubscriptionEvent)


class SimulatedClock:
    now = START

    def __call__(self):
        return self.now


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subscribers", nargs="?", type=int, default=100_000)
    parser.add_argument("months", nargs="?", type=int, default=24)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    size, remainder = divmod(options.subscribers, options.parts)
    parts = [(size + (part < remainder), options.months, SEED + part) for part in range(options.parts)]
    if options.parts == 1:
        total = simulate_part(*parts[0])
    else:
        with multiprocessing.get_context("spawn").Pool(options.parts) as processes:
            results = processes.starmap(simulate_part, parts, chunksize=1)
        for result in results:
            print_result(result)
        print("Total")
        total = merge_results(results)
    print_result(total)
    if options.plot:
        options.plot.write_text(render_plot(total.months))
    sys.exit(1 if total.difference else 0)


def simulate_part(subscribers, months, seed) -> "SimulationResult":
    """Simulate one part on a new database, from its first day to its audit."""
    with tempfile.TemporaryDirectory() as folder:
        clock = SimulatedClock()
        url = f"sqlite:///{folder}/simulation.sqlite3"
        app = create_app(Settings(database_url=url, secret_key=("s" * 40,), sandbox=True).with_defaults(), now=clock)
        jobs.MAX_BATCH_SIZE = BATCH_SIZE
        with app.app_context():
            for engine in db.engines.values():
                sa.event.listen(engine, "connect", lambda raw, _: raw.executescript(PRAGMAS))
            flask_migrate.upgrade()
            return simulate_months(clock, subscribers, months, random.Random(seed))


def simulate_months(clock, subscribers, months, rng) -> "SimulationResult":
    """Simulate months of 30 days, and check the books afterwards."""
    price_ids = create_prices()
    subscriptions = import_subscribers(clock, subscribers, price_ids, rng)
    gc_tuning.tune_gc()
    days, started = months * 30, time.perf_counter()
    store_rng = random.Random(len(subscriptions))  # of its own, so that our sums stay the same
    with click.progressbar(range(days), label=f"{subscribers} subscribers, {months} months", file=sys.stderr) as bar:
        for _ in bar:
            clock.now += timedelta(days=1)
            run_due_jobs(clock)
            for subscription_id, account_id in pick_subscriptions(subscriptions, rng):
                apply_random_event(subscription_id, account_id, price_ids, rng, clock.now)
            count = round(len(subscriptions) * STORE_EVENTS / 30 + store_rng.random() / 2)
            for _, account_id in store_rng.sample(subscriptions, count):
                apply_store_event(account_id, store_rng, clock.now)
    simulated_s = time.perf_counter() - started
    click.echo(describe_stores(), err=True)
    months = revenue_report(START.date(), clock.now.date(), "month")["revenue"]
    started = time.perf_counter()
    differences = [str(difference) for difference in audit_billing(clock.now)]
    times = {"simulated_s": simulated_s, "audited_s": time.perf_counter() - started}
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return SimulationResult(months, **ledger_totals(), audit_differences=differences, **times, peak_mib=peak_mib)


def run_due_jobs(clock) -> None:
    """Run every job that is due by now, with the clock at its due time; delete the mails and the finished jobs."""
    today = clock.now
    while due := jobs.find_next_due_job(today):
        clock.now = max(due.run_at, today - timedelta(days=1))
        jobs.run_batch(jobs.lease_batch(due.run_at, BATCH_SIZE), clock.now)
        execute_write(sa.delete(Job).where(jobs.IS_OPEN, Job.run_at <= clock.now, Job.kind == "mail.send"))
    clock.now = today
    execute_write(sa.delete(Job).where(Job.done_at.is_not(None)))


def create_prices() -> list[str]:
    """Create a plan with PRICES; returns the ids of the prices, in that order."""
    terms = {"currency": "USD", "tax": "exclusive"}
    prices = [
        {**terms, "amount_minor": amount, "interval": interval, "interval_count": count}
        for amount, interval, count in PRICES
    ]
    products = [{"source": source, "product_id": PRODUCT} for source in SOURCES]
    body = {"name": "Plan", "features": {}, "prices": prices, "store_products": products}
    plan = replace_plan("simulated", PlanIn().load(body), START)
    db.session.commit()
    return [price.id for price in sorted(plan.prices, key=lambda price: price.amount_minor)]


def import_subscribers(clock, count, price_ids, rng) -> list[tuple[str, str]]:
    """Insert subscribers as if imported from another system, each somewhere in a paid period.

    Returns [(subscription id, account id)].
    """
    plan_id = fetch_one(sa.text("SELECT plan_id FROM prices"))[0]
    subscriptions = []
    with click.progressbar(range(0, count, BATCH_SIZE), label="Importing subscribers", file=sys.stderr) as bar:
        for first in bar:
            numbers = range(first, min(first + BATCH_SIZE, count))
            rows = [subscriber_rows(n, *random_terms(price_ids, rng), plan_id, clock.now) for n in numbers]
            columns = zip(*rows, strict=True)
            for model, of_model in zip(TABLES, columns, strict=True):
                db.session.execute(sa.insert(model), list(of_model))
            ids = [(subscription["id"], account["id"]) for account, _, subscription, _ in rows]
            with batches.lock_batch([subscription_id for subscription_id, _ in ids], clock.now) as aggregates:
                for aggregate in aggregates.values():
                    aggregate.save_projection()
            db.session.commit()
            db.session.remove()
            subscriptions += ids
    return subscriptions


def random_terms(price_ids, rng) -> tuple[str, int]:
    """(price id, paid days left)."""
    index = rng.randrange(len(price_ids))
    _, interval, count = PRICES[index]
    return price_ids[index], rng.randint(1, {"month": 30, "year": 365}[interval] * count)


def subscriber_rows(number, price_id, paid_days, plan_id, now) -> tuple[dict, ...]:
    """The rows of one subscriber, by TABLES: account, card, subscription and its `imported` event."""
    account, start = {"id": new_id("acc"), "status": "active", "country": "US", "created_at": now}, date(2025, 1, 1)
    account |= {"email": f"{number}@example.com", "email_key": f"{number}@example.com", "time_zone": "UTC"}
    owner = {"account_id": account["id"], "created_at": now}
    card = {"id": new_id("pme"), "provider": "sandbox", "reference": "pm_card_visa/x", "kind": "card"}
    subscription = {
        "id": new_id("sub"),
        "plan_id": plan_id,
        "price_id": price_id,
        "status": "active",
        "currency": "USD",
    }
    paid_through = (START + timedelta(days=paid_days)).date()
    data = {"price": price_id, "start": str(start), "paid_through": str(paid_through), "anchor_day": None}
    event = {
        "subscription_id": subscription["id"],
        "seq": 0,
        "kind": "imported",
        "on": now.date(),
        "data": data,
        "at": now,
    }
    return (
        account | {"locale": "en"},
        card | owner | {"is_default": True},
        subscription | owner | {"time_zone": "UTC", "started_on": start},
        event,
    )


def pick_subscriptions(subscriptions, rng) -> list[sa.Row]:
    """Pick today's subscriptions with an event, without canceled ones: (id, account id)."""
    share = (CARD_CHANGES + sum(weight for _, weight in EVENTS)) / 30
    count = round(len(subscriptions) * share + rng.random() - 0.5)
    chosen = [ids[0] for ids in rng.sample(subscriptions, count)]
    rows = sa.select(Subscription.id, Subscription.account_id).where(Subscription.id.in_(chosen))
    return fetch_all(rows.where(Subscription.status != "canceled").order_by(Subscription.id))


def apply_random_event(subscription_id, account_id, price_ids, rng, now) -> None:
    """Apply one event to the subscription; one that the rules reject has no effect."""
    names, weights = ["card", *(name for name, _ in EVENTS)], [CARD_CHANGES, *(weight for _, weight in EVENTS)]
    event = rng.choices(names, weights)[0]
    try:
        if event == "card":
            is_valid = rng.random() < 0.5
            reference = "pm_card_visa/new" if is_valid else "pm_card_chargeCustomerFail/old"
            method = sa.update(PaymentMethod).where(PaymentMethod.account_id == account_id)
            db.session.execute(method.values(reference=reference))
            db.session.commit()
        elif event == "refund":
            refund_last_invoice(subscription_id, now)
        else:
            changes.apply_change(subscription_id, build_change(event, price_ids, rng, now), now)
    except Refusal:
        db.session.rollback()
    finally:
        db.session.remove()


def build_change(event, price_ids, rng, now):
    """The change as a function of the locked aggregate."""
    if event == "change":
        body = {"price_id": rng.choice(price_ids), "when": rng.choice(["auto", "now"]), "anchor_day": None}
        return lambda aggregate: changes.change_plan(aggregate, body, aggregate.account.id)
    if event == "pause":
        until = now + timedelta(days=rng.randint(4, 60))
        return lambda aggregate: changes.pause_subscription(aggregate, until, aggregate.account.id)
    body = {"when": rng.choice(["now", "period_end"])} | dict.fromkeys(
        ("effective_date", "credit", "reason", "feedback")
    )
    return lambda aggregate: changes.cancel_subscription(aggregate, body, aggregate.account.id)


def refund_last_invoice(subscription_id, now) -> None:
    paid = sa.select(Invoice.id).where(Invoice.subscription_id == subscription_id, Invoice.amount_paid_minor > 0)
    invoice_id = db.session.scalar(paid.order_by(Invoice.id.desc()).limit(1))
    if invoice_id:
        body = {"amount_minor": None, "payment_id": None, "credit_note": True, "reason": None}
        refunds.refund_invoice(invoice_id, body, now)


def ledger_totals() -> dict[str, int]:
    """The totals of the ledger's books and of the sandbox's charges, in cents."""
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
class SimulationResult:
    """The revenue report by month, the `ledger_totals` in cents, and the differences that the audit found."""

    months: list[dict]
    requests: int
    billed: int
    collected: int
    refunded: int
    written_off: int
    owed: int
    credit: int
    bank: int
    audit_differences: list[str]
    simulated_s: float
    audited_s: float
    peak_mib: int

    @property
    def difference(self) -> int:
        """Cents of difference within the books and between books and bank, plus the audit's differences; must be 0."""
        books = abs(self.billed + self.credit - self.collected - self.written_off - self.owed)
        return books + abs(self.collected - self.bank) + len(self.audit_differences)


WRITTEN_OFF_SCALE = 10
PLOTTED = ("collected_minor", "written_off_minor")


def merge_results(results: list[SimulationResult]) -> SimulationResult:
    """The sums of parts that ran side by side; of the times, the longest."""
    months = {}
    for row in sorted((row for result in results for row in result.months), key=lambda row: row["period"]):
        month = months.setdefault(row["period"], dict.fromkeys(PLOTTED, 0) | {"period": row["period"]})
        month |= {name: month[name] + row[name] for name in PLOTTED}
    summed = "requests billed collected refunded written_off owed credit bank audit_differences peak_mib".split()
    sums = {name: sum((getattr(r, name) for r in results[1:]), getattr(results[0], name)) for name in summed}
    longest = {name: max(getattr(result, name) for result in results) for name in ("simulated_s", "audited_s")}
    return SimulationResult(list(months.values()), **sums, **longest)


def print_result(result: SimulationResult) -> None:
    rate = result.requests / result.simulated_s
    print(f"{result.requests} requests to the payment provider in {result.simulated_s:.0f} s: {rate:.0f} per second")
    print(f"billed       {result.billed / 100:>16,.2f} USD  after credits")
    print(f"collected    {result.collected / 100:>16,.2f} USD  after {result.refunded / 100:,.2f} refunded")
    print(f"written off  {result.written_off / 100:>16,.2f} USD")
    print(f"still owed   {result.owed / 100:>16,.2f} USD  and {result.credit / 100:,.2f} of account credit")
    print(f"difference   {result.difference / 100:>16,.2f} USD  between the books, and between the books and the bank")
    print(f"{len(result.audit_differences)} differences found by the billing audit, in {result.audited_s:.0f} s")
    print(f"{result.peak_mib} MiB peak memory")
    for difference in result.audit_differences[:20]:
        print("  ", difference)


def render_plot(rows) -> str:
    """A bar chart of the amounts collected and written off per month, as SVG."""
    width, height, gap = 24, 200, 6
    top = max(row["collected_minor"] for row in rows) or 1
    bars = []
    for index, row in enumerate(rows):
        x, collected = 50 + index * (width + gap), row["collected_minor"] * height // top
        written_off = row["written_off_minor"] * WRITTEN_OFF_SCALE * height // top
        bars.append(
            f'<rect x="{x}" y="{height + 20 - collected}" width="{width}" height="{collected}" fill="#3b6ea5"/>'
        )
        bars.append(
            f'<rect x="{x}" y="{height + 20 - written_off}" width="{width}" height="{written_off}" fill="#c0392b"/>'
        )
        bars.append(f'<text x="{x + width // 2}" y="{height + 36}" text-anchor="middle">{row["period"][2:]}</text>')
    total_width = 60 + len(rows) * (width + gap)
    title = (
        f'<text x="50" y="14">Collected per month (blue), at most {top / 100:,.2f};'
        f" written off (red) is drawn {WRITTEN_OFF_SCALE} times as tall</text>"
    )
    style = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="9"'
    return f'<svg {style} viewBox="0 0 {total_width} {height + 50}">{title}{"".join(bars)}</svg>\n'


if __name__ == "__main__":
    main()
