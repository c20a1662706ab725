"""What is reported of store subscriptions: gross, commission, net, counts, exports."""

import json
from collections import Counter, defaultdict

from streamsvc.http.metrics import DatabaseCollector
from streamsvc.operations.accounts import exports
from tests.subscriptions.test_play_store import PlayStoreLife
from tests.worlds.operator_steps import new_operator
from tests.worlds.store_lives import HOUR


def test_the_report_shows_gross_commission_and_net_apart_from_our_books(life):
    subscription = life.subscribe("premium.monthly")
    life.go_to(subscription.expires)
    life.deliver(subscription.renew())
    life.deliver(subscription.refund(index=0))
    life.subscribe_on_play("standard")
    report = life.world.operator.get("/v1/admin/reports/store-revenue").json["stores"]
    rows = {(row["period"], row["source"]): row for row in report}
    names = ("gross_minor", "refunded_minor", "commission_minor", "net_minor")
    assert {key: tuple(row[name] for name in names) for key, row in rows.items()} == {
        ("2026-01", "app_store"): (999, 0, 300, 699),
        ("2026-02", "app_store"): (999, 999, 0, 0),
        ("2026-02", "play_store"): (799, 0, 120, 679),
    }
    table = life.world.operator.get("/v1/admin/reports/store-revenue?format=csv").get_data(as_text=True)
    assert table.startswith("table,period,currency,source,plan,payments")
    assert life.world.operator.get("/v1/admin/reports/revenue").json["revenue"] == []


def test_payments_and_subscriptions_are_exported_without_purchase_tokens(life):
    subscription = life.subscribe("premium.monthly")
    life.go_to(subscription.expires)
    life.deliver(subscription.renew())
    life.deliver(subscription.refund(index=0))
    purchase = life.subscribe_on_play("standard")

    def export(name):
        text = life.world.operator.get(f"/v1/admin/exports/{name}.ndjson").text
        assert purchase.token not in text
        return [json.loads(line) for line in text.splitlines()]

    payments = export("store-payments")
    names = ("source", "amount_minor", "refunded_minor", "commission_minor", "net_minor")
    assert [tuple(row[name] for name in names) for row in payments] == [
        ("app_store", 999, 999, 0, 0),
        ("app_store", 999, 0, 300, 699),
        ("play_store", 799, 0, 120, 679),
    ]
    assert {row["account_id"] for row in payments} == {life.ann.id}
    subscriptions = export("store-subscriptions")
    assert [(row["source"], row["status"]) for row in subscriptions] == [
        ("app_store", "active"),
        ("play_store", "active"),
    ]
    assert "key" not in subscriptions[0]
    assert life.ann.get("/v1/admin/exports/store-payments.ndjson").status_code == 401


def test_a_long_export_has_every_payment_once(life, monkeypatch):
    monkeypatch.setattr(exports, "CHUNK_SIZE", 1)
    subscription = life.subscribe("premium.monthly")
    life.go_to(subscription.expires)
    life.deliver(subscription.renew())
    life.subscribe_on_play("standard")
    text = life.world.operator.get("/v1/admin/exports/store-payments.ndjson").text
    rows = [json.loads(line) for line in text.splitlines()]
    assert [(row["source"], row["purchased_at"][:10]) for row in rows] == [
        ("app_store", "2026-01-15"),
        ("app_store", "2026-02-14"),
        ("play_store", "2026-02-14"),
    ]


def test_the_commission_is_lower_after_a_year(life):
    subscription = life.subscribe("premium.monthly")
    for _ in range(13):
        life.clock.at = subscription.expires
        subscription.renew()
    life.wait(minutes=5)
    query = "?from=2026-01-01&to=2027-03-01"
    report = life.world.operator.get(f"/v1/admin/reports/store-revenue{query}").json["stores"]
    assert sum(row["payments"] for row in report) == 14
    assert (report[0]["commission_minor"], report[-1]["commission_minor"]) == (300, 150)


