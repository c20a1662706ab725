"""Ann's life with both app stores, for the tests of what they have in common."""

from contextlib import contextmanager

from tests.subscriptions.test_app_store import AppStoreLife
from tests.subscriptions.test_play_store import PlayStoreLife
from tests.worlds.app_store import AppStore, app_store_server, use_app_store
from tests.worlds.play_store import PlayStore, play_store_server, use_play_store
from tests.worlds.scenes import set_scene
from tests.worlds.store_lives import PRODUCTS


class Life(AppStoreLife):
    """Ann, with both stores: `store` is the App Store, `play` Google Play."""

    def subscribe_on_play(self, product="standard", who=None, **more):
        purchase = self.play.buy(product, self.account(who), **more)
        response = PlayStoreLife.claim(self, purchase, who)
        assert response.status_code == 201, response.json
        self.tick()
        return purchase

    def price(self, code):
        """The id of the web's price of a plan."""
        return self.put_plan(code, PRODUCTS[code])

    def trials(self):
        """The id of a price on the web with a trial."""
        price = {"currency": "USD", "amount_minor": 900, "tax": "exclusive", "trial_days": 14}
        return self.world.put_plan("trials", [price])

    def session(self, who=None):
        return (who or self.ann).get("/v1/sessions/current").json

    def sources(self, who=None):
        return [each["source"] for each in self.session(who)["sources"]]


@contextmanager
def live_with_both_stores(app, monkeypatch, tmp_path):
    """Yield a `Life`; at its end, our own books must balance."""
    life = set_scene(app, Life)
    life.store, life.play = AppStore(life.clock), PlayStore(life.clock)
    with app_store_server(life.store) as address, play_store_server(life.play) as play_address:

        def use(**settings):
            use_app_store(app, monkeypatch, address, tmp_path, **settings)
            use_play_store(app, monkeypatch, play_address)

        use()
        life.use = use
        yield life
    assert life.world.differences() == []


def transfer_by_an_operator(life):
    subscription_id = life.world.person().subscribe(life.price("premium")).json["id"]
    return life.world.operator.post(f"/v1/admin/subscriptions/{subscription_id}/transfer", {"account_id": life.ann.id})


def transfer_a_purchase_by_an_operator(life):
    cara = life.world.person(card=None)
    life.subscribe_on_play("premium", cara)
    path = f"/v1/admin/subscriptions/{life.subscription(cara)['id']}/transfer"
    return life.world.operator.post(path, {"account_id": life.ann.id})
