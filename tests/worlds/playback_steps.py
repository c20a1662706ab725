"""Steps of playback tests: plans, titles and households over HTTP, and accounts inserted as rows."""

import copy
import itertools
import secrets

from streamsvc.models import Account, Device, Profile, Session
from streamsvc.operations.accounts.api_keys import create_api_key
from streamsvc.operations.playback.streams import StreamLimits, StreamRequest
from streamsvc.rules.playback.stream_rules import DeviceLimits
from streamsvc.storage.database import db, new_id

TWO = StreamLimits(streams=2, devices=DeviceLimits(None))
FEATURES = {"max_streams": 2, "max_height": 1080, "max_profiles": 5, "max_devices": 4, "downloads": False, "ads": False}
FILM = {"external_id": "film", "kind": "movie", "title": "A Film", "runtime_s": 6000, "age_rating": "US:R"}
CARTOON = {"external_id": "cartoon", "kind": "movie", "title": "A Cartoon", "runtime_s": 5400, "age_rating": "US:G"}
EPISODES = [{"number": n, "title": f"Episode {n}", "runtime_s": 3000} for n in (1, 2, 3)]
SHOW = {
    "external_id": "show",
    "kind": "series",
    "title": "A Show",
    "age_rating": "US:TV-14",
    "seasons": [
        {"number": 0, "episodes": EPISODES[:1]},
        {"number": 1, "episodes": EPISODES},
        {"number": 2, "episodes": EPISODES},
    ],
}
_numbers = itertools.count(1)


class World:
    """The service with an operator, plans and titles."""

    def __init__(self, app):
        self.app, self.clock = app, app.extensions["clock"]
        with app.app_context():
            self.operator = Caller(app.test_client(), create_api_key("tests", ["admin"]))
        self.ids = {}

    def put_plan(self, code="standard", amount_minor=999, **features):
        prices = [{"currency": "EUR", "amount_minor": amount_minor, "interval": "month", "tax": "inclusive"}]
        plan = {"name": code.title(), "features": FEATURES | features, "prices": prices}
        response = self.operator.put(f"/v1/admin/plans/{code}", plan)
        assert response.status_code in (200, 201), response.json
        return response.json["prices"][0]["id"]

    def put_titles(self, *records):
        """Put records; adds their ids to `ids` by external id, those of episodes as `show/1/2`."""
        for record in records:
            name = record["external_id"]
            response = self.operator.put(f"/v1/admin/titles/{name}", record)
            assert response.status_code in (200, 201), response.json
            self.ids[name] = response.json["id"]
            if record["kind"] == "series":
                for episode in self.operator.get(f"/v1/catalog/titles/{self.ids[name]}/episodes").json["items"]:
                    self.ids[f"{name}/{episode['season']}/{episode['number']}"] = episode["id"]

    def household(self, plan=None, **account):
        """Sign up a viewer on a TV, with a subscription if `plan` is a price id."""
        body = {"email": f"viewer{next(_numbers)}@example.com", "password": "seven red herons", "country": "DE"}
        body |= {"device": {"name": "Living room", "kind": "tv"}, **account}
        response = self.app.test_client().post("/v1/accounts", json=body)
        assert response.status_code == 201, response.json
        viewer = Viewer(self, response.json, body)
        if plan:
            viewer.subscribe(plan)
        return viewer


