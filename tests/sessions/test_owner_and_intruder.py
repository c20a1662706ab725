"""An owner and an intruder in random order: after a recovery only the owner is in, and the owner can get in.

The steps of both are what the API offers. The intruder knows the password once, or signed up with the owner's address
before its owner proved it. The owner recovers by any of the links that they were mailed, by a reset, or by a recovery
that support starts; the intruder goes on between these steps.
"""

import json
import os
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from streamsvc.gateways import oidc
from streamsvc.storage.database import db
from tests.conftest import NOON, Clock, delete_all_rows
from tests.worlds import oidc_provider
from tests.worlds.oidc_provider import CLIENT
from tests.worlds.sessions_steps import operator, run_jobs
from tests.worlds.takeover_sides import ACCESS_LINKS, PATHS_BY_MAIL, Side

TAKEOVERS = int(os.environ.get("STREAMSVC_TEST_TAKEOVERS", "5"))
IS_SHORT = "STREAMSVC_TEST_TAKEOVERS" not in os.environ
LONGEST = timedelta(days=6)
"""The owner acts within this time of the takeover: the links in mails are valid for seven days."""
OWN = ("add_passkey", "link_provider", "add_totp", "begin_totp", "add_tv")
BOTH = (
    "sign_in",
    "sign_in_by_passkey",
    "sign_in_by_provider",
    "request_magic_link",
    "use_magic_link",
    "add_passkey",
    "link_provider",
    "begin_totp",
    "confirm_totp",
    "add_totp",
    "remove_totp",
    "renew_recovery_codes",
    "approve_tv",
    "add_tv",
    "poll_tvs",
    "change_password",
    "change_email",
    "request_email_change",
    "confirm_email_change",
    "request_resets",
    "reset",
)
OWNER = (*BOTH, "click_newest_access_link", "click_oldest_access_link", "confirm_sign_up")
INTRUDER = (
    *BOTH,
    "sign_in_on_the_others_device",
    "begin_passkey",
    "begin_link",
    "finish_registrations",
    "remove_others_credentials",
    "change_email",
    "add_passkey",
    "delete_account",
    "request_many_resets",
    "squat",
    "cancel_recoveries",
    "click_newest_access_link",
    "click_oldest_access_link",
)
WAYS_BACK = (*ACCESS_LINKS, "reset", "support")
PROOFS = ("confirmation", "magic_link", *ACCESS_LINKS, "reset", "sign_up")
"""What the owner of an address does who never signed up, but gets mails about an account."""
ANY_WAY = tuple(dict.fromkeys((*WAYS_BACK, *PROOFS)))


