"""A service with enough in it to fill the console's pages: viewers, invoices, plays, jobs, webhooks, titles."""

import secrets
import time
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Job, WebhookDelivery, WebhookEndpoint, WebhookEvent
from streamsvc.operations.operators import people
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import new_person, operator

PASSWORD = "nine green herons"
PROBE = "<img src=x onerror=\"document.title='probe'\"><script>alert(1)</script>"
"""What becomes markup on a page that builds its HTML from text."""
FEATURES = {"max_streams": 2, "max_height": 1080, "max_profiles": 5, "max_devices": 5, "downloads": True, "ads": False}
SIGN_IN = """async (body) => (await fetch("v1/admin/sessions", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
})).status"""


class ConsoleWorld:
    """The served app and what is in it. Viewers are signed in over HTTP; operators enrol with the wall clock."""

    def __init__(self, app, url):
        self.app, self.url, self.viewers = app, url, {}
        self.admin = operator(app)
        self.staff = {}

    def fill(self):
        """Create plans, titles, viewers with subscriptions and plays, a failed job and a webhook endpoint."""
        prices = [{"currency": "EUR", "amount_minor": amount, "tax": "inclusive"} for amount in (999, 1499)]
        for code, price in zip(("standard", "premium"), prices, strict=True):
            plan = {"name": code.title(), "features": FEATURES, "prices": [price]}
            assert self.admin.put(f"/v1/admin/plans/{code}", plan).status_code in (200, 201)
        self.titles = {name: self._put_title(name) for name in ("A Film", "Zoë's Holiday", PROBE)}
        for name, text in (("ann", "Ann Ångström"), ("bob", PROBE), ("cleo", "Cleo Quill")):
            self.viewers[name] = self._subscribe(name, text)
        self._play("ann", "A Film")
        with self.app.app_context():
            self.add_failed_job("mail.send", PROBE, {"to": PROBE})
            now = clock.now()
            late = {"kind": "account_deleted", "to": "late@example.com", "facts": {}}
            db.session.add(Job(kind="mail.send", payload=late, run_at=now - timedelta(hours=1)))
            db.session.commit()
        self.admin.post("/v1/admin/webhook-endpoints", {"url": "https://hooks.example/console"})
        return self

    def add_failed_job(self, kind, error, payload=None):
        """Store a job whose last attempt has failed with this error."""
        now = clock.now()
        db.session.add(Job(kind=kind, payload=payload or {}, run_at=now, failed_at=now, last_error=error))
        db.session.commit()

    def give_up_delivery(self):
        """Store a delivery that was given up, of some event to the endpoint; returns the event's id."""
        with self.app.app_context():
            endpoint, event = (
                db.session.scalars(sa.select(table.id)).first() for table in (WebhookEndpoint, WebhookEvent)
            )
            db.session.add(
                WebhookDelivery(endpoint_id=endpoint, event_id=event, status="failed", created_at=clock.now())
            )
            db.session.commit()
            return event

    def _put_title(self, name):
        key = f"t:{secrets.token_hex(4)}"
        body = {"external_id": key, "kind": "movie", "title": name, "runtime_s": 6000, "age_rating": "US:G"}
        body |= {"genres": ["drama"], "year": 1994}
        if name == PROBE:
            days = [(datetime.now(UTC) + timedelta(days=day)).strftime("%Y-%m-%dT12:00:00Z") for day in (-5, 3)]
            body["windows"] = [{"countries": ["DE", "AT"], "starts_at": days[0], "ends_at": days[1]}]
        response = self.admin.put(f"/v1/admin/titles/{key}", body)
        assert response.status_code in (200, 201), response.json
        return response.json["id"]

    def _subscribe(self, name, text):
        viewer = new_person(self.app.test_client(), name)
        assert viewer.patch("/v1/account", {"name": text}).status_code == 200
        viewer.id = viewer.get("/v1/account").json["id"]
        card = viewer.post("/v1/payment-methods", {"token": "pm_card_visa"}).json
        price = next(p for p in viewer.get("/v1/plans").json["items"] if p["code"] == "standard")["prices"][0]
        body = {"price_id": price["id"], "payment_method_id": card["id"]}
        response = viewer.post("/v1/subscriptions", body, headers={"Idempotency-Key": secrets.token_hex(8)})
        assert response.status_code == 201, response.json
        viewer.card, viewer.subscription = card, response.json
        return viewer

    def _play(self, name, title):
        viewer = self.viewers[name]
        response = viewer.post("/v1/playback", {"item_id": self.titles[title]})
        assert response.status_code == 201, response.json

    def invite(self, role, name=None):
        """Return the token of an invitation for an operator of this role."""
        token = secrets.token_urlsafe(32)
        with self.app.app_context():
            people.invite_operator(f"{name or role}@staff.example", (name or role).title(), role, clock.now(), token)
            db.session.commit()
        return token

    def enrol(self, role, name=None):
        """Enrol an operator; returns (email, recovery codes, secret of the authenticator)."""
        token, client = self.invite(role, name), self.app.test_client()
        secret = client.post("/v1/admin/invitations", json={"token": token}).json["secret"]
        body = {"token": token, "password": PASSWORD, "code": totp_code(secret, wall_step())}
        response = client.put("/v1/admin/invitations", json=body)
        assert response.status_code == 200, response.json
        return f"{name or role}@staff.example", response.json["recovery_codes"], secret

    def context(self, browser, role, **options):
        """A browser's context in which an operator of this role is signed in. One per role is enrolled."""
        if role not in self.staff:
            self.staff[role] = self.enrol(role)
        email, codes, _ = self.staff[role]
        body = {"email": email, "password": PASSWORD, "recovery_code": codes.pop(), "cookie": True}
        context = browser.new_context(locale="en-GB", **options)
        page = context.new_page()
        page.goto(f"{self.url}/console")
        assert page.evaluate(SIGN_IN, body) == 201
        page.close()
        return context


def wall_step():
    """The current time step of authenticators by the wall clock, which a served app uses."""
    return int(time.time()) // STEP_S
