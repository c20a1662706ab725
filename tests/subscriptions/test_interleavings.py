"""Two requests about the same account at once give what they give one after the other, whichever has to wait.

On PostgreSQL the one that waits for the account's lock has often read rows before; what the other one commits meanwhile
must count. On SQLite a transaction that writes excludes all others from its beginning.
"""

from functools import partial

import pytest

from streamsvc.storage.database import db
from tests.conftest import EVERYTHING, delete_all_rows
from tests.worlds.billing_world import World
from tests.worlds.interleaving import before_account_lock
from tests.worlds.scenes import set_scene

pytestmark = pytest.mark.every_database


def correct(world, what, **body):
    return world.operator.post(f"/v1/admin/invoices/{world.invoice}/{what}", body)


def refund(world):
    return correct(world, "refunds")


def refund_a_part(world):
    return correct(world, "refunds", amount_minor=2000)


def credit_a_part(world):
    return correct(world, "credit-notes", lines=[{"line_id": world.line, "amount_minor": 2000}])


def credit_the_line(world):
    return correct(world, "credit-notes", lines=[{"line_id": world.line, "amount_minor": 3100}])


def write_off(world):
    return correct(world, "write-off")


def void(world):
    return correct(world, "void")


def dispute(world):
    return world.operator.post(f"/v1/sandbox/payments/{world.payment}/dispute")


def win_the_dispute(world):
    return world.operator.delete(f"/v1/sandbox/payments/{world.payment}/dispute")


def pay(world):
    return world.ann.post(f"/v1/invoices/{world.invoice}/payments")


def pay_a_part(world):
    return world.ann.post(f"/v1/invoices/{world.invoice}/payments", {"amount_minor": 1000})


def cancel(world):
    return world.ann.post(f"/v1/subscriptions/{world.subscription}/cancellation", {"when": "now"})


def upgrade(world):
    return world.ann.post(f"/v1/subscriptions/{world.subscription}/plan-change", {"price_id": world.best})


def renew(world):
    world.go_to(world.clock.at)


def redeem(world):
    return world.ann.post("/v1/gift-redemptions", {"code": world.code})


def replace_card(world):
    return world.ann.post("/v1/payment-methods", {"token": "pm_card_visa:another"})


def paid(app):
    """Ann has paid for April."""
    world = World(app)
    world.go_to("2026-04-01T12:00:00")
    world.ann = world.person()
    basic, world.best = world.plan("basic", 3100), world.plan("best", 6200)
    world.subscription = world.ann.subscribe(basic).json["id"]
    [invoice] = world.ann.invoices()
    world.invoice, world.line, world.payment = invoice["id"], invoice["lines"][0]["id"], invoice["payments"][0]["id"]
    codes = world.operator.post("/v1/admin/gift-codes", {"amount_minor": 3500, "currency": "USD", "quantity": 1})
    world.code = codes.json["code"]
    world.go_to("2026-04-10T12:00:00")
    return world


def due(app):
    """May has begun, and the worker is about to bill it."""
    world = paid(app)
    world.clock.advance(days=21)
    return world


def disputed(app):
    """Ann's bank has charged back what she paid for April."""
    world = paid(app)
    assert dispute(world).status_code == 200
    return world


def unpaid(app):
    """The payment for May was declined."""
    world = due(app)
    world.next_charge("decline")
    renew(world)
    invoice = world.ann.invoices()[-1]
    assert invoice["status"] == "open"
    world.invoice, world.line, world.payment = invoice["id"], invoice["lines"][0]["id"], invoice["payments"][0]["id"]
    return world


ACTIONS = {
    paid: (refund, dispute, cancel),
    due: (renew, upgrade),
    disputed: (win_the_dispute, write_off),
    unpaid: (pay, void, cancel),
}
MORE_ACTIONS = {
    paid: (upgrade, refund_a_part, credit_a_part, credit_the_line, redeem, replace_card),
    due: (cancel, refund, dispute, redeem, replace_card),
    disputed: (pay, refund, credit_the_line, cancel, redeem, replace_card),
    unpaid: (write_off, pay_a_part, credit_a_part, credit_the_line, upgrade, redeem, replace_card),
}
"""Which `make test-both` pairs with each other and with the rest."""


def actions(scene):
    return (*ACTIONS[scene], *(MORE_ACTIONS[scene] if EVERYTHING else ()))


def outcome(response):
    """What a response says apart from ids; None for jobs."""
    if response is None:
        return None
    body = response.json
    return response.status_code, body.get("code"), body.get("status"), body.get("amount_minor"), body.get("total_minor")


def books(world):
    """What the account has, owes and was charged when all due jobs have run, apart from ids."""
    renew(world)
    payments = world.operator.get("/v1/sandbox/payments").json["items"]
    names = ("status", "total_minor", "balance_minor", "next_attempt_on")
    subscription = world.ann.subscription()
    return {
        "invoices": [[invoice[name] for name in names] for invoice in world.ann.invoices()],
        "lines": world.ann.lines(),
        "payments": [(row["kind"], row["status"], row["amount_minor"]) for row in payments],
        "balances": world.ann.balances(),
        "subscription": [subscription[name] for name in ("status", "period", "past_due_since", "access_until")],
        "differences": world.differences(),
    }


def restart(app, scene):
    with app.app_context():
        delete_all_rows(db.engine)
    return set_scene(app, scene)


@pytest.mark.parametrize(("scene", "first"), [(scene, first) for scene in ACTIONS for first in actions(scene)])
def test_a_request_that_waits_for_the_account_finds_it_as_it_is_then(app, database, scene, first):
    if database == "sqlite":
        pytest.skip("a transaction that writes excludes all others from its beginning")
    for second in actions(scene):
        if first is second is renew:
            continue  # a job is leased before the account is locked
        world = restart(app, scene)
        one_by_one = [outcome(second(world)), outcome(first(world)), books(world)]
        world = restart(app, scene)
        with before_account_lock(app, partial(lambda act, world: outcome(act(world)), second, world)) as meanwhile:
            waited = outcome(first(world))
        assert meanwhile, "the account was not locked"
        assert [*meanwhile, waited, books(world)] == one_by_one, second.__name__
        assert one_by_one[-1]["differences"] == []
