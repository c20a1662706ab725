"""Viewers who subscribe in a store: what they claim, what the store says, and what they may then watch."""

from datetime import timedelta

from streamsvc.rules.stores.account_ids import format_store_account_id
from tests.worlds.billing_world import FEATURES, World
from tests.worlds.stripe_events import tick

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
STREAMS = {"basic": 1, "standard": 2, "premium": 4}
PRODUCTS = {
    "basic": [("app_store", "basic.monthly", None), ("play_store", "basic", None)],
    "standard": [("app_store", "standard.monthly", None), ("play_store", "standard", None)],
    "premium": [
        ("app_store", "premium.monthly", None),
        ("app_store", "premium.yearly", None),
        ("play_store", "premium", None),
    ],
}


class StoreLife:
    """A service that sells three plans, in the stores too, and Ann, who has an account."""

    def __init__(self, app):
        self.world = World(app)
        self.clock = self.world.clock
        for code, products in PRODUCTS.items():
            self.put_plan(code, products)
        self.ann = self.world.person(card=None)
        self.store = None

    def put_plan(self, code, products):
        amount = STREAMS[code] * 500
        plan = {
            "name": code.title(),
            "features": FEATURES | {"max_streams": STREAMS[code]},
            "prices": [{"currency": "USD", "amount_minor": amount, "tax": "exclusive"}],
            "store_products": [
                {"source": source, "product_id": product, "base_plan_id": base} for source, product, base in products
            ],
        }
        response = self.world.operator.put(f"/v1/admin/plans/{code}", plan)
        assert response.status_code == 200, response.json
        return response.json["prices"][0]["id"]

    def account(self, who=None):
        """The account's name for the stores."""
        return format_store_account_id((who or self.ann).id)

    def wait(self, **duration):
        """Let time pass, with the jobs that fall due."""
        self.world.go_to(self.clock.at + timedelta(**duration))

    def go_to(self, moment):
        """Let time pass to a moment."""
        self.world.go_to(moment)

    def tick(self):
        tick(self.world)

    def read_access(self, who=None):
        """(status, plan, until) of the session: plan and until are None without access."""
        session = (who or self.ann).get("/v1/sessions/current").json
        entitlements = session["entitlements"]
        status = session["subscription"]["status"] if session["subscription"] else None
        return status, entitlements["plan"], entitlements["until"]

    def subscription(self, who=None):
        return (who or self.ann).get("/v1/subscriptions").json["items"][0]


def iso(moment):
    return moment.isoformat().replace("+00:00", "Z")
