"""The world of the authorisation matrix: two households that own one of everything, and everybody else who may ask.

The table itself is tests/service/access_matrix.txt; its head says how to read it.
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

from streamsvc.models import Identity, Passkey, Session
from streamsvc.rules.roles import ROLES
from streamsvc.storage.database import AUTOCOMMIT_BIND, db
from tests.worlds.operator_steps import enrolled
from tests.worlds.playback_steps import FEATURES
from tests.worlds.sessions_steps import Person, mailed_token, operator, run_jobs

TABLE = Path(__file__).parent.parent / "service" / "access_matrix.txt"
REQUEST_ID = "the-same-for-all"
METHODS_OF_ITS_OWN = {"HEAD", "OPTIONS"}
"""Those that werkzeug adds; they are guarded with their route."""
OWNED = (
    "account",
    "profile",
    "kids_profile",
    "session",
    "device",
    "method",
    "subscription",
    "invoice",
    "stream",
    "passkey",
    "identity",
)
"""What one household has and no other may learn of. Each name is a placeholder in the table."""
PATH_VALUES = {
    "/docs/<name>": "swagger-ui.css",
    "/storefront/<name>": "storefront.js",
    "accounts/<account_id>": "{account}",
    "sessions/<session_id>": "{session}",
    "api-keys/<key_id>": "{key}",
    "operators/<operator_id>": "{operator}",
    "admin/sessions/<session_id>": "ose_made-up",
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
    "subscriptions/<subscription_id>": "{subscription}",
    "tax-rates/<country>": "DE",
    "admin/streams/<stream_id>": "{stream}",
    "admin/titles/<external_id>": "film",
    "episodes/<episode_id>": "{episode}",
    "people/<person_id>": "{person}",
    "titles/<title_id>": "{title}",
    "device-codes/<user_code>": "{user_code}",
    "devices/<device_id>": "{device}",
    "exports/<name>": "accounts",
    "passkeys/<passkey_id>": "{passkey}",
    "payment-methods/<method_id>": "{method}",
    "playback/<stream_id>": "{stream}",
    "profiles/<profile_id>": "{profile}",
    "continue-watching/<item_id>": "{title}",
    "history/<item_id>": "{title}",
    "progress/<item_id>": "{title}",
    "ratings/<title_id>": "{title}",
    "watchlist/<title_id>": "{title}",
    "payments/<payment_id>": "{payment}",
    "webhook-deliveries/<delivery_id>": "whd_made-up",
    "webhook-endpoints/<endpoint_id>": "{endpoint}",
}
"""What stands in a path's gaps; the longest ending that fits counts. A new kind of id needs its line here."""

PASSWORD = "seven red herons"
FILM = {
    "external_id": "film",
    "kind": "movie",
    "title": "A Film",
    "runtime_s": 6000,
    "age_rating": "US:G",
    "credits": [{"name": "Somebody", "role": "actor"}],
}
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
    """One route and method: what is sent (with placeholders), and the status that each principal hears."""

    method: str
    rule: str
    statuses: tuple[str, ...]
    sends: str = "-"

    @property
    def key(self):
        return self.method, self.rule

    def path(self) -> str:
        def value(gap):
            told = re.sub(r"<\w+:", "<", self.rule[: gap.end()])
            fitting = [ending for ending in PATH_VALUES if told.endswith(ending)]
            assert fitting, f"tests/worlds/access_world.py: PATH_VALUES lacks a line for {told}"
            return PATH_VALUES[max(fitting, key=len)]

        return re.sub(r"<[^>]+>", value, self.rule)

    def placeholders(self) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", self.path() + self.sends))


