"""Payouts of account credit."""

from typing import Any

import sqlalchemy as sa
from flask import Response

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import PAYOUT
from streamsvc.blueprints.admin.reports import csv_response
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models.subscriptions import Payout
from streamsvc.operations.billing.payouts import creating
from streamsvc.operations.outbox import audit
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.rules.billing.inputs import PayoutInput, PayoutsInput
from streamsvc.rules.refusals.billing import CreditNotPaidIn, WrongState
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.payouts import PayoutIn, PayoutOut, PayoutsQuery, PayoutUpdateIn
from streamsvc.schemas.base import page_of
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db

bp = Blueprint("admin payouts", __name__, url_prefix="/v1/admin", description="Pay out account credit.")
MAX_CSV_ROWS = 10_000


def _find_created_id(result: tuple[Any, int]) -> str | None:
    return result[0].id if isinstance(result[0], Payout) else None


@bp.route("/accounts/<account_id>/payouts", methods=["POST"])
@bp.arguments(PayoutIn)
@operator_only("billing")
@idempotent(required=True)
@bp.errors(CreditNotPaidIn, WrongState)
@bp.alt_response(200, schema=PayoutOut, description="With `dry_run`: what would be paid out.")
@bp.response(201, PayoutOut)
@audited(PAYOUT, _find_created_id, "payout_created")
def create_payout(body: PayoutInput, account_id: str) -> tuple[Payout | dict, int]:
    """Pay out account credit.

    It goes back to the payments that brought the money, newest first, and what the provider cannot refund is left for a
    bank transfer of yours: `pending` until you report it, or `paid` at once with its `reference`. The credit leaves the
    account at once; what fails comes back to it. Credit that came from gifts or goodwill, and all of it while the
    account owes a debt that was written off, in any currency, is 409 `credit_not_paid_in` without `force`. 409
    `wrong_state` without any credit.
    """
    if body["dry_run"]:
        return _dry_run(account_id, body), 200
    payout = creating.create_payout(account_id, body, current_operator().id, clock.now())
    _record_payout_event("payout_created", payout)
    return payout, 201


@bp.route("/payouts")
@bp.arguments(PayoutsQuery, location="query")
@operator_only("billing")
@bp.response(200, page_of(PayoutOut))
@bp.alt_response(200, schema={"type": "string"}, content_type="text/csv", description="With `format=csv`.")
def list_payouts(query: PayoutsInput) -> dict | Response:
    """List payouts of all accounts, newest first.

    Filter by `account_id` and `status`. `format=csv` returns them all as a table.
    """
    payouts = sa.select(Payout)
    for column in (Payout.account_id, Payout.status):
        if value := query[column.key]:  # type: ignore[literal-required]  # both are keys of the query
            payouts = payouts.where(column == value)
    if query["format"] == "csv":
        rows = db.session.scalars(payouts.order_by(Payout.id.desc()).limit(MAX_CSV_ROWS)).all()
        return csv_response({"payouts": PayoutOut(exclude=("refunds",)).dump(rows, many=True)})
    return paginate_query(payouts, Payout.id, query, "payouts")


@bp.route("/payouts/<payout_id>")
@operator_only("billing")
@bp.response(200, PayoutOut)
def get_payout(payout_id: str) -> Payout:
    """Retrieve a payout."""
    return _require_payout(payout_id)


@bp.route("/payouts/<payout_id>", methods=["PATCH"])
@bp.arguments(PayoutUpdateIn)
@operator_only("billing")
@idempotent()
@bp.errors(WrongState)
@bp.response(200, PayoutOut)
@audited(PAYOUT, "payout_id", "payout_updated")
def update_payout(body: dict, payout_id: str) -> Payout:
    """Report the bank transfer of a payout.

    `paid` with its reference, or `failed`, which gives the credit back. 409 `wrong_state` unless it is pending.
    """
    payout = _require_payout(payout_id)
    creating.complete_bank_transfer(payout, body["status"], body["reference"], clock.now())
    _record_payout_event("payout_updated", payout)
    return payout


def _dry_run(account_id: str, body: PayoutInput) -> dict:
    """Return the payout that the body would create."""
    plan = creating.plan_payout(creating.lock_payout_account(account_id), body)
    refunds = [
        {"id": None, "payment_id": payment.id, "status": "pending", "amount_minor": amount_minor}
        for payment, amount_minor in plan.refunds
    ]
    return {
        "id": None,
        "account_id": account_id,
        "status": "pending",
        "currency": body["currency"],
        "amount_minor": plan.amount_minor,
        "paid_minor": 0,
        "forced_minor": plan.forced_minor,
        "refunds": refunds,
        "bank_transfer_minor": plan.bank_transfer_minor,
        "bank_transfer_status": "pending" if plan.bank_transfer_minor else None,
        "reference": body["reference"],
        "reason": body["reason"],
        "created_by": None,
        "created_at": None,
        "settled_at": None,
    }


def _require_payout(payout_id: str) -> Payout:
    """Return the payout. Raises NotFound."""
    payout = db.session.get(Payout, payout_id)
    if payout is None:
        raise NotFound
    return payout


def _record_payout_event(action: str, payout: Payout) -> None:
    amount = {"amount_minor": payout.amount_minor, "currency": payout.currency}
    audit.record_event(action, payout.account_id, actor=current_operator().id, payout=payout.id, **amount)
