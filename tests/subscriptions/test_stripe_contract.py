"""What we rely on at Stripe, against the local server and, with `make stripe-check` and a test key, against Stripe."""

import os
import secrets

import pytest
import requests
import stripe as sdk
from flask import Flask
from stripe import params as sdk_params

from streamsvc.gateways.payments.interface import (
    DECLINED,
    REQUIRES_ACTION,
    SUCCEEDED,
    UNKNOWN,
    ChargeRequest,
    CustomerMissing,
    PaymentMethodRejected,
    ProviderUnavailable,
)
from streamsvc.gateways.payments.stripe import API_VERSION, StripeProvider
from streamsvc.settings import Settings
from tests.worlds.stripe_rules import PARAMETERS
from tests.worlds.stripe_server import SECRET_KEY, stripe_server

REAL_KEY = os.environ.get("STRIPE_CONTRACT_KEY", "")
"""Set by tests/stripe_check.py."""
SERVERS = ["the local server", *(["Stripe"] if REAL_KEY else [])]
ONLY_LOCAL = "the answer depends on the methods in the account's Dashboard"


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    """(address, key) of the local server or of Stripe."""
    if request.param == "Stripe":
        yield "https://api.stripe.com", REAL_KEY
        return
    with stripe_server() as (address, _):
        yield address, SECRET_KEY


@pytest.fixture
def provider(server, tmp_path):
    with provider_of(*server, tmp_path) as provider:
        yield provider


def provider_of(address, key, data_dir):
    return ProviderContext(address, key, data_dir)


class ProviderContext:
    """A StripeProvider with its settings, without a database."""

    def __init__(self, address, key, data_dir):
        values = {"payment_provider": "stripe", "stripe_secret_key": key, "stripe_webhook_secret": "whsec_1"}
        self.app = Flask("contract")
        settings = Settings(data_dir=str(data_dir), sandbox=True, stripe_url=address, **values)
        self.app.extensions["settings"] = settings.with_defaults()

    def __enter__(self):
        self.context = self.app.app_context()
        self.context.push()
        return StripeProvider()

    def __exit__(self, *error):
        self.context.pop()


@pytest.fixture
def customer(provider):
    customer = provider.create_customer(f"acc_{secrets.token_hex(8)}", "ann@example.com")
    yield customer
    provider.delete_customer(customer)


@pytest.fixture
def method(provider, customer):
    """Return a function that attaches a test card and returns its reference."""
    return lambda token="pm_card_visa": provider.attach(token, "acc_1", customer).reference


def new_charge(method, amount=1000, on_session=True, key=None, currency="USD"):
    key = key or f"pay_{secrets.token_hex(12)}"
    return ChargeRequest(key, method, amount, currency, on_session, "inv_1", "2026-000001")


def post(server, path, params, key=None):
    """Return (status, error code) of a plain request."""
    address, secret = server
    headers = {"Authorization": f"Bearer {secret}", "Stripe-Version": API_VERSION}
    headers |= {"Idempotency-Key": key} if key else {}
    response = requests.post(f"{address}/v1{path}", params, headers=headers, timeout=30)
    return response.status_code, response.json().get("error", {}).get("code"), response.json()


def test_a_charge_is_found_by_its_id_and_by_ours(provider, method):
    charge = new_charge(method(), on_session=False)
    outcome = provider.charge(charge)
    assert outcome.status == SUCCEEDED
    assert provider.retrieve_outcome(outcome.reference) == provider.search_outcome(charge.key, charge.method) == outcome
    assert provider.charge(charge) == outcome, "the same key charges once"
    assert provider.search_outcome("pay_other", charge.method) is None


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("pm_card_chargeCustomerFail", "generic_decline"),
        ("pm_card_authenticationRequired", "authentication_required"),
    ],
)
def test_a_renewal_is_declined_with_a_code(provider, method, token, code):
    outcome = provider.charge(new_charge(method(token), on_session=False))
    assert (outcome.status, outcome.decline_code) == (DECLINED, code)
    assert outcome.reference.startswith("pi_")


def test_what_awaits_the_payer_is_canceled_once_and_for_all(provider, method, server):
    outcome = provider.charge(new_charge(method("pm_card_authenticationRequired")))
    assert outcome.status == REQUIRES_ACTION and outcome.next_action["client_secret"]
    for _ in range(2):
        canceled = provider.cancel_charge(outcome.reference)
        assert (canceled.status, canceled.decline_code) == (DECLINED, "abandoned")
    reply = post(server, f"/payment_intents/{outcome.reference}/confirm", {"payment_method": "pm_card_visa"})
    assert reply[:2] == (400, "payment_intent_unexpected_state")


