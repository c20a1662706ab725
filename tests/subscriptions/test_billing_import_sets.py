"""Subscribers imported in sets: every row and every report is as if the lines were imported one by one."""

import json
import re
from collections import Counter

import pytest
import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import Subscription
from streamsvc.operations.billing.subscriptions import importing
from streamsvc.storage.database import db, fetch_all, fetch_existing
from tests.conftest import NOON, delete_all_rows
from tests.worlds.billing_world import World
from tests.worlds.sent_statements import sent_statements

pytestmark = pytest.mark.every_database

PRICE = {"plan": "p", "currency": "USD", "amount_minor": 1000}
LINE = {"country": "US", "started_on": "2025-11-20", "paid_through": "2026-02-20", "price": PRICE}
CARD = {"reference": "pm_card_visa/old", "brand": "visa", "last4": "4242"}
YEAR = {"plan": "year", "currency": "USD", "amount_minor": 9000, "interval": "year"}
ID = re.compile(r"\b[a-z]{3}_[0-9a-v]{26}\b")
RANDOM_COLUMNS = {"details", "details_digest", "hash", "previous", "token_hash", "password_hash", "search_key"}
LINES = (
    *({"email": f"plain{number}@example.com"} for number in range(5)),
    *({"email": f"card{number}@example.com", "payment_method": CARD} for number in range(3)),
    *({"email": f"credit{number}@example.com", "credit_minor": 400} for number in range(2)),
    {"email": "ends@example.com", "cancel_at_period_end": True, "payment_method": {**CARD, "fingerprint": "same"}},
    {
        "email": "poca@example.com",
        "price": YEAR,
        "anchor_day": 31,
        "anchor_month": 2,
        "name": "Ann Lee",
        "locale": "de",
    },
    {
        "email": "trial@example.com",
        "price": {**PRICE, "plan": "trial"},
        "payment_method": {**CARD, "fingerprint": "same"},
    },
    {
        "email": "intro@example.com",
        "price": {**PRICE, "plan": "intro"},
        "payment_method": {**CARD, "fingerprint": "same"},
    },
    {
        "email": "intro2@example.com",
        "price": {**PRICE, "plan": "intro"},
        "payment_method": {**CARD, "fingerprint": "same"},
    },
    {"email": "moves@example.com", "price": {**PRICE, "plan": "old"}, "time_zone": "Asia/Tokyo"},
    {"email": "member@example.com", "payment_method": CARD, "credit_minor": 300},
    {"email": "MEMBER@example.com", "external_id": "again"},
    {"email": "subscribed@example.com"},
    {"email": "newcomer@example.com", "external_id": "twice"},
    {"email": "newcomer@example.com", "external_id": "twice"},
    {"email": "late@example.com", "paid_through": "2026-01-15"},
    {"email": "unknown@example.com", "price": {**PRICE, "plan": "q"}},
    {"email": "nobody", "price": {**PRICE, "plan": "q"}},
    {"email": "anchor@example.com", "price": {**PRICE, "plan": "week", "interval": "week"}, "anchor_day": 3},
    {"email": "abroad@example.com", "price": {**PRICE, "plan": "abroad"}},
    {"email": "\u0440\u043e\u0441\u0430@example.com"},
    {"email": "last@example.com", "external_id": " spaced "},
)
"""Each with an external id of its own, unless it says another; the Cyrillic one looks like another one's address."""


@pytest.fixture
def import_lines(app, tmp_path):
    """Import these lines into a new world, in sets of at most so many lines; return the report."""

    def run(lines, max_set_size, dry_run=False):
        file = tmp_path / "subscribers.ndjson"
        numbered = ({**LINE, "external_id": f"old-{number}", **line} for number, line in enumerate(lines))
        file.write_text("\n".join(["{", *map(json.dumps, numbered)]))
        with app.app_context():
            return importing.import_subscribers(file, app.extensions["clock"](), dry_run, max_set_size=max_set_size)

    return run


def create_world(app):
    with app.app_context():
        delete_all_rows(db.engine)
    app.extensions["clock"].at = NOON
    world = World(app)
    world.plan("p", 1000)
    world.plan("year", 9000, interval="year")
    world.plan("week", 1000, interval="week")
    world.plan("trial", 1000, trial_days=14)
    world.plan("intro", 1000, intro={"amount_minor": 100, "periods": 6})
    world.plan("abroad", 1000, countries=["DE"])
    old, new = world.plan("old", 1000), world.plan("new", 1500)
    migration = {"from_price_id": old, "to_price_id": new, "effective": "2026-02-01"}
    assert world.operator.post("/v1/admin/price-migrations", migration).status_code == 201
    subscribed = world.person()
    assert subscribed.subscribe(old).status_code == 201
    rename(app, subscribed.id, "subscribed@example.com")
    rename(app, world.person().id, "member@example.com")
    return world


def rename(app, account_id, email):
    with app.app_context():
        db.session.execute(sa.update(Account).where(Account.id == account_id).values(email=email, email_key=email))
        db.session.commit()


