"""Which invoices a list has, and which of them a subscription is overdue for."""

import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def test_an_operator_lists_the_invoices_of_all_accounts_or_of_one(world):
    price = world.plan("p", 1000)
    ann, bob = world.person(), world.person()
    for person in (ann, bob):
        assert person.subscribe(price).status_code == 201
    own = {person: person.invoices()[0]["id"] for person in (ann, bob)}

    def listed(query=""):
        return [invoice["id"] for invoice in world.operator.get(f"/v1/admin/invoices{query}").json["items"]]

    assert listed() == [own[bob], own[ann]]
    assert (listed(f"?account_id={ann.id}"), listed(f"?account_id={bob.id}")) == ([own[ann]], [own[bob]])
    assert listed("?account_id=acc_none") == listed(f"?account_id={ann.id}&status=draft") == []


def test_a_subscription_is_past_due_since_its_first_unpaid_invoice(world):
    weekly = world.plan("weekly", 1000, interval="week")
    ann, bob = world.person(), world.person()
    for person in (ann, bob):
        assert person.subscribe(weekly).status_code == 201
    world.go_to("2026-01-20")
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeCustomerFail')}/default")
    world.go_to("2026-01-30")
    assert [invoice["status"] for invoice in ann.invoices()] == ["paid", "open", "open"]
    assert ann.subscription()["past_due_since"] == "2026-01-22"
    assert bob.subscription()["past_due_since"] is None


def test_a_page_of_invoices_takes_as_many_statements_as_one_invoice(world, statements):
    weekly = world.plan("weekly", 1000, interval="week")
    ann = world.person()
    assert ann.subscribe(weekly).status_code == 201
    statements.clear()
    assert len(ann.invoices()) == 1
    for_one = len(statements)
    world.go_to("2026-03-30")
    assert len(ann.invoices()) > 9
    statements.clear()
    ann.invoices()
    assert len(statements) == for_one <= 6
