"""The world of the authorization matrix: two households that own one of everything, and all other principals.

The matrix is tests/service/access_matrix.txt; its header explains the format.
"""

import json
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from streamsvc.models import Identity, Job, Passkey, Session
from streamsvc.rules.roles import ROLES
from streamsvc.storage.database import AUTOCOMMIT_BIND, db
from tests.worlds.databases import engine_without_constraints
from tests.worlds.operator_steps import enrolled
from tests.worlds.playback_steps import FEATURES
from tests.worlds.sessions_steps import Person, mailed_token, operator, run_jobs

MATRIX_FILE = Path(__file__).parent.parent / "service" / "access_matrix.txt"
REQUEST_ID = "the-same-for-all"
AUTOMATIC_METHODS = {"HEAD", "OPTIONS"}
"""Methods that werkzeug adds; they are guarded with their route."""
OWNED_RESOURCES = (
    "account",
    "profile",
    "kids_profile",
    "session",
    "device",
    "method",
    "subscription",
    "invoice",
    "credit_note",
    "gift_purchase",
    "stream",
    "recovery",
    "passkey",
    "identity",
)
"""What one household owns and no other may learn of. Each name is a placeholder in the matrix."""
PATH_VALUES = {
    "/docs/<name>": "swagger-ui.css",
    "/console/<name>": "app.js",
    "/storefront/<name>": "storefront.js",
    "/media/<name>": "demo/colour-bars/master.m3u8",
    "accounts/<account_id>": "{account}",
    "sessions/<session_id>": "{session}",
    "api-keys/<key_id>": "{key}",
    "operators/<operator_id>": "{operator}",
    "admin/sessions/<session_id>": "{operator_session}",
    "admin/channels/<external_id>": "news",
    "channels/<channel_id>": "{channel}",
    "admin/collections/<code>": "favourites",
    "catalog/collections/<collection_id>": "{collection}",
    "catalog-exports/<form>": "ndjson",
    "coupons/<code>": "SAVE",
    "subscriptions/<subscription_id>/coupons/<code>": "KEPT",
    "addons/<plan>": "extra",
    "price-migrations/<migration_id>": "{migration}",
    "referral-rewards/<currency>": "EUR",
    "coverage/<code>": "no_rating",
    "plans/<code>": "standard",
    "identities/<identity_id>": "{identity}",
    "imports/<import_id>": "{import}",
    "invoices/<invoice_id>": "{invoice}",
    "credit-notes/<credit_note_id>": "{credit_note}",
    "legal-entities/<code>": "acme",
    "subscriptions/<subscription_id>": "{subscription}",
    "tax-rates/<country>": "DE",
    "admin/streams/<stream_id>": "{stream}",
    "admin/titles/<external_id>": "film",
    "admin/people/<external_id>": "somebody",
    "episodes/<episode_id>": "{episode}",
    "people/<person_id>": "{person}",
    "titles/<title_id>": "{title}",
    "device-codes/<user_code>": "{user_code}",
    "devices/<device_id>": "{device}",
    "license/<drm_system>": "widevine",
    "exports/<name>": "accounts",
    "failed-jobs/<job_id>": "{failed_job}",
    "passkeys/<passkey_id>": "{passkey}",
    "recoveries/<recovery_id>": "{recovery}",
    "payment-methods/<method_id>": "{method}",
    "playback/<stream_id>": "{stream}",
    "profiles/<profile_id>": "{profile}",
    "continue-watching/<item_id>": "{title}",
    "history/<item_id>": "{title}",
    "next-up/<item_id>": "{title}",
    "progress/<item_id>": "{title}",
    "watched/<item_id>": "{title}",
    "ratings/<title_id>": "{title}",
    "watchlist/<title_id>": "{title}",
    "payments/<payment_id>": "{payment}",
    "gift-purchases/<purchase_id>": "{gift_purchase}",
    "payouts/<payout_id>": "{payout}",
    "webhook-deliveries/<delivery_id>": "{delivery}",
    "webhook-endpoints/<endpoint_id>": "{endpoint}",
}
"""Values of path parameters; the longest matching ending wins. A new kind of id needs a line here."""