def read_rows(app) -> dict[str, set[str]]:
    """Return all rows by table, as text without RANDOM_COLUMNS."""
    with app.app_context():
        return {
            table.name: {
                repr({name: value for name, value in row._mapping.items() if name not in RANDOM_COLUMNS})
                for row in fetch_all(sa.select(table))
            }
            for table in db.metadata.sorted_tables
        }


def name_ids(rows: dict[str, set[str]]) -> dict[str, list[str]]:
    """Replace each id by its kind and its number in the order of creation, so that rows of two imports compare."""
    numbers, names = Counter(), {}
    for value in sorted(set(ID.findall(repr(rows)))):
        numbers[value[:3]] += 1
        names[value] = f"{value[:3]}-{numbers[value[:3]]}"
    return {
        table: sorted(ID.sub(lambda match: names[match[0]], row) for row in of_table)
        for table, of_table in rows.items()
    }


def test_a_set_of_lines_has_the_rows_and_the_report_of_each_line_by_itself(app, import_lines):
    results = []
    for max_set_size in (1, 7, 100):
        world = create_world(app)
        before = read_rows(app)
        report = import_lines(LINES, max_set_size)
        new_rows = {table: rows - before[table] for table, rows in read_rows(app).items()}
        assert world.differences() == []
        results.append((vars(report), name_ids(new_rows)))
    (report, rows), *others = results
    assert (report["lines"], report["counts"]) == (29, {"added": 19, "unchanged": 1, "rejected": 9})
    assert (len(rows["subscriptions"]), len(rows["accounts"]), len(rows["payment_methods"])) == (19, 18, 8)
    for other_report, other_rows in others:
        assert other_report == report
        assert {name: other_rows[name] for name in rows if other_rows[name] != rows[name]} == {}


def test_rejected_lines_are_reported_in_the_order_of_the_file(app, import_lines):
    create_world(app)
    rejections = import_lines(LINES, 100).rejections
    assert [(each.line, each.external_id, each.field, each.code) for each in rejections] == [
        (1, None, "line", "malformed_json"),
        (19, "again", "email", "already_subscribed"),
        (20, "old-18", "email", "already_subscribed"),
        (23, "old-21", "paid_through", "invalid"),
        (24, "old-22", "price", "invalid"),
        (25, "old-23", "email", "invalid"),
        (26, "old-24", "anchor_day", "invalid"),
        (27, "old-25", "price_id", "invalid"),
        (28, "old-26", "email", "email_taken"),
    ]


def test_a_line_sees_what_an_earlier_one_of_the_file_has_added(app, import_lines):
    create_world(app)
    look_alikes = [{"email": "poca@example.com"}, {"email": "\u0440\u043e\u0441\u0430@example.com"}]
    rejections = import_lines(look_alikes, 100).rejections
    assert [(each.line, each.code) for each in rejections] == [(1, "malformed_json"), (3, "email_taken")]


def test_lines_name_their_price_by_its_id_or_by_its_terms(app, import_lines):
    by_id = {"price": None, "price_id": create_world(app).plan("other", 700)}
    lines = [{"email": "id@example.com", **by_id}, {"email": "terms@example.com"}]
    assert import_lines(lines, 100).counts == {"added": 2, "unchanged": 0, "rejected": 1}


def test_a_half_does_not_see_what_the_set_that_failed_had_read(app, import_lines):
    create_world(app)
    abroad = {"price": {**PRICE, "plan": "abroad"}}
    lines = [{"email": "subscribed@example.com", **abroad}, {"email": "new@example.com", **abroad}]
    rejections = import_lines(lines, 100).rejections[1:]
    assert [(each.field, each.code) for each in rejections] == [
        ("email", "already_subscribed"),
        ("price_id", "invalid"),
    ]


def test_an_import_that_was_interrupted_continues_where_it_was(app, import_lines):
    create_world(app)
    import_lines(LINES[:10], 4)
    assert import_lines(LINES, 100).counts == {"added": 9, "unchanged": 11, "rejected": 9}
    assert import_lines(LINES, 5).counts == {"added": 0, "unchanged": 20, "rejected": 9}


def test_a_dry_run_of_a_set_changes_no_row(app, import_lines):
    create_world(app)
    before = read_rows(app)
    assert import_lines(LINES[:12], 5, dry_run=True).counts == {"added": 12, "unchanged": 0, "rejected": 1}
    assert read_rows(app) == before


def test_a_line_takes_few_statements(app, import_lines, monkeypatch):
    """Forty-seven a line were needed one by one."""
    monkeypatch.delitem(app.extensions, "account_clock")
    create_world(app)
    lines = [{"email": f"ann{number}@example.com", "payment_method": CARD} for number in range(64)]
    with sent_statements(app) as texts:
        assert import_lines(lines, 16).counts["added"] == 64
    assert len(texts) / 64 < 1.6
    with app.app_context():
        assert fetch_existing(sa.select(sa.func.count(Subscription.id)))[0] == 65
