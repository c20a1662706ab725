"""The storefront's payment form: Stripe.js where Stripe is configured, and nothing of Stripe's anywhere else."""

import re
from contextlib import contextmanager

import pytest

from streamsvc.app import create_app
from tests.conftest import close_app
from tests.worlds.billing_world import World
from tests.worlds.browser import launch_chromium, serve_app
from tests.worlds.stripe_js import SCRIPT_URL, StripeHosts
from tests.worlds.stripe_server import stripe_server

pytestmark = pytest.mark.either_database

KEY = "pk_test_1"
STRIPE = {"payment_provider": "stripe", "stripe_secret_key": "sk_test_1", "stripe_webhook_secret": "whsec_1"}
OWN_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "media-src": "'self' blob:",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


def policy_of(app, **settings):
    storefront = create_app(app.extensions["settings"].replace(storefront=True, **settings))
    policies = {
        storefront.test_client().get(path).headers["Content-Security-Policy"]
        for path in ("/", "/storefront/payment.js")
    }
    close_app(storefront)
    [policy] = policies
    return dict(directive.split(" ", 1) for directive in policy.split("; "))


def test_the_content_security_policy_is_opened_for_stripe_alone_and_only_where_it_is_configured(app):
    assert policy_of(app) == OWN_POLICY
    assert policy_of(app, stripe_publishable_key=KEY) == OWN_POLICY
    assert policy_of(app, **STRIPE) == OWN_POLICY
    assert policy_of(app, **STRIPE, stripe_publishable_key=KEY) == OWN_POLICY | {
        "script-src": "'self' https://js.stripe.com",
        "connect-src": "'self' https://api.stripe.com",
        "frame-src": "https://js.stripe.com https://hooks.stripe.com",
    }


class Checkout:
    """A signed-in viewer at the checkout of a served app whose provider is Stripe."""

    def __init__(self, url, app, stripe, page):
        self.url, self.app, self.stripe, self.page = url, app, stripe, page
        self.hosts, self.messages = set(), []
        self.host = StripeHosts(page, stripe, KEY)
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("console", lambda message: self.messages.append(message.text) if "Policy" in message.text else None)

    def sign_up(self, price_id):
        self.page.goto(f"{self.url}/#/sign-up")
        for label, text in {"Your name": "Ann", "Email": "ann@example.com", "Password": "a long secret 7"}.items():
            self.page.get_by_label(label).fill(text)
        self.page.get_by_role("button", name="Create account").click()
        self.page.get_by_role("heading", name="Choose a plan").wait_for()
        self.open(price_id)

    def open(self, price_id):
        self.page.goto(f"{self.url}/#/buy/{price_id}")
        self.page.get_by_role("heading", name="Checkout").wait_for()

    @property
    def card_number(self):
        return self.page.frame_locator("iframe[title='Secure payment input frame']").get_by_label("Card number")

    def subscribe(self, number=None):
        if number:
            self.card_number.fill(number)
        self.page.get_by_role("button", name="Subscribe").click()

    def authenticate(self, answer):
        self.page.frame_locator("iframe[title='Bank']").get_by_role("button", name=answer).click()

    def expect_alert(self, text):
        self.page.get_by_role("alert").get_by_text(text).wait_for()

    def expect_home(self):
        self.page.get_by_role("heading", name="Genres").wait_for()

    def fetch(self, path):
        return self.page.evaluate("async (path) => (await fetch(path)).json()", path)

    def subscription_statuses(self):
        return [subscription["status"] for subscription in self.fetch("/v1/subscriptions")["items"]]

    def calls(self):
        return self.page.evaluate("window.stripeCalls")


@pytest.fixture
def checkout(database, new_app):
    with stripe_server() as (address, stripe):
        apps = []

        def create(url):
            settings = {**STRIPE, "stripe_publishable_key": KEY, "stripe_url": address, "trial_without_card": "refuse"}
            apps.append(new_app(database, "storefront", storefront=True, public_url=url, **settings))
            return apps[0]

        @contextmanager
        def open_checkout(viewport=DESKTOP, **price):
            price_id = World(apps[0]).plan("standard", 999, **price)
            with launch_chromium() as browser:
                page = browser.new_context(locale="en-US", viewport=viewport).new_page()
                opened = Checkout(url, apps[0], stripe, page)
                opened.sign_up(price_id)
                opened.price_id = price_id
                yield opened
                assert opened.messages == []
                assert opened.host.unexpected == []

        with serve_app(create) as url:
            yield open_checkout


def test_chromium_subscribes_with_a_card_of_stripes_form(checkout):
    with checkout() as ann:
        ann.subscribe("4242424242424242")
        ann.expect_home()
        assert ann.subscription_statuses() == ["active"]
        assert ann.stripe.charged_amounts() == [999]
        assert ann.hosts == {ann.url.removeprefix("http://"), "js.stripe.com", "api.stripe.com"}
        [(_, elements), (_, confirmation)] = ann.calls()
        assert (elements["mode"], elements["currency"], elements["setupFutureUsage"]) == ("setup", "usd", "off_session")
        assert elements["allowedPaymentMethodTypes"] == ["card"]
        assert confirmation["redirect"] == "if_required"
        assert confirmation["confirmParams"]["return_url"] == f"{ann.url}/#/payment-return/{ann.price_id}"


def test_chromium_loads_stripe_js_at_the_checkout_only(checkout):
    with checkout() as ann:
        ann.card_number.wait_for()
        ann.page.goto("about:blank")
        ann.hosts.clear()
        ann.page.goto(f"{ann.url}/#/plans")
        ann.page.get_by_role("heading", name="Choose a plan").wait_for()
        assert ann.hosts == {ann.url.removeprefix("http://")}


