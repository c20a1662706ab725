"""The built-in payment provider: deterministic, with a journal of its own, and failing on demand.

It writes its journal in transactions of its own, as a bank would. A call inside one of our transactions would block
forever on SQLite, so the tests catch it.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.gateways.payments.interface import (
    DECLINED,
    REQUIRES_ACTION,
    SUCCEEDED,
    UNKNOWN,
    ChargeRequest,
    Outcome,
    PaymentMethodRejected,
    ProviderCharge,
    ProviderMethod,
    ProviderRefund,
    SetupOutcome,
)
from streamsvc.models.subscriptions import SandboxCharge, SandboxPlannedOutcome
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_one, insert, new_id

TEST_TOKENS = {
    # token: last four digits, outcome of every charge
    "pm_card_visa": ("4242", None),
    "pm_card_chargeDeclined": ("0002", "generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": ("9995", "insufficient_funds"),
    "pm_card_chargeDeclinedStolenCard": ("9979", "stolen_card"),
    "pm_card_authenticationRequired": ("3184", "authentication_required"),
    "pm_card_chargeCustomerFail": ("0341", "generic_decline"),
}


class SandboxProvider:
    """The payment provider of the sandbox."""

    name = "sandbox"

    def create_customer(self, account_id: str, email: str, replaced: str | None = None) -> None:
        """Return None: the sandbox has no customers."""

    def update_customer(self, customer: str, email: str) -> None:
        """Do nothing: the sandbox has no customers."""

    def delete_customer(self, customer: str) -> None:
        """Do nothing: the sandbox has no customers."""

    def attach(self, token: str, account_id: str, customer: str | None) -> ProviderMethod:
        """Attach a test card; `pm_card_visa:7` has one fingerprint for all accounts, `pm_card_visa` one for each."""
        name, _, shared = token.partition(":")
        if name not in TEST_TOKENS:
            raise PaymentMethodRejected("invalid_token")
        fingerprint = hashlib.sha256(f"{name}:{shared or account_id}".encode()).hexdigest()[:16]
        reference = f"{name}/{new_id('pm')}"
        last4, decline = TEST_TOKENS[name]
        is_set_up = decline != "authentication_required"
        return ProviderMethod(reference, "card", "visa", last4, 12, clock.now().year + 3, fingerprint, is_set_up)

    def create_setup(self, account_id: str, customer: str | None) -> None:
        """Return None: test cards need no setup."""

    def retrieve_setup(self, reference: str) -> SetupOutcome:
        """Raise PaymentMethodRejected: the sandbox has no setups."""
        raise PaymentMethodRejected("resource_missing")

    def detach(self, reference: str) -> None:
        """Do nothing: the sandbox stores no methods."""

    def charge(self, request: ChargeRequest) -> Outcome:
        if (outcome := self.find_outcome(request.key)) is not None:
            update = sa.update(SandboxCharge).where(SandboxCharge.key == request.key)
            execute_write(update.values(requests=SandboxCharge.requests + 1))
            return outcome
        planned, details = self._pop_planned_outcome()
        if planned == "error":
            return Outcome(UNKNOWN)  # failed before anything happened
        decided = (DECLINED, "generic_decline") if planned == "decline" else _decide_outcome(request)
        if planned == "partial":
            captured_minor = details.get("amount_minor") or request.amount_minor // 2
            request = request._replace(amount_minor=min(request.amount_minor, captured_minor))
        self._insert_requests(_charge_row(request, *decided))
        return Outcome(UNKNOWN) if planned == "timeout" else self._find_outcomes([request.key])[request.key]

    def cancel_charge(self, reference: str) -> Outcome:
        waiting = sa.and_(SandboxCharge.id == reference, SandboxCharge.status == REQUIRES_ACTION)
        execute_write(sa.update(SandboxCharge).where(waiting).values(status=DECLINED, decline_code="abandoned"))
        row = fetch_one(sa.select(*SandboxCharge.__table__.c).where(SandboxCharge.id == reference))
        return _outcome_from_row(row) if row else Outcome(DECLINED, reference, "abandoned")

    def charge_batch(self, charges: Sequence[ChargeRequest]) -> list[Outcome]:
        """Charge many in one transaction, unless some were requested before or an outcome is planned."""
        keys = [charge.key for charge in charges]
        if self.list_planned_outcomes() or self._find_outcomes(keys):
            return [self.charge(charge) for charge in charges]
        self._insert_requests(*(_charge_row(charge, *_decide_outcome(charge)) for charge in charges))
        outcomes = self._find_outcomes(keys)
        return [outcomes[key] for key in keys]

    def refund(self, key: str, charge: str, amount_minor: int, currency: str) -> Outcome:
        self._insert_requests(_request_row(key, "refund", charge, amount_minor, currency, SUCCEEDED, None))
        return self._find_outcomes([key])[key]

    def find_outcome(self, key: str) -> Outcome | None:
        return self._find_outcomes([key]).get(key)

    def search_outcome(self, key: str, method: str, charge: str | None = None) -> Outcome | None:
        return self.find_outcome(key)

    def list_charges(self, since: datetime) -> list[ProviderCharge]:
        """List all charges, whenever they were made: the sandbox's clock can be moved."""
        return [
            ProviderCharge(row.id, row.status, row.amount_minor, row.currency, row.key, row.method, row.at)
            for row in self._list_journal("charge")
        ]

    def list_recent_refunds(self, since: datetime) -> list[ProviderRefund]:
        """List all refunds, whenever they were made."""
        return [
            ProviderRefund(row.id, row.status, row.amount_minor, row.currency, row.key, row.method)
            for row in self._list_journal("refund")
        ]

    def _list_journal(self, kind: str) -> list[sa.Row]:
        journal = sa.select(*SandboxCharge.__table__.c).where(SandboxCharge.kind == kind)
        return fetch_all(journal.order_by(SandboxCharge.id))

    def _find_outcomes(self, keys: Sequence[str]) -> dict[str, Outcome]:
        rows = fetch_all(sa.select(*SandboxCharge.__table__.c).where(SandboxCharge.key.in_(keys)))
        return {row.key: _outcome_from_row(row) for row in rows}

    def authenticate(self, key: str, approve: bool) -> Outcome | None:
        """Simulate the customer's decision on the bank's page."""
        values = {"status": SUCCEEDED} if approve else {"status": DECLINED, "decline_code": "authentication_failed"}
        waiting = sa.and_(SandboxCharge.key == key, SandboxCharge.status == REQUIRES_ACTION)
        execute_write(sa.update(SandboxCharge).where(waiting).values(**values))
        return self.find_outcome(key)

    def plan_outcome(self, what: str, amount_minor: int | None = None) -> None:
        """Plan the next charge: `decline`; `timeout`, charged but no response; `error`, it never arrives; or `partial`.

        `amount_minor`: how much of a `partial` charge is captured; default: half of it.
        """
        details = {"amount_minor": amount_minor} if amount_minor else {}
        execute_write(sa.insert(SandboxPlannedOutcome).values(id=new_id("nxt"), what=what, details=details))

    def list_planned_outcomes(self) -> list[str]:
        """Return the outcomes planned for the next charges, in order."""
        return [row.what for row in fetch_all(sa.select(SandboxPlannedOutcome.what).order_by(SandboxPlannedOutcome.id))]

    def list_requests(self) -> Sequence[sa.Row]:
        """Return the last 1,000 requests that arrived, newest first."""
        return fetch_all(sa.select(*SandboxCharge.__table__.c).order_by(SandboxCharge.id.desc()).limit(1000))

    def _pop_planned_outcome(self) -> tuple[str | None, dict]:
        first = sa.select(SandboxPlannedOutcome.id).order_by(SandboxPlannedOutcome.id).limit(1).scalar_subquery()
        row = fetch_one(
            sa.delete(SandboxPlannedOutcome)
            .where(SandboxPlannedOutcome.id == first)
            .returning(SandboxPlannedOutcome.what, SandboxPlannedOutcome.details)
        )
        return (row.what, row.details) if row else (None, {})

    def _insert_requests(self, *rows: dict) -> None:
        with db.engine.begin() as connection:
            connection.execute(insert(SandboxCharge).on_conflict_do_nothing(index_elements=["key"]), list(rows))