PASSWORD = "seven red herons"
FILM = {
    "external_id": "film",
    "kind": "movie",
    "title": "A Film",
    "runtime_s": 6000,
    "age_rating": "US:G",
    "credits": [{"name": "Somebody", "role": "actor"}, {"name": "Another", "role": "actor", "person": "other"}],
}
CHANNEL = {"name": "News", "age_rating": "US:TV-G", "genres": ["news"]}
EPISODES = [{"number": number, "title": f"Part {number}", "runtime_s": 1500} for number in (1, 2)]
SERIES = {
    "external_id": "show",
    "kind": "series",
    "title": "A Show",
    "age_rating": "US:G",
    "seasons": [{"number": 1, "title": None, "episodes": EPISODES}],
}


@dataclass(frozen=True)
class Row:
    """One route and method: the request to send, with placeholders, and the status that each principal gets."""

    method: str
    rule: str
    statuses: tuple[str, ...]
    sends: str = "-"

    @property
    def key(self):
        return self.method, self.rule

    def path(self) -> str:
        """The route's path, with placeholders in place of its parameters."""

        def value(parameter):
            prefix = re.sub(r"<\w+:", "<", self.rule[: parameter.end()])
            matching = [ending for ending in PATH_VALUES if prefix.endswith(ending)]
            assert matching, f"tests/worlds/access_world.py: PATH_VALUES lacks a line for {prefix}"
            return PATH_VALUES[max(matching, key=len)]

        return re.sub(r"<[^>]+>", value, self.rule)

    def placeholders(self) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", self.path() + self.sends))


def load_access_matrix() -> tuple[list[str], list[Row]]:
    """Return the principals in the order of their columns, and the rows."""
    lines = [line for line in MATRIX_FILE.read_text().splitlines() if line and not line.startswith("#")]
    principals = lines[0].split()[2:-1]
    rows = []
    for line in lines[1:]:
        method, rule, *rest = line.split(maxsplit=2 + len(principals))
        assert len(rest) == len(principals) + 1, f"{MATRIX_FILE.name}: count the columns of {method} {rule}"
        rows.append(Row(method, rule, tuple(rest[:-1]), rest[-1]))
    return principals, rows


def list_routes(app) -> set[tuple[str, str]]:
    """Return each (method, rule) of the app."""
    rules = app.url_map.iter_rules()
    return {(method, rule.rule) for rule in rules for method in rule.methods - AUTOMATIC_METHODS}


def authorized_principal(row):
    """Return the principal that may call the route: A, an admin API key, or an admin's session."""
    if row.rule.startswith(("/v1/admin/sessions", "/v1/admin/credentials")):
        return "admin session"
    is_for_operators = row.rule.startswith(("/v1/admin", "/v1/sandbox")) and not row.rule.startswith(
        "/v1/sandbox/bank/"
    )
    return "admin" if is_for_operators else "A"


