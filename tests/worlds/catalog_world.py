"""Steps of catalogue tests, over HTTP: an operator who edits the catalogue, and viewers."""

import itertools
import secrets
from urllib.parse import urlencode

from streamsvc.models import ApiKey
from streamsvc.rules.sign_in.sessions import API_KEY_PREFIX, hash_token
from streamsvc.storage.database import db

_numbers = itertools.count(1)
PASSWORD = "seven red herons at noon"


class Caller:
    """An HTTP client with a token."""

    def __init__(self, app, token):
        self.client = app.test_client()
        self.client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"

    def get(self, path, **query):
        words = {name.replace("__", "."): value for name, value in query.items()}
        return self.client.get(path + ("?" + urlencode(words) if words else ""))

    def titles(self, **query):
        """Return the names of the titles in a list."""
        response = self.get("/v1/catalog/titles", **query)
        assert response.status_code == 200, response.json
        return [item["title"] for item in response.json["items"]]

    def hits(self, q, **query):
        """Return (match, title) of each hit of a search."""
        response = self.get("/v1/catalog/search", q=q, **query)
        assert response.status_code == 200, response.json
        return [(item["match"], item["title"]) for item in response.json["items"]]

    def search(self, q, **query):
        """Return the names of the titles found."""
        return [title for _, title in self.hits(q, **query)]

    def walk(self, path, **query):
        """Yield the pages of a list to its end."""
        while True:
            response = self.get(path, **query)
            assert response.status_code == 200, response.json
            yield response.json["items"]
            if response.json["next_cursor"] is None:
                return
            query["cursor"] = response.json["next_cursor"]


class Visitor(Caller):
    """Somebody without a token, who says in which country they are."""

    def __init__(self, app, country=None):
        self.client, self.country = app.test_client(use_cookies=False), country

    def get(self, path, **query):
        return super().get(path, **query, **({"country": self.country} if self.country else {}))


class Catalog(Caller):
    """An operator, who sees and edits the whole catalogue."""

    def __init__(self, app):
        token = API_KEY_PREFIX + secrets.token_urlsafe(32)
        with app.app_context():
            key = ApiKey(
                name="tests", token_hash=hash_token(token), scopes=["admin"], created_at=app.extensions["clock"]()
            )
            db.session.add(key)
            db.session.commit()
        super().__init__(app, token)
        self.app = app

    def put(self, title, **record):
        """Put a title and return its id."""
        external_id = record.pop("external_id", f"test:{title}")
        response = self.client.put(f"/v1/admin/titles/{external_id}", json={"kind": "movie", "title": title, **record})
        assert response.status_code == 200, response.json
        return response.json["id"]

    def viewer(self, country="DE", max_age=None, language=None):
        """Sign up a viewer with one profile."""
        email = f"viewer{next(_numbers)}@example.com"
        account = {"email": email, "password": PASSWORD, "country": country, "time_zone": "UTC"}
        response = self.app.test_client().post("/v1/accounts", json=account)
        assert response.status_code == 201, response.json
        viewer = Caller(self.app, response.json["token"])
        if max_age is not None or language is not None:
            terms = {name: v for name, v in (("max_age", max_age), ("language", language)) if v is not None}
            changed = viewer.client.patch(f"/v1/profiles/{response.json['profile']['id']}", json=terms)
            assert changed.status_code == 200, changed.json
        return viewer

    def put_plan(self, code, **members):
        """Put a plan with one price; returns the price's id."""
        price = {"currency": "EUR", "amount_minor": 999, "tax": "exclusive"}
        features = {"max_streams": 2, "max_height": 1080, "max_profiles": 5, "max_devices": 5, "downloads": True}
        body = {"name": code, "features": {**features, "ads": False}, "prices": [price], **members}
        response = self.client.put(f"/v1/admin/plans/{code}", json=body)
        assert response.status_code == 200, response.json
        return response.json["prices"][0]["id"]

    def subscribe(self, viewer, plan, *addons):
        """Subscribe a viewer to a plan with add-ons."""
        price_id, *addon_ids = [self.put_plan(code) for code in (plan, *addons)]
        assert viewer.client.post("/v1/payment-methods", json={"token": "pm_card_visa"}).status_code == 201
        subscription_response = viewer.client.post(
            "/v1/subscriptions",
            json={"price_id": price_id, "addons": addon_ids},
            headers={"Idempotency-Key": secrets.token_hex(8)},
        )
        assert subscription_response.status_code == 201, subscription_response.json
        return subscription_response.json["id"]


def base_vary(response):
    """Return the Vary header without `Accept-Encoding`, which long responses alone have, since they are compressed."""
    return response.headers["Vary"].removesuffix(", Accept-Encoding")
