"""Operators as people, in tests: invited, enrolled, signed in; all over HTTP."""

from dataclasses import dataclass, field

from streamsvc import clock
from streamsvc.operations.operators import people
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import Person, operator

PASSWORD = "nine green herons"


@dataclass
class Staff(Person):
    """An operator at a desk. `codes` are the recovery codes, `secret` what the authenticator holds."""

    password: str = PASSWORD
    id: str = ""
    secret: str = ""
    codes: list = field(default_factory=list)
    app: object = None

    def code(self, steps=0):
        """What the authenticator shows now, or so many steps of thirty seconds later."""
        return totp_code(self.secret, int(self.app.extensions["clock"].at.timestamp()) // STEP_S + steps)

    def sign_in(self, **more):
        """With a fresh code: the clock goes on to the next one first."""
        self.app.extensions["clock"].advance(seconds=STEP_S)
        return self.try_to_sign_in(**({"totp": self.code()} | more))

    def try_to_sign_in(self, **more):
        body = {"email": self.email, "password": self.password} | more
        return self._in(self.client.post("/v1/admin/sessions", json=body, headers=self.headers))

    def prove(self):
        self.app.extensions["clock"].advance(seconds=STEP_S)
        return self.post("/v1/admin/sessions/current/reauthentication", {"totp": self.code()})

    def accept(self, token):
        """Set password and authenticator by an invitation."""
        begun = self.client.post("/v1/admin/invitations", json={"token": token})
        assert begun.status_code == 200, begun.json
        self.secret = begun.json["secret"]
        body = {"token": token, "password": self.password, "code": self.code()}
        answer = self.client.put("/v1/admin/invitations", json=body)
        self.codes = answer.json.get("recovery_codes", [])
        return answer


def enrolled(app, role, name=None):
    """An operator whom the command line invited, who set everything up and is not signed in yet."""
    name = name or role
    staff, token = Staff(app.test_client(), f"{name}@example.com", app=app), f"invitation of {name}"
    with app.app_context():
        staff.id = people.invite_operator(staff.email, name.title(), role, clock.now(), token)
        db.session.commit()
    assert staff.accept(token).status_code == 200
    return staff


def new_operator(app, role, name=None):
    """An operator of this role, enrolled and signed in."""
    staff = enrolled(app, role, name)
    assert staff.sign_in().status_code == 201
    return staff


def invited(app, role, name=None, by=None):
    """An operator whom an admin, or an admin's key, invited by mail; nothing set up yet."""
    staff = Staff(app.test_client(), f"{name or role}@example.com", app=app)
    body = {"email": staff.email, "name": (name or role).title(), "role": role}
    answer = (by or operator(app)).post("/v1/admin/operators", body)
    assert answer.status_code == 201, answer.json
    staff.id = answer.json["id"]
    return staff
