"""python -m bench.subscriber_import: the processor time and the SQL statements of an import of subscribers.

`python -m bench.subscriber_import [subscribers] [--database postgresql] [--size 64]`. Each has a card, every tenth
account credit, and every tenth an end. `--size` is the most lines in a set; 1 imports each line by itself.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import flask_migrate

from bench import simulate
from bench.__main__ import create_database
from bench.renewals import count_rows
from streamsvc.app import create_app
from streamsvc.models.subscriptions import Subscription
from streamsvc.operations.billing.subscriptions import importing
from streamsvc.settings import Settings
from tests.worlds.sent_statements import sent_statements

CARD = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subscribers", nargs="?", type=int, default=2000)
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql (started for the run), or a URL")
    parser.add_argument("--size", type=int, default=importing.MAX_SET_SIZE, help="the most lines in a set")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, create_database(options.database, Path(folder)) as url:
        clock = simulate.SimulatedClock()
        app = create_app(Settings(database_url=url, secret_key=("s" * 40,), sandbox=True).with_defaults(), now=clock)
        app.extensions.pop("account_clock")  # which costs the sandbox a statement a line
        with app.app_context():
            flask_migrate.upgrade()
            price_id = simulate.create_prices()[0]
            file = Path(folder) / "subscribers.ndjson"
            file.write_text(
                "".join(
                    json.dumps(subscriber(number, price_id, clock.now)) + "\n" for number in range(options.subscribers)
                )
            )
            with sent_statements(app) as texts:
                started_s = time.process_time()
                importing.import_subscribers(file, clock.now, max_set_size=options.size)
                processor_s = time.process_time() - started_s
            if count_rows(Subscription) != options.subscribers:
                raise SystemExit("not all lines were imported")
    per_line = len(texts) / options.subscribers
    print(f"{options.subscribers / processor_s:.0f} lines per processor second, {per_line:.2f} statements each")


def subscriber(number, price_id, now):
    """Return a line of the file."""
    line = {
        "external_id": f"old-{number}",
        "email": f"viewer{number}@example.com",
        "country": "DE",
        "price_id": price_id,
    }
    line |= {"started_on": f"{now.year - 1}-{now:%m}-01", "paid_through": f"{now.year + 1}-01-01"}
    line["payment_method"] = CARD | {"reference": f"cus_{number}/pm_{number}", "fingerprint": f"card {number}"}
    return line | {"credit_minor": 500 * (number % 10 == 3), "cancel_at_period_end": number % 10 == 7}


if __name__ == "__main__":
    main()