class OwnerAndIntruder(RuleBasedStateMachine):
    """The steps of both sides, each recovery, and what has to be true after it."""

    app = provider = None

    def __init__(self):
        super().__init__()
        with self.app.app_context():
            delete_all_rows(db.engine)
        self.clock = self.app.extensions["clock"]
        self.clock.at = NOON
        self.operator = operator(self.app, "admin", "support")
        sides = ("ann@example.com", "203.0.113.7"), ("eve@elsewhere.example", "198.51.100.9")
        self.owner, self.intruder = (Side(self.app, self.operator, self.provider, *side) for side in sides)
        self.owner.other, self.intruder.other = self.intruder, self.owner
        self.intruder.guesses = [self.owner.email, self.intruder.email]
        self.is_over = False

    @initialize(
        is_squatted=st.booleans(),
        owned=st.lists(st.sampled_from(OWN), max_size=3, unique=True),
        way=st.sampled_from(ANY_WAY),
        steps=st.lists(st.lists(st.sampled_from(INTRUDER), max_size=2), min_size=2, max_size=2),
    )
    def take_over(self, is_squatted, owned, way, steps):
        """Let the intruder in. `steps` are those that the intruder takes during the recovery, which begins `way`."""
        self.is_squatted, self.recovery = is_squatted, (way, *steps)
        with self.ends_at_failure():
            self.sign_up_squatted() if is_squatted else self.sign_up_owner(owned)
            self.since = self.clock.at
            if not is_squatted:
                self.steal_password()

    def sign_up_squatted(self):
        self.account_id = self.intruder.sign_up(self.owner.email).json["account"]["id"]

    def sign_up_owner(self, owned):
        self.account_id = self.owner.sign_up().json["account"]["id"]
        self.owner.click_newest("email_verification")
        for step in owned:
            getattr(self.owner, step)()
        run_jobs(self.app)
        self.clock.advance(hours=1)
        self.older = list(self.owner.passkeys), list(self.owner.subjects), bool(self.owner.totp_secrets)

    def steal_password(self):
        """Let the intruder sign in once with the owner's password, and a code of theirs."""
        self.intruder.passwords = list(self.owner.passwords)
        self.intruder.totp_secrets = list(self.owner.totp_secrets)
        assert self.intruder.sign_in().status_code == 201
        self.intruder.totp_secrets = []

    @rule(step=st.sampled_from(OWNER))
    def owner_does(self, step):
        with self.ends_at_failure():
            getattr(self.owner, step)()

    @rule(step=st.sampled_from(INTRUDER))
    def intruder_does(self, step):
        with self.ends_at_failure():
            getattr(self.intruder, step)()

    @rule(step=st.sampled_from(INTRUDER))
    def intruder_does_more(self, step):
        self.intruder_does(step)

    @rule(hours=st.sampled_from((0.2, 1, 24)))
    def wait(self, hours):
        if self.clock.at + timedelta(hours=hours) < self.since + LONGEST:
            self.clock.advance(hours=hours)

    def teardown(self):
        if not self.is_over and hasattr(self, "since"):
            self.run_recovery(*self.recovery)

    @contextmanager
    def ends_at_failure(self):
        """Let the worker follow the step; skip the recovery if the step failed."""
        try:
            yield
            run_jobs(self.app)
            self.clock.advance(seconds=31)
        except BaseException:
            self.is_over = True
            raise

    def run_recovery(self, way, during=(), after=()):
        """Let the owner recover, this way first if it is open, and the intruder act in between."""
        ways = PROOFS if self.is_squatted else WAYS_BACK
        first = ways.index(way) if way in ways else 0
        ways = (*ways[first:], *ways[:first])
        assert any(getattr(self, f"take_back_by_{way}", self.take_back_by_link)(way, during) for way in ways), ways
        if not self.is_squatted:
            self.check_no_session_of_intruder()
        self.intruder_steps(during)
        self.get_in()
        self.intruder_steps(after)
        self.check_intruder_is_out()
        self.check_owner_is_in()

    def intruder_steps(self, steps):
        for step in steps:
            getattr(self.intruder, step)()
            run_jobs(self.app)
            self.clock.advance(seconds=31)

    # ways back: each returns whether it worked, and covers the whole takeover

    def take_back_by_link(self, kind, steps):
        if self.is_squatted:
            return any(self.owner.click(*mail) for mail in self.owner.mails(kind))
        since = {"since": self.since.isoformat()}
        return any(
            self.owner.click(*mail, "/v1/access-revocations", **since)
            for mail in self.owner.mails(kind)
            if self.is_previewed_since_takeover(mail[1])
        )

    def is_previewed_since_takeover(self, token):
        """Whether the link is valid and reaches no further back, as one about the owner's own older session would."""
        body = {"token": token, "since": self.since.isoformat()}
        preview = self.owner.request("post", "/v1/access-revocation-previews", body)
        return preview.status_code == 200 and datetime.fromisoformat(preview.json["since"]) == self.since

    def take_back_by_reset(self, way, steps):
        self.owner.click_newest("account_restoration")
        self.owner.request_resets()
        self.intruder_steps(steps)
        since = {} if self.is_squatted else {"revoke_access_since": self.since.isoformat()}
        return any(self.owner.click(*mail, **since) for mail in self.owner.mails("password_reset"))

    def take_back_by_support(self, way, steps):
        body = {"reason": "locked out", "since": self.since.isoformat(), "only_older_can_cancel": True}
        started = self.operator.post(f"/v1/admin/accounts/{self.account_id}/recoveries", body)
        assert started.status_code == 201, started.json
        self.intruder_steps(steps)
        self.clock.advance(hours=73)
        return self.owner.click_newest("account_recovery")

    def take_back_by_confirmation(self, way, steps):
        return self.owner.click_newest("email_verification")

    def take_back_by_magic_link(self, way, steps):
        self.owner.request_magic_link()
        return self.owner.use_magic_link() is not None

    def take_back_by_sign_up(self, way, steps):
        return self.owner.sign_up().status_code == 201

    # what has to be true afterwards

    def get_in(self):
        """Let the owner set a password and sign in on a new device."""
        assert self.owner.reset(), "the owner got no link that works"
        self.owner.device_ids = []
        response = self.owner.sign_in(is_patient=True)
        assert response is not None, "the owner cannot sign in"
        if not self.is_squatted:
            assert response.json["account"]["id"] == self.account_id
        self.account_id = response.json["account"]["id"]

    def is_in(self, side, token):
        response = side.request("get", "/v1/account", token=token)
        return response.status_code == 200 and response.json["id"] == self.account_id

    def check_intruder_is_out(self):
        """Try everything that the intruder holds."""
        intruder = self.intruder
        self.check_no_session_of_intruder()
        intruder.finish_registrations()
        intruder.confirm_totp()
        intruder.poll_tvs()
        for kind, token in intruder.mails():
            if kind in PATHS_BY_MAIL:
                intruder.click(kind, token)
        for passkey in intruder.passkeys:
            intruder.sign_in_by_passkey(passkey)
        for subject in intruder.subjects:
            intruder.sign_in_by_provider(subject)
        intruder.use_magic_link()
        self.check_passwords()
        assert not any(self.is_in(intruder, token) for token in intruder.tokens), "the intruder signed in"

    def check_no_session_of_intruder(self):
        assert not any(self.is_in(self.intruder, token) for token in self.intruder.tokens), "a session is alive"

    def check_passwords(self):
        """Check that no password of the intruder's is accepted, not even as the first of two factors."""
        intruder, newest = self.intruder, self.intruder.passwords
        for password in [*newest[:1], *newest[-2:]]:
            intruder.passwords = [password]
            body = {"email": self.owner.email, "password": password}
            response = intruder.attempt("/v1/sessions", body, is_patient=True)
            assert response.json.get("code") == "invalid_credentials", response.json

    def check_owner_is_in(self):
        owner = self.owner
        account = owner.request("get", "/v1/account", token=owner.tokens[-1])
        assert account.status_code == 200, "the owner was signed out"
        assert (account.json["id"], account.json["email"]) == (self.account_id, owner.email)
        owner.device_ids = []
        assert owner.sign_in(is_patient=True) is not None, "the owner cannot sign in again"
        removed = owner.removed | self.intruder.removed
        if self.is_squatted or "all" in removed:
            return
        passkeys, subjects, has_totp = self.older
        for passkey in passkeys if "passkeys" not in removed else ():
            assert owner.sign_in_by_passkey(passkey).status_code == 201, "an older passkey was revoked"
        for subject in subjects if "identities" not in removed else ():
            assert owner.sign_in_by_provider(subject).status_code == 201, "an older provider was revoked"
        if has_totp and "totp" not in removed:
            assert owner.get_json("/v1/account/totp")["active"], "an older authenticator was revoked"


