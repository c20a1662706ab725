"""Steps that tests of sessions and accounts share: people over HTTP, an operator, the mail that came."""

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
    """Somebody at one device; `email` and `password` are what they sign in with."""

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

    def _in(self, answer):
        if answer.status_code == 201 and "token" in answer.json:
            self.token = answer.json["token"]
        return answer

    def again(self, **changes):
        """The same person at another device."""
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
    """Somebody who signed up as `name`@example.com and is signed in."""
    person = Person(client, f"{name}@example.com", **more)
    answer = person.sign_up()
    assert answer.status_code == 201, answer.json
    return person


def operator(app, *scopes):
    """Somebody with an API key."""
    with app.app_context():
        return Person(app.test_client(), "operator", token=create_api_key("test", list(scopes or ("admin",))))


def run_jobs(app):
    """Do what the worker would have done by now, with what follows from it; how many jobs ran."""
    ran = 0
    with app.app_context():
        while more := jobs.run_due_jobs(clock.now()):
            ran += more
    return ran


def mails(app, to, kind=None):
    """What was mailed to this address, the newest first."""
    run_jobs(app)
    found = operator(app).get(f"/v1/sandbox/emails?to={to}&limit=100").json["items"]
    return [mail for mail in found if kind in (None, mail["kind"])]


def mailed_token(app, to, kind):
    """The secret in the newest mail of this kind."""
    return re.search(r"token=([\w-]+)", mails(app, to, kind)[0]["text"])[1]


def add_app(person, clock):
    """Give the person's account an authenticator app; its secret. No code of this half minute counts any more."""
    secret = person.post("/v1/account/totp").json["secret"]
    answer = person.put("/v1/account/totp", {"code": totp_code(secret, int(clock.at.timestamp()) // STEP_S)})
    assert answer.status_code == 200, answer.json
    return secret


def code_of(answer):
    return answer.status_code, answer.json.get("code")


def everything(app):
    """All that the database holds, as one text."""
    with app.app_context(), db.engine.connect() as connection:
        tables = db.metadata.sorted_tables
        return "\n".join(str(row) for table in tables for row in connection.execute(sa.select(table)))