class AccessWorld:
    """All principals and resources of the matrix.

    `tokens` by principal; `staff` and `operator_ids` by role; `ids_by_household` and `shared_ids` are the values of
    placeholders.
    """

    @classmethod
    def for_app(cls, app):
        """Return the world of an app with an empty database: created over HTTP once, restored for each later test."""
        if app not in _worlds:
            _worlds[app] = cls(app)
        _worlds[app].restore()
        return _worlds[app]

    def __init__(self, app):
        self.app, self.client = app, app.test_client(use_cookies=False)
        self.admin = operator(app, "admin")
        self.tokens, self.staff, self.operator_ids = {"anonymous": None}, {}, {}
        self.shared_ids = self._create_catalog_and_plans()
        self.ids_by_household = {name: self._create_household(name) for name in ("A", "B")}
        self.shared_ids["payout"] = self._create_pending_payout(self.ids_by_household["B"]["account"])
        self._create_other_viewers()
        self._create_api_keys()
        self._create_operators()
        run_jobs(app)
        webhook = {"url": "https://example.com/hook", "kinds": ["invoice.issued"]}
        self.shared_ids["endpoint"] = self._ok(self.admin.post("/v1/admin/webhook-endpoints", webhook))["id"]
        now = app.extensions["clock"]()
        failed_job = Job(kind="test.unknown", payload={}, run_at=now, failed_at=now, attempts=12)
        self.shared_ids["failed_job"] = self._insert_row(failed_job)
        with app.app_context():
            self.snapshot = Snapshot()

    def _create_catalog_and_plans(self) -> dict:
        admin = self.admin
        titles = [self._ok(admin.put(f"/v1/admin/titles/{title['external_id']}", title)) for title in (FILM, SERIES)]
        film, show = titles[0]["id"], titles[1]["id"]
        self._ok(admin.put("/v1/admin/people/somebody", {"name": "Somebody"}))
        people = [credit["person_id"] for credit in self._ok(admin.get(f"/v1/catalog/titles/{film}"))["credits"]]
        prices = [{"currency": "EUR", "amount_minor": amount, "tax": "inclusive"} for amount in (999, 1999)]
        plan = self._ok(admin.put("/v1/admin/plans/standard", {"name": "S", "features": FEATURES, "prices": prices}))
        for coupon, duration in (("SAVE", "once"), ("KEPT", "forever")):
            self._ok(admin.put(f"/v1/admin/coupons/{coupon}", {"percent_off": 10, "duration": duration}))
        addons = {"name": "E", "features": FEATURES, "prices": prices[:1]}
        extra, another = (self._ok(admin.put(f"/v1/admin/plans/{code}", addons)) for code in ("extra", "another"))
        prices_moved = {"from_price_id": plan["prices"][1]["id"], "to_price_id": plan["prices"][0]["id"]}
        migration = self._ok(admin.post("/v1/admin/price-migrations", {**prices_moved, "effective": "2026-06-01"}))
        gift = {"currency": "EUR", "amount_minor": 500, "code": "GIFT-FOR-SOMEBODY"}
        self._ok(admin.post("/v1/admin/gift-codes", gift))
        self._ok(admin.put("/v1/admin/collections/favourites", {"title": "Favourites", "items": [film]}))
        entity = {"name": "Acme SARL", "country": "FR", "prefix": "FR", "countries": ["FR"]}
        self._ok(admin.put("/v1/admin/legal-entities/acme", entity))
        channel = self._ok(admin.put("/v1/admin/channels/news", CHANNEL))
        lines = json.dumps(FILM)
        headers = {"Authorization": f"Bearer {admin.token}", "Content-Type": "application/x-ndjson"}
        imported = self._ok(self.client.post("/v1/admin/imports", data=lines, headers=headers))
        run_jobs(self.app)
        return {
            "title": film,
            "channel": channel["id"],
            "episode": self._ok(admin.get(f"/v1/catalog/titles/{show}/episodes"))["items"][0]["id"],
            "person": people[0],
            "other_person": people[1],
            "collection": self._ok(admin.get("/v1/catalog/collections"))["items"][0]["id"],
            "import": imported["id"],
            "price": plan["prices"][0]["id"],
            "other_price": plan["prices"][1]["id"],
            "addon": extra["prices"][0]["id"],
            "other_addon": another["prices"][0]["id"],
            "migration": migration["id"],
            "user_code": self._ok(self.client.post("/v1/device-codes", json={"device": {"name": "TV", "kind": "tv"}}))[
                "user_code"
            ],
            "now": self.app.extensions["clock"]().isoformat(),
            "operator_session": "ose_made-up",
            "delivery": "whd_made-up",
        }

    def _create_household(self, name) -> dict:
        """Create a viewer with a verified address, two profiles, three sessions, a subscription, a stream, a history.

        Returns the ids by placeholder.
        """
        email = f"{name.lower()}@example.com"
        viewer = Person(self.client, email, PASSWORD)
        signed_up = self._ok(viewer.sign_up(device={"name": f"{name} at home", "kind": "tv"}))
        self._ok(viewer.put("/v1/email-verifications", {"token": self._verification_token(email)}))
        kids = self._ok(viewer.post("/v1/profiles", {"name": f"{name}'s kids", "kids": True}))["id"]
        others = [viewer.again() for _ in range(3)]
        sessions = [self._ok(other.sign_in(device={"name": f"{name} away", "kind": "phone"})) for other in others]
        method = self._ok(viewer.post("/v1/payment-methods", {"token": "pm_card_visa"}))["id"]
        extras = {"coupons": ["KEPT"], "addons": [self.shared_ids["addon"]]}
        order, key = {"price_id": self.shared_ids["price"], **extras}, {"Idempotency-Key": f"order of {name}"}
        subscription = self._ok(viewer.post("/v1/subscriptions", order, headers=key))
        stream = self._ok(viewer.post("/v1/playback", {"item_id": self.shared_ids["title"]}))["stream_id"]
        account, profile, film = signed_up["account"]["id"], signed_up["profile"]["id"], self.shared_ids["title"]
        progress = {"position_s": 600, "duration_s": 6000, "at": self.shared_ids["now"]}
        self._ok(viewer.put(f"/v1/profiles/{profile}/progress/{film}", progress))
        self._ok(viewer.put(f"/v1/profiles/{profile}/watchlist/{film}"))
        self._ok(viewer.put(f"/v1/profiles/{profile}/ratings/{film}", {"rating": "up"}))
        self._ok(others[1].patch("/v1/sessions/current", {"profile_id": kids}))
        self._expire_recent_authentication(sessions[1]["session"]["id"])
        self.tokens[name] = viewer.token
        if name == "A":
            self.tokens["kids"], self.tokens["ended"] = others[1].token, others[2].token
            self.shared_ids["payment"] = self._find_payment_id()
        self._ok(others[2].delete("/v1/sessions/current"))
        return {
            "account": account,
            "email": email,
            "profile": profile,
            "kids_profile": kids,
            "session": sessions[0]["session"]["id"],
            "device": sessions[0]["session"]["device"]["id"],
            "home": signed_up["session"]["device"]["id"],
            "method": method,
            "subscription": subscription["id"],
            "invoice": subscription["latest_invoice_id"],
            "credit_note": self._create_credit_note(subscription["latest_invoice_id"]),
            "gift_purchase": self._buy_gift(viewer, name),
            "stream": stream,
            "recovery": self._start_recovery(account),
            "passkey": self._insert_row(
                Passkey(account_id=account, credential_id=f"of {name}", public_key=b"", sign_count=0, name="Key")
            ),
            "identity": self._insert_row(
                Identity(account_id=account, provider="acme", issuer="https://acme.example", subject=name)
            ),
        }

    def _start_recovery(self, account_id):
        path = f"/v1/admin/accounts/{account_id}/recoveries"
        return self._ok(self.admin.post(path, {"reason": "cannot sign in"}))["id"]

    def _create_credit_note(self, invoice_id):
        path = f"/v1/admin/invoices/{invoice_id}/credit-notes"
        return self._ok(self.admin.post(path, {"amount_minor": 1, "reason": "sorry"}))["id"]

    def _expire_recent_authentication(self, session_id):
        """Move the session's last authentication an hour into the past."""
        with self.app.app_context():
            db.session.get(Session, session_id).authenticated_at -= timedelta(hours=1)
            db.session.commit()

    def _buy_gift(self, viewer, name):
        """Buy a gift that will be delivered in a month. Returns the id of the purchase."""
        day = (self.app.extensions["clock"]() + timedelta(days=30)).date().isoformat()
        body = {"currency": "EUR", "amount_minor": 1000, "recipient_email": f"friend-of-{name}@example.org"}
        headers = {"Idempotency-Key": f"gift of {name}"}
        return self._ok(viewer.post("/v1/gift-purchases", {**body, "deliver_on": day}, headers=headers))["id"]

    def _create_pending_payout(self, account_id):
        """Pay out what a credit note has brought, by a bank transfer that is still to be made. Returns its id."""
        body = {"currency": "EUR", "method": "bank_transfer", "reason": "moving away"}
        headers = {"Idempotency-Key": f"payout to {account_id}"}
        return self._ok(self.admin.post(f"/v1/admin/accounts/{account_id}/payouts", body, headers=headers))["id"]

    def _insert_row(self, row):
        """Insert a row that only a browser or another service could create over HTTP. Returns its id."""
        row.created_at = self.app.extensions["clock"]()
        with self.app.app_context():
            db.session.add(row)
            db.session.commit()
            return row.id

    def _verification_token(self, email):
        return mailed_token(self.app, email, "email_verification")

    def _find_payment_id(self):
        return next(row["id"] for row in self._list_rows("payments"))

    def _list_rows(self, name):
        with self.app.app_context():
            return [row._mapping for row in db.session.execute(sa.select(db.metadata.tables[name]))]

    def _create_other_viewers(self):
        """Create a viewer who never verified their address, one whose account an operator disabled, and a guest."""
        for name in ("unverified", "disabled"):
            person = Person(self.client, f"{name}@example.com", PASSWORD)
            account = self._ok(person.sign_up())["account"]
            self.tokens[name] = person.token
            self.shared_ids[f"{name}_account"] = account["id"]
        self._ok(self.admin.patch(f"/v1/admin/accounts/{account['id']}", {"status": "disabled"}))
        self.tokens["guest"] = self._ok(self.client.post("/v1/guests", json={"country": "DE"}))["token"]

    def _create_api_keys(self):
        for scope in ("admin", "billing", "catalog", "support", "playback"):
            self.tokens[scope] = operator(self.app, scope).token
        new_key = {"name": "to be seen", "scopes": ["catalog"]}
        self.shared_ids["key"] = self._ok(self.admin.post("/v1/admin/api-keys", new_key))["id"]
        revoked = self._ok(self.admin.post("/v1/admin/api-keys", {"name": "revoked", "scopes": ["admin"]}))
        self._ok(self.admin.delete(f"/v1/admin/api-keys/{revoked['id']}"))
        self.tokens["revoked"] = revoked["token"]

    def _create_operators(self):
        """Create the principals `{role} session` for each role and `impersonation` of A; and one operator more."""
        for role in ROLES:
            person = enrolled(self.app, role)
            self._ok(person.try_to_sign_in(totp=person.code(1)))
            self.tokens[f"{role} session"], self.operator_ids[role] = person.token, person.id
            self.staff[role] = person
        invited = {"email": "seen@example.com", "name": "To be seen", "role": "catalog"}
        self.shared_ids["operator"] = self._ok(self.admin.post("/v1/admin/operators", invited))["id"]
        path = f"/v1/admin/accounts/{self.ids_by_household['A']['account']}/impersonations"
        self.tokens["impersonation"] = self._ok(self.admin.post(path, {"reason": "to read everything"}))["token"]

    @staticmethod
    def _ok(response):
        """Return the JSON of a successful response."""
        assert response.status_code < 300, response.text
        return response.get_json(silent=True) or {}

    def send_request(self, row: Row, principal: str, ids: dict | None = None, headers: dict | None = None):
        """Send the row's request as this principal, about A's resources except for those in `ids`."""
        values = self.shared_ids | self.ids_by_household["A"] | (ids or {})
        headers = {"X-Request-Id": REQUEST_ID, "Idempotency-Key": secrets.token_hex(8)} | (headers or {})
        if token := self.tokens[principal]:
            headers["Authorization"] = f"Bearer {token}"
        path, arguments = fill_placeholders(row.path(), values), {}
        for part in [] if row.sends == "-" else row.sends.split(" | "):
            arguments |= _request_arguments(part, values)
        path += "?" + arguments.pop("query") if "query" in arguments else ""
        headers |= arguments.pop("headers", {})
        response = self.client.open(path, method=row.method, headers=headers, **arguments)
        response.get_data()
        response.close()
        return response

    def restore(self):
        """Restore the database. Returns the names of the tables that had changed."""
        with self.app.app_context():
            return self.snapshot.restore()


