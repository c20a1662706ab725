"""python -m bench.renewals: the processor time of renewals in batches, as the worker runs them.

`python -m bench.renewals [subscribers] [months] [--database postgresql] [--size 64]`. All subscribers are due on the
same day. Each month is timed by itself, payments included; the median and the best month are printed. Mails are
enqueued but not sent.
"""

import argparse
import random
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import flask_migrate
import sqlalchemy as sa

from bench import simulate
from bench.__main__ import create_database
from streamsvc.app import create_app
from streamsvc.models import Job
from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing.subscriptions.renewal import process_due_subscriptions
from streamsvc.settings import Settings
from streamsvc.storage.database import db, execute_write, fetch_one


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subscribers", nargs="?", type=int, default=1024)
    parser.add_argument("months", nargs="?", type=int, default=5)
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (started for the run), or a URL")
    parser.add_argument("--size", type=int, default=64, help="subscriptions per batch")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, create_database(options.database, Path(folder)) as url:
        clock = simulate.SimulatedClock()
        app = create_app(Settings(database_url=url, secret_key=("s" * 40,), sandbox=True).with_defaults(), now=clock)
        with app.app_context():
            flask_migrate.upgrade()
            times = [*renew_each_month(clock, options.subscribers, options.months, options.size)]
    for name, (processor_s, statements) in {"median": statistics.median_low(times), "best": min(times)}.items():
        rate = options.subscribers / processor_s
        per_renewal = statements / options.subscribers
        print(f"{name}: {rate:.0f} renewals per processor second, {per_renewal:.2f} statements each")


def renew_each_month(clock, subscribers, months, size):
    """Yield (processor seconds, statements) of each month's renewals."""
    simulate.random_terms = lambda price_ids, _: (price_ids[0], 1)
    simulate.BATCH_SIZE = size
    subscriptions = simulate.import_subscribers(clock, subscribers, simulate.create_prices(), random.Random(1))
    ids = [subscription_id for subscription_id, _ in subscriptions]
    counter = StatementCounter()
    for engine in db.engines.values():
        sa.event.listen(engine, "before_cursor_execute", counter)
    invoices = count_rows(Invoice)
    for _ in range(months):
        clock.now = clock.now.replace(day=3)  # they are due on the second
        counter.count, started_s = 0, time.process_time()
        for first in range(0, subscribers, size):
            process_due_subscriptions(ids[first : first + size], clock.now)
            db.session.remove()
        yield time.process_time() - started_s, counter.count
        execute_write(sa.delete(Job))
        clock.now += timedelta(days=31)
        invoices, previous = count_rows(Invoice), invoices
        if invoices - previous != subscribers or count_rows(Payment) != invoices:
            raise SystemExit(f"{invoices - previous} invoices for {subscribers} subscribers")


def count_rows(model):
    return fetch_one(sa.select(sa.func.count()).select_from(model))[0]


class StatementCounter:
    count = 0

    def __call__(self, *_):
        self.count += 1


if __name__ == "__main__":
    main()
