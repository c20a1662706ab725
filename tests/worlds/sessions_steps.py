"""Shared test steps for accounts and sessions: people and operators over HTTP, jobs and mails."""

import re
from dataclasses import dataclass, field

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.operations.accounts.api_keys import create_api_key
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from streamsvc.worker import jobs

SECRET = "a long secret 7"


@dataclass
class Person:
    """A person on one device, with their credentials."""

    client: object
    email: str
    password: str = SECRET
    token: str = ""
    headers: dict = field(default_factory=dict)

    def sign_up(self, **more):
        body = {"email": self.email, "password": self.password, "country": "DE"} | more
        return self._in(self.client.post("/v1/accounts", json=body, headers=self.headers))

    def sign_in(self, **more):
        body = {"email": self.email, "password": self.password} | more
        return self._in(self.client.post("/v1/sessions", json=body, headers=self.headers))

    def _in(self, response):
        if response.status_code == 201 and "token" in response.json:
            self.token = response.json["token"]
        return response

    def again(self, **changes):
        """The same person on another device."""
        return Person(self.client, self.email, self.password, **changes)

    def get(self, path, **more):
        return self._call("get", path, **more)

    def post(self, path, body=None, **more):
        return self._call("post", path, json=body, **more)

    def put(self, path, body=None, **more):
        return self._call("put", path, json=body, **more)

    def patch(self, path, body=None, **more):
        return self._call("patch", path, json=body, **more)

    def delete(self, path, **more):
        return self._call("delete", path, **more)

    def _call(self, method, path, headers=None, json=None, **more):
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if json is not None:
            more["json"] = json
        return getattr(self.client, method)(path, headers={**bearer, **self.headers, **(headers or {})}, **more)


def new_person(client, name="ann", **more):
    """A person signed up and signed in as `name`@example.com."""
    person = Person(client, f"{name}@example.com", **more)
    response = person.sign_up()
    assert response.status_code == 201, response.json
    return person


def operator(app, *scopes):
    """An operator with an API key of these scopes (`admin` by default)."""
    with app.app_context():
        return Person(app.test_client(), "operator", token=create_api_key("test", list(scopes or ("admin",))))


def run_jobs(app):
    """Run all due jobs, including those that they enqueue; how many ran."""
    count = 0
    with app.app_context():
        while more := jobs.run_due_jobs(clock.now()):
            count += more
    return count


def mails(app, to, kind=None):
    """The mails to this address, newest first."""
    run_jobs(app)
    items = operator(app).get(f"/v1/sandbox/emails?to={to}&limit=100").json["items"]
    return [mail for mail in items if kind in (None, mail["kind"])]


def mailed_token(app, to, kind):
    """The token in the newest mail of this kind."""
    return re.search(r"token=([\w-]+)", mails(app, to, kind)[0]["text"])[1]


def verify(app, person):
    """Confirm the person's address from the session that signed up."""
    token = mailed_token(app, person.email, "email_verification")
    assert person.put("/v1/email-verifications", {"token": token}).status_code == 204


def add_app(person, clock):
    """Add an authenticator app to the person's account; its secret. Its code of the current time step is used."""
    secret = person.post("/v1/account/totp").json["secret"]
    response = person.put("/v1/account/totp", {"code": totp_code(secret, int(clock.at.timestamp()) // STEP_S)})
    assert response.status_code == 200, response.json
    return secret


def code_of(response):
    return response.status_code, response.json.get("code")


def everything(app):
    """The whole database as one text."""
    with app.app_context(), db.engine.connect() as connection:
        tables = db.metadata.sorted_tables
        return "\n".join(str(row) for table in tables for row in connection.execute(sa.select(table)))