def table() -> tuple[list[str], list[Row]]:
    """The principals, in the order of their columns, and the rows."""
    lines = [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    principals = lines[0].split()[2:-1]
    rows = []
    for line in lines[1:]:
        method, rule, *rest = line.split(maxsplit=2 + len(principals))
        assert len(rest) == len(principals) + 1, f"{TABLE.name}: count the columns of {method} {rule}"
        rows.append(Row(method, rule, tuple(rest[:-1]), rest[-1]))
    return principals, rows


def routes(app) -> set[tuple[str, str]]:
    """Each (method, rule) that the app answers."""
    rules = app.url_map.iter_rules()
    return {(method, rule.rule) for rule in rules for method in rule.methods - METHODS_OF_ITS_OWN}


def who_gets_in(row):
    """The principal for whom the route opens, of those that stand for everybody else."""
    if row.rule.startswith(("/v1/admin/sessions", "/v1/admin/credentials")):
        return "admin in person"
    return "admin" if row.rule.startswith(("/v1/admin", "/v1/sandbox")) else "A"


class World:
    """Everybody and everything.

    `tokens` by principal; `people` the operators' ids by role; `things` what placeholders stand for, by household.
    """

    @classmethod
    def of(cls, app):
        """The world of an app whose database is empty: made over HTTP once, and put back for whoever comes later."""
        if app not in _made:
            _made[app] = cls(app)
        _made[app].restore()
        return _made[app]

    def __init__(self, app):
        self.app, self.client = app, app.test_client(use_cookies=False)
        self.admin = operator(app, "admin")
        self.tokens, self.people = {"anonymous": None}, {}
        self.neutral = self._catalogue_and_plans()
        self.things = {name: self._household(name) for name in ("A", "B")}
        self._people_beside()
        self._keys()
        self._operators()
        run_jobs(app)
        asked = {"url": "https://example.com/told", "kinds": ["invoice.paid"]}
        self.neutral["endpoint"] = self._ok(self.admin.post("/v1/admin/webhook-endpoints", asked))["id"]
        with app.app_context():
            self.kept = Snapshot()

    def _catalogue_and_plans(self) -> dict:
        admin = self.admin
        titles = [self._ok(admin.put(f"/v1/admin/titles/{r['external_id']}", r)) for r in (FILM, SERIES)]
        film, show = titles[0]["id"], titles[1]["id"]
        prices = [{"currency": "EUR", "amount_minor": amount, "tax": "inclusive"} for amount in (999, 1999)]
        plan = self._ok(admin.put("/v1/admin/plans/standard", {"name": "S", "features": FEATURES, "prices": prices}))
        for coupon, duration in (("SAVE", "once"), ("KEPT", "forever")):
            self._ok(admin.put(f"/v1/admin/coupons/{coupon}", {"percent_off": 10, "duration": duration}))
        addons = {"name": "E", "features": FEATURES, "prices": prices[:1]}
        extra, another = (self._ok(admin.put(f"/v1/admin/plans/{code}", addons)) for code in ("extra", "another"))
        moved = {"from_price_id": plan["prices"][1]["id"], "to_price_id": plan["prices"][0]["id"]}
        migration = self._ok(admin.post("/v1/admin/price-migrations", {**moved, "effective": "2026-06-01"}))
        gift = {"currency": "EUR", "amount_minor": 500, "code": "GIFT-FOR-SOMEBODY"}
        self._ok(admin.post("/v1/admin/gift-codes", gift))
        self._ok(admin.put("/v1/admin/collections/favourites", {"title": "Favourites", "items": [film]}))
        lines = json.dumps(FILM)
        headers = {"Authorization": f"Bearer {admin.token}", "Content-Type": "application/x-ndjson"}
        imported = self._ok(self.client.post("/v1/admin/imports", data=lines, headers=headers))
        run_jobs(self.app)
        return {
            "title": film,
            "episode": self._ok(admin.get(f"/v1/catalog/titles/{show}/episodes"))["items"][0]["id"],
            "person": self._ok(admin.get(f"/v1/catalog/titles/{film}"))["credits"][0]["person_id"],
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
        }

    def _household(self, name) -> dict:
        """Somebody with a confirmed address, two profiles, three sessions, a subscription, a stream, a past."""
        email = f"{name.lower()}@example.com"
        me = Person(self.client, email, PASSWORD)
        told = self._ok(me.sign_up(device={"name": f"{name} at home", "kind": "tv"}))
        self._ok(self.client.put("/v1/email-verifications", json={"token": self._mailed(email)}))
        kids = self._ok(me.post("/v1/profiles", {"name": f"{name}'s kids", "kids": True}))["id"]
        others = [me.again() for _ in range(3)]
        sessions = [self._ok(other.sign_in(device={"name": f"{name} away", "kind": "phone"})) for other in others]
        method = self._ok(me.post("/v1/payment-methods", {"token": "pm_card_visa"}))["id"]
        extras = {"coupons": ["KEPT"], "addons": [self.neutral["addon"]]}
        order, key = {"price_id": self.neutral["price"], **extras}, {"Idempotency-Key": f"order of {name}"}
        subscription = self._ok(me.post("/v1/subscriptions", order, headers=key))
        stream = self._ok(me.post("/v1/playback", {"item_id": self.neutral["title"]}))["stream_id"]
        account, profile, film = told["account"]["id"], told["profile"]["id"], self.neutral["title"]
        seen = {"position_s": 600, "duration_s": 6000, "at": self.neutral["now"]}
        self._ok(me.put(f"/v1/profiles/{profile}/progress/{film}", seen))
        self._ok(me.put(f"/v1/profiles/{profile}/watchlist/{film}"))
        self._ok(me.put(f"/v1/profiles/{profile}/ratings/{film}", {"rating": "up"}))
        self._ok(others[1].patch("/v1/sessions/current", {"profile_id": kids}))
        self._age(sessions[1]["session"]["id"])
        self.tokens[name] = me.token
        if name == "A":
            self.tokens["kids"], self.tokens["ended"] = others[1].token, others[2].token
            self.neutral["payment"] = self._payment()
        self._ok(others[2].delete("/v1/sessions/current"))
        return {
            "account": account,
            "email": email,
            "profile": profile,
            "kids_profile": kids,
            "session": sessions[0]["session"]["id"],
            "device": sessions[0]["session"]["device"]["id"],
            "method": method,
            "subscription": subscription["id"],
            "invoice": subscription["latest_invoice_id"],
            "stream": stream,
            "passkey": self._kept(
                Passkey(account_id=account, credential_id=f"of {name}", public_key=b"", sign_count=0, name="Key")
            ),
            "identity": self._kept(
                Identity(account_id=account, provider="acme", issuer="https://acme.example", subject=name)
            ),
        }

    def _age(self, session_id):
        """Its last proof is long ago."""
        with self.app.app_context():
            db.session.get(Session, session_id).authenticated_at -= timedelta(hours=1)
            db.session.commit()

    def _kept(self, row):
        """A row that only a browser, or another service, could make over HTTP; its id."""
        row.created_at = self.app.extensions["clock"]()
        with self.app.app_context():
            db.session.add(row)
            db.session.commit()
            return row.id

    def _mailed(self, email):
        return mailed_token(self.app, email, "email_verification")

    def _payment(self):
        return next(row["id"] for row in self._rows("payments"))

    def _rows(self, name):
        with self.app.app_context():
            return [row._mapping for row in db.session.execute(sa.select(db.metadata.tables[name]))]

    def _people_beside(self):
        """Somebody who never confirmed, and somebody whom an operator disabled."""
        for name in ("unverified", "disabled"):
            person = Person(self.client, f"{name}@example.com", PASSWORD)
            told = self._ok(person.sign_up())
            self.tokens[name] = person.token
        self._ok(self.admin.patch(f"/v1/admin/accounts/{told['account']['id']}", {"status": "disabled"}))

    def _keys(self):
        for scope in ("admin", "billing", "catalog", "support", "playback"):
            self.tokens[scope] = operator(self.app, scope).token
        asked = {"name": "to be seen", "scopes": ["catalog"]}
        self.neutral["key"] = self._ok(self.admin.post("/v1/admin/api-keys", asked))["id"]
        gone = self._ok(self.admin.post("/v1/admin/api-keys", {"name": "gone", "scopes": ["admin"]}))
        self._ok(self.admin.delete(f"/v1/admin/api-keys/{gone['id']}"))
        self.tokens["revoked"] = gone["token"]

    def _operators(self):
        """A person of each role, `{role} in person`, one to be seen, and support that looks on in A's place."""
        for role in ROLES:
            person = enrolled(self.app, role)
            self._ok(person.try_to_sign_in(totp=person.code(1)))
            self.tokens[f"{role} in person"], self.people[role] = person.token, person.id
        asked = {"email": "seen@example.com", "name": "To be seen", "role": "catalog"}
        self.neutral["operator"] = self._ok(self.admin.post("/v1/admin/operators", asked))["id"]
        path = f"/v1/admin/accounts/{self.things['A']['account']}/impersonations"
        self.tokens["looking on"] = self._ok(self.admin.post(path, {"reason": "a look at everything"}))["token"]

    @staticmethod
    def _ok(answer):
        assert answer.status_code < 300, answer.text
        return answer.get_json(silent=True) or {}

    def ask(self, row: Row, principal: str, things: dict | None = None):
        """Send the row's request as this principal, about A's things unless told otherwise."""
        values = self.neutral | self.things["A"] | (things or {})
        headers = {"X-Request-Id": REQUEST_ID, "Idempotency-Key": secrets.token_hex(8)}
        if token := self.tokens[principal]:
            headers["Authorization"] = f"Bearer {token}"
        path, sent = filled(row.path(), values), {}
        for part in [] if row.sends == "-" else row.sends.split(" | "):
            sent |= _sent(part, values)
        path += "?" + sent.pop("query") if "query" in sent else ""
        answer = self.client.open(path, method=row.method, headers=headers | sent.pop("headers", {}), **sent)
        answer.get_data()
        answer.close()
        return answer

    def restore(self):
        """Put the database back to how it was before anybody asked; the names of the tables that had changed."""
        with self.app.app_context():
            return self.kept.restore()


_made: WeakKeyDictionary = WeakKeyDictionary()


def _sent(part: str, values: dict) -> dict:
    kind, _, text = part.partition(" ")
    if part.startswith("?"):
        return {"query": filled(part[1:], values)}
    text = filled(text, values)
    if kind == "json":
        return {"json": json.loads(text)}
    if kind == "form":
        return {"data": json.loads(text)}
    assert kind == "ndjson", f"{TABLE.name}: {kind} is no way to send anything"
    return {"data": text, "headers": {"Content-Type": "application/x-ndjson"}}


def filled(text: str, values: dict) -> str:
    return re.sub(r"\{(\w+)\}", lambda gap: str(values[gap[1]]), text)


def missing(thing_id: str) -> str:
    """An id of the same kind that nobody has."""
    return thing_id.partition("_")[0] + "_" + secrets.token_hex(13)


@cache
def _everything() -> list[tuple[sa.Table, str]]:
    """What asks for all rows of each table."""
    return [(table, str(sa.select(table))) for table in db.metadata.sorted_tables]


class Snapshot:
    """Every row of every table as the database had them; `kept_` and its name is the copy from which each is put back.

    The database copies by itself: whatever comes here and goes back might not be the same, as a JSON null is not.
    """

    def __init__(self):
        self.plain = self._plain()
        with db.engines[AUTOCOMMIT_BIND].connect() as connection:
            for table in db.metadata.sorted_tables:
                connection.exec_driver_sql(f"CREATE TABLE kept_{table.name} AS SELECT * FROM {table.name}")  # noqa: S608

    @staticmethod
    def _plain() -> dict:
        """The rows as the driver gives them, which is quick and enough to compare."""
        with db.engines[AUTOCOMMIT_BIND].connect() as connection:
            cursor = connection.connection.cursor()
            if db.engine.dialect.name == "postgresql":  # all at once: each question more would be a way there and back
                cursor.execute("; ".join(text for _, text in _everything()))
                return {table: (cursor.fetchall(), cursor.nextset())[0] for table, _ in _everything()}
            return {table: cursor.execute(text).fetchall() for table, text in _everything()}

    def restore(self) -> list[str]:
        """Make the tables hold these rows again, constraints asleep; the names of those that had changed."""
        now, changed = self._plain(), []
        for table, rows in self.plain.items():
            if rows != now[table] and sorted(map(repr, rows)) != sorted(map(repr, now[table])):
                changed.append(table)
        if changed:
            self._put_back(changed)
        return [table.name for table in changed]

    def _put_back(self, tables):
        statements = "; ".join(_put_back(table) for table in tables)
        with db.engines[AUTOCOMMIT_BIND].connect() as connection:
            raw = connection.connection
            if db.engine.dialect.name == "postgresql":
                raw.cursor().execute(
                    f"SET session_replication_role = replica; {statements}; RESET session_replication_role"
                )
            else:
                raw.executescript(f"PRAGMA foreign_keys=OFF; BEGIN; {statements}; COMMIT; PRAGMA foreign_keys=ON")


@cache
def _put_back(table) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.c)
    return f"DELETE FROM {table.name}; INSERT INTO {table.name} ({columns}) SELECT {columns} FROM kept_{table.name}"  # noqa: S608
