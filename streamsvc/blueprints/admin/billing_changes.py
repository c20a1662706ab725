"""Subscription changes by operators beside cancellation: plan changes, previews, billing holds."""

from streamsvc import clock
from streamsvc.blueprints.admin.accounts import require_account
from streamsvc.blueprints.admin.audited_resources import SUBSCRIPTION
from streamsvc.blueprints.admin.billing_subscriptions import require_subscription
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.models import Account
from streamsvc.operations.billing.books import holds
from streamsvc.operations.billing.stores.refreshing import retry_after_refresh
from streamsvc.operations.billing.subscriptions import changes
from streamsvc.operations.billing.subscriptions.preview import build_invoice_preview
from streamsvc.operations.billing.subscriptions.views import admin_subscription_view
from streamsvc.operations.outbox import audit
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.rules.billing.inputs import AdminPreviewInput, PlanChangeInput
from streamsvc.rules.refusals.billing import PaymentOverdue, WrongState
from streamsvc.rules.refusals.charges import CHARGE_ERRORS, PREVIEW_ERRORS
from streamsvc.schemas.admin.console import AdminPreviewIn, HoldIn
from streamsvc.schemas.admin.subscriptions import AdminSubscriptionOut
from streamsvc.schemas.subscriptions.invoices import PreviewOut
from streamsvc.schemas.subscriptions.subscriptions import PlanChangeIn
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db

bp = Blueprint(
    "admin subscription changes", __name__, url_prefix="/v1/admin", description="Plan changes, previews, billing holds."
)


@bp.route("/subscriptions/<subscription_id>/plan-change", methods=["POST"])
@bp.arguments(PlanChangeIn)
@operator_only("billing")
@idempotent(required=True)
@bp.errors(*CHARGE_ERRORS, PaymentOverdue, WrongState)
@bp.response(200, AdminSubscriptionOut)
@audited(SUBSCRIPTION, "subscription_id", "plan_changed")
def change_any_plan(body: PlanChangeInput, subscription_id: str) -> dict:
    """Change the plan of a subscription of any account.

    Same rules, charges and errors as when the owner changes it.
    """
    row, operator_id = require_subscription(subscription_id), current_operator().id
    account_id = row.account_id
    subscription = changes.apply_change(
        row.id, lambda aggregate: changes.change_plan(aggregate, body, operator_id), clock.now()
    )
    audit.record_event("plan_changed", account_id, actor=operator_id, subscription=subscription_id)
    return admin_subscription_view(subscription)


@bp.route("/invoice-previews", methods=["POST"])
@bp.arguments(AdminPreviewIn)
@operator_only("billing")
@bp.errors(*PREVIEW_ERRORS)
@bp.response(200, PreviewOut)
def preview_account_invoice(body: AdminPreviewInput) -> dict:
    """Preview an invoice of any account.

    Returns the invoice that a subscription, plan change or cancellation of the account would create, to the cent, and
    the renewal after it. Nothing is changed.
    """
    account_id, now = require_account(db.session.get(Account, body["account_id"])).id, clock.now()
    return retry_after_refresh(account_id, now, lambda: build_invoice_preview(account_id, body, now))


@bp.route("/subscriptions/<subscription_id>/parking", methods=["PUT"])
@bp.arguments(HoldIn)
@operator_only("billing")
@bp.errors(WrongState)
@bp.response(200, AdminSubscriptionOut)
@audited(SUBSCRIPTION, "subscription_id", "billing_held")
def place_billing_hold(body: dict, subscription_id: str) -> dict:
    """Place a subscription on billing hold.

    Nothing is billed until it is released; what it gives access to stays. 409 `wrong_state` if it is on hold already
    or has ended.
    """
    row = require_subscription(subscription_id)
    subscription = holds.place_billing_hold(row.id, body["reason"], clock.now())
    audit.record_event("billing_held", subscription.account_id, actor=current_operator().id, subscription=row.id)
    db.session.commit()
    return admin_subscription_view(subscription)
