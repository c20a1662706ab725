"""/v1/subscriptions/{id}/plan-change · /anchor · /cancellation · /pause, and /v1/invoice-previews."""

from streamsvc import clock
from streamsvc.blueprints.subscriptions.subscriptions import mine
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.billing.subscriptions import changes
from streamsvc.operations.billing.subscriptions.preview import build_invoice_preview
from streamsvc.operations.billing.subscriptions.views import subscription_view
from streamsvc.rules.billing.calendar import moment_of
from streamsvc.schemas.subscriptions.invoices import PreviewIn, PreviewOut
from streamsvc.schemas.subscriptions.subscriptions import (
    AnchorIn,
    CancellationIn,
    PauseIn,
    PlanChangeIn,
    SubscriptionOut,
)
from streamsvc.security.authentication import current_viewer

bp = Blueprint("changes", __name__, url_prefix="/v1", description="What becomes of a subscription.")


def take(subscription_id, step):
    """Carry out a step on one of the viewer's subscriptions, and show what became of it."""
    return subscription_view(changes.apply_change(mine(subscription_id).id, step, clock.now()))


@bp.route("/subscriptions/<subscription_id>/plan-change", methods=["POST"])
@bp.arguments(PlanChangeIn)
@idempotent(required=True)
@bp.response(200, SubscriptionOut)
def change_plan(body, subscription_id):
    """Change the plan: up now, down at the period's end, unless told when. A change that is declined did not happen."""
    return take(subscription_id, lambda at: changes.change_plan(at, body, current_viewer().account_id))


@bp.route("/subscriptions/<subscription_id>/plan-change", methods=["DELETE"])
@bp.response(200, SubscriptionOut)
def drop_change(subscription_id):
    """Drop a change that was planned for the period's end."""
    return take(subscription_id, lambda at: changes.cancel_scheduled_change(at, current_viewer().account_id))


@bp.route("/subscriptions/<subscription_id>/anchor", methods=["PUT"])
@bp.arguments(AnchorIn)
@bp.response(200, SubscriptionOut)
def move_anchor(body, subscription_id):
    """Move the billing day. What is paid stays paid; a bridge reaches the new day."""
    return take(subscription_id, lambda at: changes.set_anchor_day(at, body["day"], current_viewer().account_id))


@bp.route("/subscriptions/<subscription_id>/cancellation", methods=["POST"])
@bp.arguments(CancellationIn)
@idempotent(required=True)
@bp.response(200, SubscriptionOut)
def cancel(body, subscription_id):
    """Cancel at the period's end, or now: then the unused days are credited, today counting as used."""
    return take(subscription_id, lambda at: changes.cancel_subscription(at, body, current_viewer().account_id))


@bp.route("/subscriptions/<subscription_id>/cancellation", methods=["DELETE"])
@bp.response(200, SubscriptionOut)
def keep(subscription_id):
    """Take a pending cancellation back."""
    return take(subscription_id, lambda at: changes.undo_cancellation(at, current_viewer().account_id))


@bp.route("/subscriptions/<subscription_id>/pause", methods=["POST"])
@bp.arguments(PauseIn)
@idempotent()
@bp.response(200, SubscriptionOut)
def pause(body, subscription_id):
    """Pause. Paid days are frozen, not lost."""

    def begin(at):
        changes.pause_subscription(
            at, moment_of(body["resumes_at"], at.subscription.time_zone), current_viewer().account_id
        )

    return take(subscription_id, begin)


@bp.route("/subscriptions/<subscription_id>/pause", methods=["DELETE"])
@bp.response(200, SubscriptionOut)
def resume(subscription_id):
    """Resume. The end of what is paid moves by the days of the pause."""
    return take(subscription_id, lambda at: changes.resume_subscription(at, current_viewer().account_id))


@bp.route("/invoice-previews", methods=["POST"])
@bp.arguments(PreviewIn)
@bp.response(200, PreviewOut)
def preview_invoice(body):
    """The invoice that would come, to the cent, and the renewal after it. Changes nothing."""
    return build_invoice_preview(current_viewer().account_id, body, clock.now())
