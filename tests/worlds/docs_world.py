"""The world in which the curl examples of the documentation run: the access matrix's, and what the pages name."""

import re
from typing import NamedTuple

from tests.worlds.access_world import AccessWorld
from tests.worlds.docs_examples import Example, Request, parse_curl, split_commands
from tests.worlds.playback_steps import FEATURES

PLACEHOLDER_IDS = {
    "acc": "account",
    "chn": "channel",
    "col": "collection",
    "crn": "credit_note",
    "dev": "device",
    "epi": "episode",
    "gpu": "gift_purchase",
    "imp": "import",
    "inv": "invoice",
    "job": "failed_job",
    "key": "key",
    "mig": "migration",
    "opr": "operator",
    "pay": "payment",
    "pky": "passkey",
    "pme": "method",
    "pri": "other_price",
    "pro": "profile",
    "pyo": "payout",
    "rcv": "recovery",
    "ses": "session",
    "str": "stream",
    "sub": "subscription",
    "ttl": "title",
    "whe": "endpoint",
    "xtr": "extra",
}
"""The pages' ids by their prefix: `inv_…`, or one of another service."""
ID = re.compile(rf"\b({'|'.join(PLACEHOLDER_IDS)})_(?:…|[0-9a-v]{{26}})")
OPERATORS_IN_PERSON = ("/v1/admin/sessions", "/v1/admin/credentials")
TITLES = ("imdb:tt0111161", "imdb:tt0110413", "imdb:tt0145487", "house:intro")
FILES = {
    "titles.ndjson": '{"external_id": "house:new", "kind": "movie", "title": "A new film"}\n',
    "films.csv": "Film Name,Year\nGhostbusters,1984\n",
    "watchlist.csv": "Position,Const,Title,Title Type\n1,tt0087332,Ghostbusters,Movie\n",
    "/tmp/library.zip": b"PK\x05\x06" + bytes(18),
    "imdb.zip": b"PK\x05\x06" + bytes(18),
}
"""What curl sends after `@`. The archives are empty: an import reads its file later, as a job."""
ORIGINS = ("http://127.0.0.1:8000", "http://localhost", "https://video.example")


class Exchange(NamedTuple):
    """A curl command, the request that it makes, and the response to it."""

    command: str
    request: Request
    response: object


class DocsWorld(AccessWorld):
    """The access matrix's world with the plans, coupons and titles that the pages' examples name."""

    def _create_catalog_and_plans(self) -> dict:
        ids = super()._create_catalog_and_plans()
        for external_id in TITLES:
            title = {
                "external_id": external_id,
                "kind": "movie",
                "title": "Another film",
                "genres": ["drama", "horror"],
            }
            self._ok(self.admin.put(f"/v1/admin/titles/{external_id}", title))
        film = {"external_id": "film", "kind": "movie", "title": "A Film", "runtime_s": 6000, "age_rating": "US:G"}
        extras = [{"kind": "trailer", "title": "Trailer", "media": {"hls": "https://media.example/t/master.m3u8"}}]
        changed = {
            "extras": extras,
            "genres": ["drama"],
            "tags": ["gore"],
            "year": 2012,
            "media": {"hls": "https://media.example/f/m.m3u8"},
        }
        self._ok(self.admin.put("/v1/admin/titles/film", film | changed))
        prices = [{"currency": "EUR", "amount_minor": amount, "interval": "month"} for amount in (1299, 1699)]
        for code in ("basic", "premium"):
            plan = {"name": code.capitalize(), "features": FEATURES, "prices": prices}
            self._ok(self.admin.put(f"/v1/admin/plans/{code}", plan))
        for code, percent in (("TENTH", 10), ("WELCOME", 50), ("FIVE-OFF", 5)):
            self._ok(self.admin.put(f"/v1/admin/coupons/{code}", {"percent_off": percent, "duration": "forever"}))
        title = self._ok(self.admin.get(f"/v1/catalog/titles/{ids['title']}"))
        return ids | {"extra": title["extras"][0]["id"]}

    def run(self, example: Example) -> list[Exchange]:
        """Send the requests of a block's curl commands. The database is as at first before, and not afterwards."""
        self.restore()
        exchanges = []
        for command in split_commands(example.text):
            if "curl " in command:
                request = parse_curl(self.fill(command))
                if example.not_run and not request.url.startswith(ORIGINS):
                    continue
                exchanges.append(Exchange(command, request, self.send(request)))
        return exchanges

    def fill(self, command: str) -> str:
        """Return the command with this world's ids, and with an account's address wherever it does not sign up."""
        ids = self.shared_ids | self.ids_by_household["A"]

        def value(match: re.Match) -> str:
            before = command[: match.start()]
            if re.search(r"to_price_id\W+$", before):  # a price migration needs two prices
                return ids["price"]
            if "/subscriptions" in command and match[1] == "acc":  # another account takes it over, or gets one
                return ids["unverified_account"]
            if "/addons" in command and match[1] == "pri":
                return ids["other_addon"]
            return ids[PLACEHOLDER_IDS[match[1]]]

        command = ID.sub(value, command).replace("/addons/extra-stream", "/addons/another")
        for name, resource in (("$title", "title"), ("$price", "other_price")):
            command = command.replace(name, ids[resource])
        return command if "$api/accounts " in command else command.replace("ann@example.com", ids["email"])

    def send(self, request: Request):
        """Send the request; `$auth` is viewer A, `$operator` an admin."""
        headers = dict(request.headers)
        operator = "admin session" if request.path.startswith(OPERATORS_IN_PERSON) else "admin"
        for variable, principal in (("$auth", "A"), ("$operator", operator)):
            if headers.pop(variable, None) is not None:
                headers["Authorization"] = f"Bearer {self.tokens[principal]}"
        if request.body is not None:
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        origin = next((origin for origin in ORIGINS if request.url.startswith(origin)), None)
        assert origin, f"another host: mark the block as not run: {request.url}"
        path = request.url.removeprefix(origin)
        if "If-Match" in headers:  # the page's is that of another service
            authorization = {"Authorization": headers.get("Authorization", "")}
            headers["If-Match"] = self.client.get(path, headers=authorization).headers["ETag"]
        body = request.body
        if body and body.startswith("@"):
            body = FILES[body.removeprefix("@")]
        return self.client.open(path, method=request.method, headers=headers, data=body)