class Caller:
    """An HTTP client with a token."""

    def __init__(self, client, token):
        self.client, self.token = client, token

    def call(self, method, path, body=None, **headers):
        sent = {"Authorization": f"Bearer {self.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return self.client.open(path, method=method, json=body, headers=sent)

    def get(self, path):
        return self.call("GET", path)

    def put(self, path, body=None):
        return self.call("PUT", path, body)

    def patch(self, path, body=None):
        return self.call("PATCH", path, body)

    def delete(self, path):
        return self.call("DELETE", path)

    def post(self, path, body=None, **headers):
        return self.call("POST", path, body, **headers)


class Viewer(Caller):
    """A viewer signed in on one device."""

    def __init__(self, world, signed_in, account):
        super().__init__(world.app.test_client(), signed_in["token"])
        self.world, self.account = world, account
        self.account_id = signed_in["account"]["id"]
        self.profile_id = signed_in["profile"]["id"]

    def subscribe(self, price_id):
        assert self.post("/v1/payment-methods", {"token": "pm_card_visa"}).status_code == 201
        order = {"price_id": price_id}
        response = self.post("/v1/subscriptions", order, Idempotency_Key=secrets.token_hex(8))
        assert response.status_code == 201, response.json
        return response.json

    def on_another_device(self, kind="phone"):
        """Sign in to the same account on another device."""
        body = {name: self.account[name] for name in ("email", "password")}
        body["device"] = {"name": f"Device {next(_numbers)}", "kind": kind}
        response = self.world.app.test_client().post("/v1/sessions", json=body)
        assert response.status_code == 201, response.json
        return Viewer(self.world, response.json, self.account)

    def again(self):
        """Sign in again on the same device, by its id; the former session goes on."""
        body = {name: self.account[name] for name in ("email", "password")} | {"device": {"id": self.device_id()}}
        response = self.world.app.test_client().post("/v1/sessions", json=body)
        assert response.status_code == 201, response.json
        return Viewer(self.world, response.json, self.account)

    def device_id(self):
        return self.get("/v1/sessions/current").json["session"]["device"]["id"]

    def play(self, item, **more):
        """Start a playback of an item by its external id."""
        return self.post("/v1/playback", {"item_id": self.world.ids.get(item, item), **more})

    def send_heartbeat(self, stream_id, position_s=60, state="playing", at=None, **more):
        at = (at or self.world.clock()).isoformat()
        body = {"position_s": position_s, "state": state, "at": at, **more}
        return self.post(f"/v1/playback/{stream_id}/heartbeat", body)


class Watcher:
    """A household with a plan, and the progress of its first profile."""

    def __init__(self, world):
        self.world, self.viewer = world, world.household(plan=world.put_plan())
        self.profile_id = self.viewer.profile_id

    def sibling(self):
        """Return another profile of the same household."""
        sibling = copy.copy(self)
        sibling.profile_id = self.viewer.post("/v1/profiles", {"name": "Sibling"}).json["id"]
        return sibling

    def path(self, *parts):
        return "/".join([f"/v1/profiles/{self.profile_id}", *parts])

    def report(self, item, position_s, duration_s=6000, at=None, **more):
        at = (at or self.world.clock()).isoformat()
        body = {"position_s": position_s, "duration_s": duration_s, "at": at, **more}
        return self.viewer.put(self.path("progress", self.world.ids.get(item, item)), body)

    def watch(self, *items):
        """Watch items to the end, one after the other, a minute apart."""
        for item in items:
            self.world.clock.advance(minutes=1)
            assert self.report(item, 3000, 3000).json["watched"]

    def row(self, name):
        """Return the external ids of a row's items."""
        names = {id_: external_id for external_id, id_ in self.world.ids.items()}
        return [names[item["item_id"]] for item in self.viewer.get(self.path(name)).json["items"]]


def error_of(response):
    """Return an error as (status, code)."""
    return response.status_code, response.json["code"]


def new_account(now, profiles=1):
    """Insert an account; return its id and the ids of its profiles."""
    account = Account(
        email=f"{new_id('mail')}@example.com", email_key=new_id("key"), country="DE", time_zone="UTC", locale="en"
    )
    account.created_at = now
    db.session.add(account)
    db.session.flush()
    created = [Profile(account_id=account.id, name=f"Profile {n}", created_at=now) for n in range(profiles)]
    db.session.add_all(created)
    db.session.flush()
    ids = account.id, [profile.id for profile in created]
    db.session.commit()
    return ids


def new_session(account_id, now, kind="tv"):
    """Insert a signed-in device; return the ids of its session and its own."""
    device = Device(account_id=account_id, name="A device", kind=kind, created_at=now, last_seen_at=now)
    db.session.add(device)
    db.session.flush()
    times = {"created_at": now, "authenticated_at": now, "last_seen_at": now}
    session = Session(
        account_id=account_id, device_id=device.id, token_hash=new_id("hash"), lifetime="tv", epoch=0, **times
    )
    db.session.add(session)
    db.session.flush()
    ids = session.id, device.id
    db.session.commit()
    return ids


def stream_request(account_id, profile_id, session_id, device_id, item_id="ttl_1"):
    return StreamRequest(account_id, profile_id, session_id, device_id, item_id, item_id, "DE", 1080, "{}")
