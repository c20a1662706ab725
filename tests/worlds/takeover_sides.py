"""The two sides of a takeover over HTTP: an owner and an intruder, with what they hold and the mails that they get.

A step that the service refuses, or for which its side lacks something, changes nothing. No side ever reads the other's
mailbox.
"""

import re
from itertools import count

from streamsvc.rules.sign_in.device_codes import GRANT_TYPE
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from tests.worlds.authenticator import Authenticator
from tests.worlds.sessions_steps import Person, run_jobs

ACCESS_LINKS = ("new_device", "factor_added", "email_undo")
"""Kinds of mails with a link that revokes access."""
PATHS_BY_MAIL = {
    "new_device": "/v1/devices/disowned",
    "factor_added": "/v1/access-revocations",
    "email_undo": "/v1/email-verifications",
    "email_verification": "/v1/email-verifications",
    "email_change": "/v1/email-verifications",
    "password_reset": "/v1/password-resets",
    "account_restoration": "/v1/account-restorations",
    "account_recovery": "/v1/account-recoveries",
    "recovery_notice": "/v1/account-recovery-cancellations",
}
WITH_PASSWORD = ("password_reset", "account_recovery")
_numbers = count(1)


def new_password():
    return f"a long secret {next(_numbers)}"


class Side:
    """One side, at its own network address, with its own mailbox."""

    def __init__(self, app, operator, provider, email, address):
        self.app, self.operator, self.provider, self.email = app, operator, provider, email
        self.clock = app.extensions["clock"]
        self.client = app.test_client(use_cookies=False)
        self.client.environ_base["REMOTE_ADDR"] = address
        self.guesses = [email]
        """The addresses under which this side looks for the account."""
        self.passwords, self.tokens, self.passkeys, self.subjects = [], [], [], []
        self.device_codes, self.bindings, self.device_ids, self.trusts = [], [], [], []
        self.totp_secrets, self.recovery_codes = [], []
        self.begun_totp = None
        self.unfinished = []
        """Started registrations of passkeys and providers, as (token, path, body)."""
        self.other = None
        self.removed = set()
        """The kinds of credentials that this side removed; "all" if it used a link that may revoke any."""

    # requests

    def request(self, method, path, body=None, token=""):
        response = Person(self.client, self.email, token=token)._call(method, path, json=body)
        assert response.status_code < 500, (path, response.status_code, response.text)
        return response

    def call(self, method, path, body=None):
        """Call with the newest session that is live, reauthenticating first if need be; None if there is none."""
        for token in reversed(self.tokens):
            response = self.request(method, path, body, token)
            if response.status_code == 403 and response.json["code"] == "reauthentication_required":
                self.reauthenticate(token)
                response = self.request(method, path, body, token)
            if response.status_code != 401:
                response.used_token = token
                return response
        return None

    def get_json(self, path):
        response = self.call("get", path)
        return response.json if response is not None and response.status_code == 200 else None

    def current_code(self, secret):
        """A code of the authenticator that was not used yet."""
        self.clock.advance(seconds=STEP_S)
        return totp_code(secret, int(self.clock.at.timestamp()) // STEP_S)

    def reauthenticate(self, token):
        path = "/v1/sessions/current/reauthentication"
        if self.passwords and self.request("post", path, {"password": self.passwords[-1]}, token).status_code < 300:
            return
        if self.passkeys:
            options = self.request("post", f"{path}/passkey-options", token=token)
            if options.status_code == 200:
                self.request("post", path, {"credential": self.passkeys[-1].sign(options.json)}, token)

    # mails

    def mails(self, *kinds):
        """This side's mails of these kinds that have a link, as (kind, token), newest first."""
        run_jobs(self.app)
        items = self.operator.get(f"/v1/sandbox/emails?to={self.email}&limit=100").json["items"]
        links = [(m["kind"], re.search(r"token=([\w-]+)", m["text"])) for m in items]
        return [(kind, link[1]) for kind, link in links if link and (not kinds or kind in kinds)]

    def click(self, kind, token, path=None, **more):
        """Use the link of a mail; whether it worked."""
        body = {"token": token, **more}
        if kind in WITH_PASSWORD:
            body["password"] = new_password()
        headers = self.tokens[-1] if self.tokens and kind == "email_verification" else ""
        response = self.request("put", path or PATHS_BY_MAIL[kind], body, headers)
        if response.status_code == 204 and "password" in body:
            self.passwords.append(body["password"])
        return response.status_code == 204

    def click_newest(self, *kinds):
        return any(self.click(*mail) for mail in self.mails(*kinds)[:1])

    def click_access_link(self, which):
        """Use an access link as it is; which of them, counted from the newest."""
        for mail in self.mails(*ACCESS_LINKS)[which:][:1]:
            if self.click(*mail):
                self.removed.add("all")

    def click_newest_access_link(self):
        self.click_access_link(0)

    def click_oldest_access_link(self):
        self.click_access_link(-1)

    # signing in

    def attempt(self, path, body, is_patient=False):
        """Try to sign in, with a second factor if one is asked for; the response."""
        device = {"name": f"A device of {self.email}", "kind": "web"}
        known = {"id": self.device_ids[-1]} if self.device_ids else {}
        body = {**body, "device": device | known, "trust_device": True}
        if self.trusts and self.device_ids:
            body["device_trust"] = self.trusts[-1]
        response = self._post(path, body, is_patient)
        code = response.json.get("code")
        if code == "second_factor_required" and self.totp_secrets:
            response = self._post(path, body | {"totp": self.current_code(self.totp_secrets[-1])}, is_patient)
        if code == "second_factor_required" and response.status_code == 401 and self.recovery_codes:
            response = self._post(path, body | {"recovery_code": self.recovery_codes.pop()}, is_patient)
        if response.status_code == 201:
            self.tokens.append(response.json["token"])
            self.device_ids.append(response.json["session"]["device"]["id"])
            self.trusts += [trust["token"] for trust in [response.json.get("device_trust")] if trust]
        return response

    def _post(self, path, body, is_patient):
        response = self.request("post", path, body)
        if response.status_code == 429 and is_patient:
            self.clock.advance(seconds=int(response.headers["Retry-After"]) + 1)
            response = self.request("post", path, body)
        return response

    def sign_up(self, email=None):
        password = new_password()
        body = {"email": email or self.email, "password": password, "country": "DE"}
        response = self.request("post", "/v1/accounts", body)
        if response.status_code == 201:
            self.passwords.append(password)
            self.tokens.append(response.json["token"])
            self.device_ids.append(response.json["session"]["device"]["id"])
        return response

    def sign_in(self, is_patient=False):
        for password in self.passwords[-1:]:
            for email in self.guesses:
                response = self.attempt("/v1/sessions", {"email": email, "password": password}, is_patient)
                if response.status_code == 201:
                    return response
        return None

    def sign_in_by_passkey(self, passkey=None):
        for key in [passkey] if passkey else self.passkeys[-1:]:
            options = self.request("post", "/v1/sessions/passkey-options")
            return self.attempt("/v1/sessions/passkey", {"credential": key.sign(options.json)})

    def sign_in_by_provider(self, subject=None):
        for name in [subject] if subject else self.subjects[-1:]:
            started = self.request("post", "/v1/sessions/oidc-options", {"provider": "example"}).json
            body = self.consent(name, started["authorization_url"]) | {"binding": started["binding"]}
            return self.attempt("/v1/sessions/oidc", body)

    def request_magic_link(self):
        for email in self.guesses:
            response = self.request("post", "/v1/magic-links", {"email": email})
            if response.status_code == 202:
                self.bindings.append(response.json["binding"])

    def use_magic_link(self):
        for _, token in self.mails("magic_link")[:1]:
            for binding in self.bindings[-2:]:
                response = self.attempt("/v1/sessions/magic-link", {"token": token, "binding": binding})
                if response.status_code == 201:
                    return response
        return None

    def consent(self, subject, url):
        self.provider.user = {"sub": subject, "email": self.email, "email_verified": True}
        return self.provider.consent(url)

    def sign_in_on_the_others_device(self):
        """Sign in with the id of the other side's device, of which no mail is sent."""
        self.device_ids += self.other.device_ids[-1:]
        self.sign_in()

    # adding and removing ways to sign in

    def add_passkey(self):
        self.begin_passkey()
        self.finish_registrations()

    def begin_passkey(self):
        options = self.call("post", "/v1/passkeys/options")
        if options is not None and options.status_code == 200:
            key = Authenticator()
            key.kind = "passkey"
            self.unfinished.append((options.used_token, "/v1/passkeys", {"credential": key.make(options.json)}, key))

    def link_provider(self):
        self.begin_link()
        self.finish_registrations()

    def begin_link(self):
        response = self.call("post", "/v1/identities/options", {"provider": "example"})
        if response is not None and response.status_code == 200:
            subject = f"{self.email} {next(_numbers)}"
            body = self.consent(subject, response.json["authorization_url"])
            self.unfinished.append((response.used_token, "/v1/identities", body, subject))

    def finish_registrations(self):
        for token, path, body, held in self.unfinished:
            if path == "/v1/identities":
                self.provider.user = {"sub": held, "email": self.email, "email_verified": True}
            if self.request("post", path, body, token).status_code == 201:
                (self.passkeys if path == "/v1/passkeys" else self.subjects).append(held)
        self.unfinished = []

    def begin_totp(self):
        response = self.call("post", "/v1/account/totp")
        if response is not None and response.status_code == 201:
            self.begun_totp = response.json["secret"]

    def confirm_totp(self):
        if self.begun_totp:
            response = self.call("put", "/v1/account/totp", {"code": self.current_code(self.begun_totp)})
            if response is not None and response.status_code == 200:
                self.totp_secrets.append(self.begun_totp)
                self.recovery_codes = response.json["recovery_codes"]

    def add_totp(self):
        self.begin_totp()
        self.confirm_totp()

    def renew_recovery_codes(self):
        response = self.call("put", "/v1/account/totp/recovery-codes")
        if response is not None and response.status_code == 200:
            self.recovery_codes = response.json["recovery_codes"]
            self.removed.add("recovery codes")

    def remove_totp(self):
        response = self.call("delete", "/v1/account/totp")
        if response is not None and response.status_code == 204:
            self.removed.add("totp")

    def remove_others_credentials(self):
        """Remove the newest passkey and provider, and end all other sessions."""
        for kind in ("passkeys", "identities"):
            for item in (self.get_json(f"/v1/{kind}") or {"items": []})["items"][-1:]:
                if self.call("delete", f"/v1/{kind}/{item['id']}").status_code == 204:
                    self.removed.add(kind)
        self.call("delete", "/v1/sessions")

    def approve_tv(self):
        codes = self.request("post", "/v1/device-codes", {"device": {"name": "TV", "kind": "tv"}}).json
        if self.call("put", f"/v1/device-codes/{codes['user_code']}/decision", {"approve": True}) is not None:
            self.device_codes.append(codes["device_code"])

    def poll_tvs(self):
        """Poll for every approved television's token."""
        self.clock.advance(seconds=STEP_S)
        for device_code in self.device_codes:
            form = {"grant_type": GRANT_TYPE, "device_code": device_code}
            response = self.client.post("/v1/token", data=form)
            if response.status_code == 200:
                self.tokens.insert(0, response.json["access_token"])

    def add_tv(self):
        self.approve_tv()
        self.poll_tvs()

    # the account

    def change_password(self):
        body = {"current_password": (self.passwords or ["unknown"])[-1], "password": new_password()}
        response = self.call("put", "/v1/account/password", body)
        if response is not None and response.status_code == 204:
            self.passwords.append(body["password"])

    def request_email_change(self):
        """Ask for this side's own address, unless the account has it."""
        if (self.get_json("/v1/account") or {}).get("email") != self.email:
            self.call("put", "/v1/account/email", {"email": self.email})

    def confirm_email_change(self):
        self.click_newest("email_change")

    def change_email(self):
        self.request_email_change()
        self.confirm_email_change()

    def delete_account(self):
        self.call("delete", "/v1/account")

    def request_resets(self, times=1):
        for email in self.guesses:
            for _ in range(times):
                self.request("post", "/v1/password-resets", {"email": email})

    def request_many_resets(self):
        self.request_resets(6)

    def squat(self):
        """Sign up with the other side's address, in case that it is free."""
        self.request("post", "/v1/accounts", {"email": self.other.email, "password": new_password(), "country": "DE"})

    def confirm_sign_up(self):
        self.click_newest("email_verification")

    def reset(self):
        """Set a new password by the newest link, requesting one if there is none; whether it worked."""
        if self.click_newest("password_reset"):
            return True
        self.request_resets()
        return self.click_newest("password_reset")

    def cancel_recoveries(self):
        for item in (self.get_json("/v1/account/recoveries") or {"items": []})["items"]:
            self.call("delete", f"/v1/account/recoveries/{item['id']}")
        for mail in self.mails("recovery_notice"):
            self.click(*mail)