def test_what_has_succeeded_is_neither_canceled_nor_confirmed_nor_captured(provider, method, server):
    outcome = provider.charge(new_charge(method()))
    assert provider.cancel_charge(outcome.reference) == outcome
    for act in ("confirm", "capture", "cancel"):
        status, code, _ = post(server, f"/payment_intents/{outcome.reference}/{act}", {})
        assert (status, code) == (400, "payment_intent_unexpected_state"), act


def test_a_refund_is_made_once_and_never_above_the_charge(provider, method):
    charge = provider.charge(new_charge(method())).reference
    key = f"ref_{secrets.token_hex(12)}"
    refund = provider.refund(key, charge, 400, "USD")
    assert refund.status == SUCCEEDED and provider.refund(key, charge, 400, "USD") == refund
    assert provider.refund("ref_" + secrets.token_hex(12), charge, 601, "USD").status == DECLINED
    [listed] = provider.list_refunds(charge)
    assert (listed.reference, listed.amount_minor, listed.currency, listed.refund_id) == (
        refund.reference,
        400,
        "USD",
        key,
    )
    assert provider.search_outcome(key, "", charge) == refund
    provider.refund("ref_" + secrets.token_hex(12), charge, 600, "USD")
    outcome = provider.refund("ref_" + secrets.token_hex(12), charge, 1, "USD")
    assert (outcome.status, outcome.decline_code) == (DECLINED, "charge_already_refunded")


def test_a_detached_card_is_gone(provider, method, customer):
    reference = method()
    assert provider.retrieve_method(reference).last4 == "4242"
    for _ in range(2):
        provider.detach(reference)
    assert provider.retrieve_method(reference) is None
    assert provider.charge(new_charge(reference)).status == DECLINED
    with pytest.raises(PaymentMethodRejected):
        provider.attach(reference.partition("/")[2], "acc_1", customer)


def test_a_card_of_one_customer_is_not_charged_for_another(provider, method):
    other = provider.create_customer(f"acc_{secrets.token_hex(8)}", "bob@example.com")
    payment_method = method().partition("/")[2]
    assert provider.charge(new_charge(f"{other}/{payment_method}")).status == DECLINED
    provider.delete_customer(other)


def test_a_deleted_customer_is_missing(provider):
    customer = provider.create_customer(f"acc_{secrets.token_hex(8)}", "ann@example.com")
    reference = provider.attach("pm_card_visa", "acc_1", customer).reference
    for _ in range(2):
        provider.delete_customer(customer)
    for call in (
        lambda: provider.attach("pm_card_visa", "a", customer),
        lambda: provider.create_setup("acc_1", customer),
    ):
        with pytest.raises(CustomerMissing):
            call()
    assert provider.retrieve_method(reference) is None
    assert provider.charge(new_charge(reference)).status == DECLINED


def test_a_card_is_set_up_for_its_customer(provider, customer):
    setup = provider.create_setup("acc_1", customer)
    assert setup.client_secret.startswith(f"{setup.reference}_secret_")
    assert provider.retrieve_setup(setup.reference).method is None


def test_a_key_with_other_parameters_is_no_second_charge(provider, method):
    charge = new_charge(method())
    first = provider.charge(charge)
    assert provider.charge(charge._replace(amount_minor=2000)).status == UNKNOWN
    assert provider.search_outcome(charge.key, charge.method) == first


def test_another_key_is_unavailable_and_no_decline(server, tmp_path):
    with provider_of(server[0], "sk_test_wrong", tmp_path) as provider:
        with pytest.raises(ProviderUnavailable):
            provider.create_customer("acc_1", "ann@example.com")
        assert provider.charge(new_charge("cus_1/pm_1")).status == UNKNOWN


