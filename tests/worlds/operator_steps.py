"""Test steps for human operators over HTTP: invitation, enrollment, sign-in."""

from dataclasses import dataclass, field

from streamsvc import clock
from streamsvc.operations.operators import people
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import Person, operator

PASSWORD = "nine green herons"


@dataclass
class Staff(Person):
    """A human operator. `codes` are the recovery codes, `secret` is the authenticator's secret."""

    password: str = PASSWORD
    id: str = ""
    secret: str = ""
    codes: list = field(default_factory=list)
    app: object = None

    def code(self, steps=0):
        """The authenticator's current code, or the one of so many 30-second steps later."""
        return totp_code(self.secret, int(self.app.extensions["clock"].at.timestamp()) // STEP_S + steps)

    def sign_in(self, **more):
        """Sign in with a new code, after advancing the clock to the next time step."""
        self.app.extensions["clock"].advance(seconds=STEP_S)
        return self.try_to_sign_in(**({"totp": self.code()} | more))

    def try_to_sign_in(self, **more):
        body = {"email": self.email, "password": self.password} | more
        return self._in(self.client.post("/v1/admin/sessions", json=body, headers=self.headers))

    def prove(self):
        self.app.extensions["clock"].advance(seconds=STEP_S)
        return self.post("/v1/admin/sessions/current/reauthentication", {"totp": self.code()})

    def accept(self, token):
        """Set the password and the authenticator with an invitation."""
        invitation = self.client.post("/v1/admin/invitations", json={"token": token})
        assert invitation.status_code == 200, invitation.json
        self.secret = invitation.json["secret"]
        body = {"token": token, "password": self.password, "code": self.code()}
        response = self.client.put("/v1/admin/invitations", json=body)
        self.codes = response.json.get("recovery_codes", [])
        return response


def enrolled(app, role, name=None):
    """An operator invited on the command line and enrolled, but not signed in."""
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
    signed_in = staff.sign_in()
    assert signed_in.status_code == 201, signed_in.json
    return staff


def invited(app, role, name=None, by=None):
    """An operator invited by mail by an admin or an admin's API key, and not enrolled."""
    staff = Staff(app.test_client(), f"{name or role}@example.com", app=app)
    body = {"email": staff.email, "name": (name or role).title(), "role": role}
    response = (by or operator(app)).post("/v1/admin/operators", body)
    assert response.status_code == 201, response.json
    staff.id = response.json["id"]
    return staff
