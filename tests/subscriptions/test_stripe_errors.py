"""Every error of Stripe's SDK in every call: never an internal error, and no money in an unknown place."""

import itertools

import pytest
import stripe as sdk
from stripe._api_requestor import _APIRequestor

from streamsvc.gateways.payments.interface import (
    DECLINED,
    UNKNOWN,
    ChargeRequest,
    PaymentMethodRejected,
    ProviderUnavailable,
)
from streamsvc.gateways.payments.stripe import StripeProvider
from tests.worlds.billing_world import World

METHOD = "cus_1/pm_1"
CHARGE = ChargeRequest("pay_1", METHOD, 1000, "USD", True, "inv_1", None)
OF_CUSTOMER = (sdk.CardError, sdk.InvalidRequestError)
"""Errors that concern the card or the request; all others leave open what happened."""
CHARGES_NOTHING = ("cancel_charge", "refund", "delete_customer", "detach")
"""Calls to which Stripe never answers with an error of a card."""
OF_SETUP = (PaymentMethodRejected, ProviderUnavailable)
CALLS = {
    # call: (function, what a refusal means, what an outage means)
    "charge": (lambda provider: provider.charge(CHARGE), DECLINED, UNKNOWN),
    "charge_batch": (lambda provider: provider.charge_batch([CHARGE])[0], DECLINED, UNKNOWN),
    "cancel_charge": (lambda provider: provider.cancel_charge("pi_1"), DECLINED, UNKNOWN),
    "retrieve_outcome": (lambda provider: provider.retrieve_outcome("pi_1"), DECLINED, UNKNOWN),
    "search_outcome": (lambda provider: provider.search_outcome("pay_1", METHOD), UNKNOWN, UNKNOWN),
    "search_refund": (lambda provider: provider.search_outcome("ref_1", METHOD, "pi_1"), UNKNOWN, UNKNOWN),
    "refund": (lambda provider: provider.refund("ref_1", "pi_1", 100, "USD"), DECLINED, UNKNOWN),
    "create_customer": (
        lambda provider: provider.create_customer("acc_1", "a@b.c"),
        PaymentMethodRejected,
        ProviderUnavailable,
    ),
    "delete_customer": (lambda provider: provider.delete_customer("cus_1"), None, ProviderUnavailable),
    "attach": (lambda provider: provider.attach("pm_1", "acc_1", "cus_1"), *OF_SETUP),
    "setup": (lambda provider: provider.create_setup("acc_1", "cus_1"), *OF_SETUP),
    "detach": (lambda provider: provider.detach(METHOD), None, ProviderUnavailable),
    "list_refunds": (lambda provider: provider.list_refunds("pi_1"), ProviderUnavailable, ProviderUnavailable),
    "retrieve_method": (lambda provider: provider.retrieve_method(METHOD), ProviderUnavailable, ProviderUnavailable),
}


def subclasses(cls):
    return [cls, *itertools.chain.from_iterable(map(subclasses, cls.__subclasses__()))]


OF_OTHER_CALLS = ("OAuthError", "SignatureVerificationError", "StripeErrorWithParamCode")
"""Errors of signing in with OAuth and of webhooks, and a base class."""
ERRORS = [
    cls
    for cls in subclasses(sdk.StripeError)
    if not any(parent.__name__ in OF_OTHER_CALLS for parent in cls.__mro__[:1] + cls.__bases__)
    or issubclass(cls, OF_CUSTOMER)
]
OUTAGES = (
    sdk.APIConnectionError,
    sdk.APIError,
    sdk.AuthenticationError,
    sdk.PermissionError,
    sdk.RateLimitError,
    sdk.IdempotencyError,
)


def raise_in_sdk(monkeypatch, error_class):
    """Make each request of the SDK fail with an error of this class."""
    with_code = (None, "resource_gone") if issubclass(error_class, OF_CUSTOMER) else ()

    def fail(*args, **kwargs):
        raise error_class("no", *with_code)

    monkeypatch.setattr(_APIRequestor, "request", fail)


def test_the_table_has_every_error_of_the_sdk():
    assert {*OUTAGES, *OF_CUSTOMER, sdk.StripeError} <= {*ERRORS} and len(ERRORS) > 20


@pytest.mark.parametrize("call", CALLS)
def test_every_error_of_every_call_is_an_outcome_or_an_error_of_ours(app, stripe, monkeypatch, call):
    for error_class in ERRORS:
        raise_in_sdk(monkeypatch, error_class)
        with app.app_context():
            assert result_of(call) == expected_result(call, error_class), error_class.__name__


def result_of(call):
    """Return the status of the call's outcome, None, or the class of our error."""
    try:
        outcome = CALLS[call][0](StripeProvider())
    except (PaymentMethodRejected, ProviderUnavailable) as error:
        return type(error)
    return outcome and outcome.status


def expected_result(call, error_class):
    _, refusal, outage = CALLS[call]
    if error_class is sdk.CardError and call in CHARGES_NOTHING:
        return outage
    return refusal if issubclass(error_class, OF_CUSTOMER) else outage


@pytest.fixture
def world(app, stripe):
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.mark.parametrize("error_class", OUTAGES, ids=lambda cls: cls.__name__)
def test_over_http_an_outage_is_503_and_a_charge_stays_in_doubt(world, stripe, monkeypatch, error_class):
    ann, bob, price = world.person(), world.person(), world.plan("p", 1000)
    bob.subscribe(price)
    refunds = f"/v1/admin/invoices/{bob.invoices()[0]['id']}/refunds"
    card = bob.add_card()
    with monkeypatch.context() as patch:
        raise_in_sdk(patch, error_class)
        for path, body in (("/v1/payment-methods", {"token": "pm_card_visa"}), ("/v1/payment-methods/setup", None)):
            response = ann.post(path, body)
            assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
        assert ann.subscribe(price).json["status"] == "incomplete"
        assert world.operator.post(refunds, {"amount_minor": 400}).json["status"] == "unknown"
        assert bob.delete(f"/v1/payment-methods/{card}").status_code == 204
        world.go_to(world.clock.at)
    world.go_to("2026-01-15T12:15:00")
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("active", [1000, 1000])
    assert [refund["amount"] for refund in stripe.refunds.values()] == [400]
    assert sum(method["customer"] is None for method in stripe.methods.values()) == 1