ON_PAGE = {"confirm": "true", "allowed_payment_method_types[0]": "card"}
REFUSED = {
    # what: (parameters added to a PaymentIntent of 10 USD, error code or None if none is documented)
    "an unknown parameter": ({"colour": "red"}, "parameter_unknown"),
    "a parameter of before 2026-09-30": (
        {"payment_method_types[0]": "card"},
        "payment_method_types_no_longer_supported",
    ),
    "no amount": ({"amount": ""}, None),
    "an amount below the minimum": ({"amount": "49"}, "amount_too_small"),
    "an amount above the maximum": ({"amount": "100000000"}, "amount_too_large"),
    "a fraction": ({"amount": "10.5"}, "parameter_invalid_integer"),
    "a fourth digit of dinars": ({"currency": "kwd", "amount": "10001"}, None),
    "two ways of choosing methods": (
        {"allowed_payment_method_types[0]": "card", "automatic_payment_methods[enabled]": "true"},
        None,
    ),
    "a return page without a confirmation": ({"return_url": "https://example.com"}, None),
    "off session without a confirmation": ({"off_session": "true"}, None),
    "a confirmation of nothing": ({"confirm": "true", "allowed_payment_method_types[0]": "card"}, None),
    "an unknown customer": ({"customer": "cus_none"}, "resource_missing"),
    "a long statement suffix": ({"statement_descriptor_suffix": "A" * 23}, None),
    "a long metadata value": ({"metadata[note]": "A" * 501}, None),
}


@pytest.mark.parametrize("what", REFUSED)
def test_stripe_refuses(server, what):
    added, code = REFUSED[what]
    status, actual_code, body = post(server, "/payment_intents", {"amount": "1000", "currency": "usd", **added})
    assert status == 400, body
    assert code is None or actual_code == code


def test_saving_a_card_that_is_charged_off_session_is_refused(server, method, customer):
    added = {"customer": customer, "payment_method": method().partition("/")[2], **ON_PAGE}
    params = {"amount": "1000", "currency": "usd", "off_session": "true", "setup_future_usage": "off_session"}
    assert post(server, "/payment_intents", params | added)[0] == 400


def test_a_payment_that_may_redirect_names_the_page_to_return_to(server, method, customer):
    if server[1] != SECRET_KEY:
        pytest.skip(ONLY_LOCAL)
    params = {"amount": "1000", "currency": "usd", "confirm": "true", "customer": customer}
    params["payment_method"] = method().partition("/")[2]
    never = {"automatic_payment_methods[enabled]": "true", "automatic_payment_methods[allow_redirects]": "never"}
    page = {"return_url": "https://example.com"}
    replies = [post(server, "/payment_intents", params | added)[0] for added in ({}, never, page, ON_PAGE)]
    assert replies == [400, 200, 200, 200]


def test_a_card_without_a_customer_is_charged_once(server):
    params = {"amount": "1000", "currency": "usd", "payment_method": "pm_card_visa", **ON_PAGE}
    status, _, intent = post(server, "/payment_intents", params)
    assert status == 200
    used = intent["payment_method"]
    assert post(server, "/payment_intents", params | {"payment_method": used})[0] == 400


def test_an_idempotency_key_belongs_to_its_parameters(server):
    key = secrets.token_hex(12)
    params = {"amount": "1000", "currency": "usd"}
    first, again = (post(server, "/payment_intents", params, key) for _ in range(2))
    assert (first[0], first[2]["id"]) == (200, again[2]["id"])
    status, _, body = post(server, "/payment_intents", {**params, "amount": "2000"}, key)
    assert (status, body["error"]["type"]) == (400, "idempotency_error")


def test_a_key_in_use_and_a_disputed_charge_are_refused():
    """Stripe's answers to what cannot be arranged there: only the local server is asked."""
    with stripe_server() as (address, state):
        state.in_progress.add("k1")
        params = {"amount": "1000", "currency": "usd"}
        assert post((address, SECRET_KEY), "/payment_intents", params, "k1")[0] == 409
        charge = params | {"payment_method": "pm_card_visa", **ON_PAGE}
        intent = post((address, SECRET_KEY), "/payment_intents", charge)[2]["id"]
        state.disputed.add(intent)
        assert post((address, SECRET_KEY), "/refunds", {"payment_intent": intent})[:2] == (400, "charge_disputed")


def test_the_local_server_knows_the_parameters_of_the_pinned_version():
    assert (PARAMETERS["api_version"], API_VERSION) == (API_VERSION, sdk.api_version)
    options = set(sdk.RequestOptions.__annotations__)
    for endpoint, rules in PARAMETERS["endpoints"].items():
        published = getattr(sdk_params, rules["params_class"]).__annotations__
        assert set(rules["allowed"]) == set(published) - options, endpoint
        required = {name for name in rules["allowed"] if "NotRequired" not in str(published[name])}
        assert set(rules["required"]) == required, endpoint