def _request_row(
    key: str, kind: str, method: str, amount_minor: int, currency: str, status: str, decline_code: str | None
) -> dict:
    row = {"id": new_id("ch"), "key": key, "kind": kind, "method": method, "currency": currency, "requests": 1}
    return row | {"amount_minor": amount_minor, "status": status, "decline_code": decline_code, "at": clock.now()}


def _charge_row(charge: ChargeRequest, status: str, decline_code: str | None) -> dict:
    amount = (charge.amount_minor, charge.currency)
    return _request_row(charge.key, "charge", charge.method, *amount, status, decline_code)


def _decide_outcome(charge: ChargeRequest) -> tuple[str, str | None]:
    """Return (status, decline code) of a charge to its method."""
    decline = TEST_TOKENS[charge.method.partition("/")[0]][1]
    if decline == "authentication_required" and charge.on_session:
        return REQUIRES_ACTION, None
    return (DECLINED, decline) if decline else (SUCCEEDED, None)


def _outcome_from_row(row: sa.Row) -> Outcome:
    needs_action = row.status == REQUIRES_ACTION
    action = {"type": "sandbox_authentication", "path": f"/v1/sandbox/payments/{row.key}/authentication"}
    return Outcome(row.status, row.id, row.decline_code, action if needs_action else None, row.amount_minor)