@pytest.fixture(scope="module")
def provider():
    with oidc_provider.running() as provider:
        oidc._document_cache.clear()
        yield provider


@pytest.fixture(scope="module")
def app(database, new_app, provider):
    entry = {"issuer": provider.issuer, "client_id": CLIENT[0], "client_secret": CLIENT[1]}
    return new_app(database, "takeovers", clock=Clock(), oidc_providers=json.dumps({"example": entry}))


@pytest.fixture
def takeover(app, provider):
    class Takeover(OwnerAndIntruder):
        pass

    Takeover.app, Takeover.provider = app, provider
    return Takeover


def test_after_a_recovery_only_the_owner_is_in(takeover):
    run_state_machine_as_test(
        takeover,
        settings=settings(
            max_examples=TAKEOVERS,
            stateful_step_count=8,
            derandomize=IS_SHORT,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


CHANGE_BACK = ("intruder change_email", "intruder add_passkey", "owner change_email")
ADD_AGAIN = ("intruder sign_in", "intruder add_passkey")


@pytest.mark.parametrize(
    ("owned", "steps", "way"),
    [
        pytest.param([], (), "reset", id="a stolen password"),
        pytest.param(["add_tv"], ("intruder approve_tv",), "new_device", id="a television of the intruder"),
        pytest.param([], CHANGE_BACK, "reset", id="links mailed to the intruder's address"),
        pytest.param([], (*CHANGE_BACK, *ADD_AGAIN), "factor_added", id="older links mailed to that address"),
        pytest.param(["begin_totp"], ("intruder add_totp",), "new_device", id="an authenticator on the owner's row"),
        pytest.param(None, ("intruder add_passkey", "intruder add_totp"), "confirmation", id="a squatted address"),
        pytest.param(None, ("intruder add_passkey", *ADD_AGAIN, "intruder change_email"), "email_undo", id="moved"),
        pytest.param(None, ("intruder add_passkey", *ADD_AGAIN, "intruder delete_account"), "new_device", id="deleted"),
    ],
)
def test_sequences_that_once_let_the_intruder_stay(takeover, owned, steps, way):
    """`owned`: what the owner added before the takeover; None if the intruder signed up with the owner's address."""
    machine = takeover()
    machine.take_over(owned is None, owned or [], way, [[], []])
    for side, step in map(str.split, steps):
        (machine.owner_does if side == "owner" else machine.intruder_does)(step)
    machine.teardown()