def test_chromium_sees_why_a_card_is_refused_and_uses_another(checkout):
    with checkout() as ann:
        ann.card_number.wait_for()
        ann.subscribe()
        ann.expect_alert("Your card number is incomplete.")
        ann.subscribe("4000000000009995")
        ann.expect_alert("The card does not have enough money for this. Use another card.")
        assert ann.subscription_statuses() == []
        ann.subscribe("4242424242424242")
        ann.expect_home()
        assert ann.subscription_statuses() == ["active"]


def test_chromium_authenticates_a_card_and_its_payment_without_any_webhook(checkout):
    with checkout() as ann:
        ann.subscribe("4000002760003184")
        ann.authenticate("Fail")  # the setup of the card
        ann.expect_alert("Your bank did not confirm the payment. Try again, or use another card.")
        assert ann.fetch("/v1/payment-methods")["items"] == []
        ann.subscribe()
        ann.authenticate("Complete")
        ann.authenticate("Fail")  # the payment
        ann.expect_alert("Your bank did not confirm the payment. Try again, or use another card.")
        assert ann.subscription_statuses() == ["canceled"]
        ann.page.get_by_label("Visa ending in 3184").wait_for()  # the card is set up: it need not be entered again
        ann.subscribe()
        ann.authenticate("Complete")
        ann.expect_home()
        assert ann.subscription_statuses() == ["active", "canceled"]
        assert [name for name, _ in ann.calls()].count("handleNextAction") == 2
        assert len(ann.fetch("/v1/payment-methods")["items"]) == 1
        assert "hooks.stripe.com" in ann.hosts


def test_chromium_starts_a_trial_with_a_card_that_is_set_up(checkout):
    with checkout(trial_days=7) as ann:
        ann.page.get_by_text("$0.00", exact=True).first.wait_for()
        ann.subscribe("4242424242424242")
        ann.expect_home()
        assert (ann.subscription_statuses(), ann.stripe.charged_amounts()) == (["trialing"], [])


def test_chromium_pays_with_the_keyboard_alone(checkout):
    with checkout() as ann:
        ann.card_number.wait_for()
        heading = ann.page.get_by_role("heading", name="Checkout")
        heading.focus()
        ann.page.keyboard.press("Tab")
        ann.page.keyboard.type("4242424242424242")
        ann.page.keyboard.press("Tab")
        assert ann.page.evaluate("document.activeElement.textContent") == "Subscribe"
        ann.page.keyboard.press("Enter")
        ann.expect_home()
        assert ann.subscription_statuses() == ["active"]


def test_chromium_says_that_the_form_did_not_load_and_tries_again(checkout):
    with checkout() as ann:
        ann.card_number.wait_for()
        ann.page.goto("about:blank")
        ann.host.blocked = True
        ann.open(ann.price_id)
        ann.page.get_by_text("The payment form could not be loaded.").wait_for()
        ann.host.blocked = False
        ann.page.get_by_role("button", name="Try again").click()
        ann.subscribe("4242424242424242")
        ann.expect_home()


def test_chromium_continues_after_the_bank_sent_it_back(checkout):
    with checkout() as ann:
        ann.card_number.wait_for()
        headers = {"X-CSRF-Token": ann.fetch("/v1/sessions/current")["csrf_token"]}
        setup = ann.page.evaluate(
            "async (headers) => (await fetch('/v1/payment-methods/setup', {method: 'POST', headers})).json()", headers
        )
        query = f"setup_intent={setup['setup_id']}&setup_intent_client_secret={setup['client_secret']}&redirect_status="
        back = f"{ann.url}/?{query}{{}}#/payment-return/{ann.price_id}"
        ann.page.goto(back.format("failed"))
        ann.expect_alert("confirm it in the provider's form first")
        ann.stripe.confirm_setup(setup["setup_id"])
        ann.page.goto(back.format("succeeded"))
        ann.page.get_by_role("heading", name="Your card is saved").wait_for()
        assert "secret" not in ann.page.url
        ann.page.get_by_role("link", name="Continue to checkout").click()
        ann.page.get_by_label("Visa ending in 4242").wait_for()
        ann.subscribe()
        ann.expect_home()


def test_chromium_finishes_a_payment_that_the_bank_confirmed_elsewhere(checkout):
    with checkout() as ann:
        ann.subscribe("4000002760003184")
        ann.authenticate("Complete")
        ann.page.frame_locator("iframe[title='Bank']").get_by_role("button", name="Fail").wait_for()
        back = f"{ann.url}/?payment_intent=pi_1&redirect_status=succeeded#/payment-return/{ann.price_id}"
        ann.page.goto(back)
        ann.expect_alert("Your bank did not confirm the payment.")
        [intent] = ann.stripe.intents.values()
        intent["status"] = "succeeded"
        ann.page.goto(f"{back}/")
        ann.page.get_by_role("heading", name="Your payment succeeded").wait_for()
        assert ann.subscription_statuses() == ["active"]


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_payment_form_fits_the_screen(checkout, viewport, tmp_path):
    with checkout(viewport) as ann:
        ann.card_number.wait_for()
        assert ann.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        box = ann.page.locator(".card-form iframe").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= viewport["width"]
        ann.page.screenshot(path=tmp_path / "checkout.png", full_page=True)


def test_the_double_is_loaded_from_the_address_that_the_service_names(app, monkeypatch, client):
    settings = app.extensions["settings"].replace(**STRIPE, stripe_publishable_key=KEY)
    monkeypatch.setitem(app.extensions, "settings", settings)
    assert client.get("/v1/payment-config").json["script_url"] == SCRIPT_URL
    assert re.fullmatch(r"https://js\.stripe\.com/[a-z]+/stripe\.js", SCRIPT_URL)