def populate_stores(life):
    """A web subscription, three of app stores of which one ended, one test purchase, and one that was never paid."""
    life.use(store_test_accounts=(life.ann.id,))
    life.ann.add_card()
    assert life.ann.subscribe(life.price("basic")).status_code == 201
    test_purchase = life.play.buy("basic", life.account(), test=True)
    assert PlayStoreLife.claim(life, test_purchase).status_code == 201
    bea, cara, dora, eve = (life.world.person(card=None) for _ in range(4))
    life.claim(life.store.buy("premium.monthly", life.account(bea)), bea)
    life.subscribe_on_play("standard", cara)
    ended = life.store.buy("basic.monthly", life.account(dora))
    life.claim(ended, dora)
    life.deliver(ended.cancel())
    life.go_to(ended.expires + HOUR)
    life.deliver(ended.expire())
    assert PlayStoreLife.claim(life, life.play.buy("basic", life.account(eve), pending=True), eve).status_code == 201
    return ended


def test_the_overview_and_the_metrics_count_subscriptions_by_source_without_test_purchases(life):
    populate_stores(life)
    counts = count_subscriptions_of(life)
    assert counts == {
        "sandbox": {"active": 1},
        "app_store": {"active": 1, "canceled": 1},
        "play_store": {"active": 1, "incomplete": 1},
    }
    figures = new_operator(life.world.app, "billing").get("/v1/admin/overview").json
    assert figures["subscriptions_by_source"] == counts
    assert figures["subscriptions"] == {"active": 3, "canceled": 1, "incomplete": 1}


def count_subscriptions_of(life):
    """The counts by source of the metrics; those by status are their sums."""
    with life.world.app.app_context():
        metrics = {metric.name: metric for metric in DatabaseCollector().collect()}
    totals, counts = Counter(), defaultdict(dict)
    for sample in metrics["streamsvc_source_subscriptions"].samples:
        counts[sample.labels["source"]][sample.labels["status"]] = sample.value
        totals[sample.labels["status"]] += sample.value
    by_status = {each.labels["status"]: each.value for each in metrics["streamsvc_subscriptions"].samples}
    assert by_status == totals
    return counts


def test_the_retention_report_counts_what_the_stores_bill_apart_from_our_subscribers(life):
    ended = populate_stores(life)
    assert (ended.transactions[0]["starts"].date().isoformat(), ended.expires.date().isoformat()) == (
        "2026-01-15",
        "2026-02-14",
    )

    def count_rows(query):
        report = life.world.operator.get(f"/v1/admin/reports/retention?{query}").json
        names = ("period", "source", "opening", "started", "ended", "closing")
        return [tuple(row[name] for name in names) for row in report["stores"]], report

    rows, report = count_rows("from=2026-01-01&to=2026-03-01")
    assert rows == [
        ("2026-01", "app_store", 0, 2, 0, 2),
        ("2026-01", "play_store", 0, 1, 0, 1),
        ("2026-02", "app_store", 2, 0, 1, 1),
        ("2026-02", "play_store", 1, 0, 0, 1),
    ]
    assert [(row["new"], row["closing"]) for row in report["subscribers"]] == [(1, 1), (0, 1)]
    days, _ = count_rows("from=2026-02-14&to=2026-02-16&interval=day")
    assert [row for row in days if row[1] == "app_store"] == [
        ("2026-02-14", "app_store", 2, 0, 1, 1),
        ("2026-02-15", "app_store", 1, 0, 0, 1),
    ]
    table = life.world.operator.get("/v1/admin/reports/retention?from=2026-01-01&to=2026-03-01&format=csv").text
    assert "stores,2026-02,2,,,,,,1,,1,,,,,app_store,0" in table.splitlines()


def test_what_the_stores_bill_is_in_no_mrr(life):
    life.subscribe("premium.monthly")
    assert life.world.operator.get("/v1/admin/reports/revenue").json["mrr"] == []
    assert {row["new"] for row in life.world.operator.get("/v1/admin/reports/retention").json["subscribers"]} == {0}