_worlds: WeakKeyDictionary = WeakKeyDictionary()


def _request_arguments(part: str, values: dict) -> dict:
    """Return the arguments of the test client for one part of a row's request."""
    kind, _, text = part.partition(" ")
    if part.startswith("?"):
        return {"query": fill_placeholders(part[1:], values)}
    text = fill_placeholders(text, values)
    if kind == "json":
        return {"json": json.loads(text)}
    if kind == "form":
        return {"data": json.loads(text)}
    media_types = {"ndjson": "application/x-ndjson", "octets": "application/octet-stream"}
    assert kind in media_types, f"{MATRIX_FILE.name}: unknown kind of request {kind}"
    return {"data": text, "headers": {"Content-Type": media_types[kind]}}


def fill_placeholders(text: str, values: dict) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), text)


def make_unknown_id(resource_id: str) -> str:
    """Return an id of the same kind that does not exist."""
    return resource_id.partition("_")[0] + "_" + secrets.token_hex(13)


@cache
def _select_statements() -> list[tuple[sa.Table, str]]:
    """Return each table with the statement that selects all its rows."""
    return [(table, str(sa.select(table))) for table in db.metadata.sorted_tables]


class Snapshot:
    """All rows of all tables, to restore them later from tables named `snapshot_…`.

    The database makes the copies: a value that passes through Python may change, as a JSON null does.
    """

    def __init__(self):
        self.rows = self._read_rows()
        with db.engines[AUTOCOMMIT_BIND].connect() as connection:
            for table in db.metadata.sorted_tables:
                connection.exec_driver_sql(f"CREATE TABLE snapshot_{table.name} AS SELECT * FROM {table.name}")  # noqa: S608

    @staticmethod
    def _read_rows() -> dict:
        """Return the rows as the driver does, which is fast and enough to compare."""
        with db.engines[AUTOCOMMIT_BIND].connect() as connection:
            cursor = connection.connection.cursor()
            if db.engine.dialect.name == "postgresql":  # in one round trip
                cursor.execute("; ".join(text for _, text in _select_statements()))
                return {table: (cursor.fetchall(), cursor.nextset())[0] for table, _ in _select_statements()}
            return {table: cursor.execute(text).fetchall() for table, text in _select_statements()}

    def restore(self) -> list[str]:
        """Restore the rows with constraints disabled. Returns the names of the tables that had changed."""
        now, changed = self._read_rows(), []
        for table, rows in self.rows.items():
            if rows != now[table] and sorted(map(repr, rows)) != sorted(map(repr, now[table])):
                changed.append(table)
        if changed:
            self._restore_tables(changed)
        return [table.name for table in changed]

    def _restore_tables(self, tables):
        statements = "; ".join(_restore_statements(table) for table in tables)
        if db.engine.dialect.name == "postgresql":
            with engine_without_constraints(db.engine.url).connect() as connection:
                connection.exec_driver_sql(f"BEGIN; {statements}; COMMIT")
        else:
            with db.engines[AUTOCOMMIT_BIND].connect() as connection:
                script = f"PRAGMA foreign_keys=OFF; BEGIN; {statements}; COMMIT; PRAGMA foreign_keys=ON"
                connection.connection.executescript(script)


@cache
def _restore_statements(table) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.c)
    return f"DELETE FROM {table.name}; INSERT INTO {table.name} ({columns}) SELECT {columns} FROM snapshot_{table.name}"  # noqa: S608
