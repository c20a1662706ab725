"""A stand-in for VIES, the European Commission's register of VAT numbers, that refuses what VIES refuses.

The path, the members and the error codes are those of the Commission's published REST interface, "VIES on the Web",
technical information and Swagger description (https://ec.europa.eu/taxation_customs/vies/#/technical-information), as
read on 2026-11-29 in the public clients that quote it: INVALID_INPUT for a country or a format that cannot be,
INVALID_REQUESTER_INFO for such a requester, and the failures in FAILURES, which say nothing about the number. VIES
reports a failure as `errorWrappers`, with HTTP 200 or with an error status, or as `userError`. Its own state is at
`/check-status`, as `vow.available`, beside the `availability` of each country.
"""

import json
from contextlib import contextmanager
from dataclasses import dataclass, field

from stdnum.eu import vat as eu_vat

from tests.worlds.local_server import LocalHandler, local_server

FAILURES = (
    "MS_UNAVAILABLE",
    "SERVICE_UNAVAILABLE",
    "TIMEOUT",
    "MS_MAX_CONCURRENT_REQ",
    "MS_MAX_CONCURRENT_REQ_TIME",
    "GLOBAL_MAX_CONCURRENT_REQ",
    "GLOBAL_MAX_CONCURRENT_REQ_TIME",
    "VAT_BLOCKED",
    "IP_BLOCKED",
)
PATH = "/rest-api/check-vat-number"
STATUS_PATH = "/rest-api/check-status"
MEMBERS = {"countryCode", "vatNumber", "requesterMemberStateCode", "requesterNumber"}


@dataclass
class ViesRegister:
    """The register: its numbers, the failure that it reports now, and what it was asked."""

    url: str
    numbers: set[str] = field(default_factory=set)
    failure: str | None = None
    failure_status: int = 200
    as_user_error: bool = False
    garbage: bytes | None = None
    requests: list[dict] = field(default_factory=list)
    is_available: bool = True

    def respond(self, body: dict) -> tuple[int, bytes | dict]:
        self.requests.append(body)
        number = body["countryCode"] + body["vatNumber"]
        requester = body["requesterMemberStateCode"] + body["requesterNumber"]
        if self.garbage is not None:
            return 200, self.garbage
        if self.failure and self.as_user_error:
            return self.failure_status, self.answer(body, False) | {"userError": self.failure}
        if self.failure:
            return self.failure_status, wrap_error(self.failure)
        if not eu_vat.is_valid(number):
            return 400, wrap_error("INVALID_INPUT")
        if not eu_vat.is_valid(requester):
            return 400, wrap_error("INVALID_REQUESTER_INFO")
        return 200, self.answer(body, number in self.numbers)

    def answer(self, body: dict, valid: bool) -> dict:
        identifier = f"WAPIAAAA{len(self.requests):08d}" if valid else ""
        return {
            "countryCode": body["countryCode"],
            "vatNumber": body["vatNumber"],
            "requestDate": "2026-01-15T12:00:00.000Z",
            "valid": valid,
            "requestIdentifier": identifier,
            "name": "ACME GMBH" if valid else "---",
            "address": "---",
        }


def wrap_error(code: str) -> dict:
    return {"actionSucceed": False, "errorWrappers": [{"error": code}]}


@contextmanager
def vies_register(*numbers: str):
    """A running register that knows these numbers."""

    class Handler(LocalHandler):
        def do_GET(self):
            if self.path != STATUS_PATH:
                self.respond(404)
                return
            countries = [{"countryCode": "AT", "availability": "Available"}]
            self.respond(200, {"vow": {"available": register.is_available}, "countries": countries})

        def do_POST(self):
            body = json.loads(self.read_body())
            if self.path != PATH or body.keys() != MEMBERS:
                self.respond(404)
                return
            self.respond(*register.respond(body))

    with local_server(Handler) as server:
        register = ViesRegister(f"{server.url}/rest-api", set(numbers))
        yield register
