"""Gifts that a viewer buys for somebody."""

from sqlalchemy.orm import joinedload

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent, load_checkpoint
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import Account
from streamsvc.models.subscriptions import GiftPurchase, Invoice
from streamsvc.operations.billing.core import payment_limits
from streamsvc.operations.billing.gifts import delivery
from streamsvc.operations.billing.gifts.purchasing import buy_gift
from streamsvc.rules.billing.inputs import GiftDeliveryInput, GiftPurchaseInput
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.accounts import AccountNotActive, TooManyAttempts
from streamsvc.rules.refusals.billing import (
    GiftAlreadyDelivered,
    GiftNotDeliverable,
    PaymentMethodRequired,
    PaymentOverdue,
)
from streamsvc.rules.refusals.charges import CHARGE_ERRORS
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.subscriptions.gifts import GiftDeliveryIn, GiftPurchaseIn, GiftPurchaseOut
from streamsvc.security.access import owner_only
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db, lock_existing_row

bp = Blueprint("gift purchases", __name__, url_prefix="/v1/gift-purchases", description="Buy gifts for others.")
OWN_MEMBERS = (
    *("id", "invoice_id", "currency", "amount_minor", "price_id", "periods", "recipient_email", "recipient_name"),
    *("sender_name", "message", "deliver_on", "deliveries", "delivered_at", "created_at"),
)


@bp.route("", methods=["POST"])
@bp.arguments(GiftPurchaseIn)
@owner_only
@idempotent(required=True)
@bp.errors(*CHARGE_ERRORS, AccountNotActive, PaymentMethodRequired, PaymentOverdue)
@bp.response(201, GiftPurchaseOut)
def create_gift_purchase(body: GiftPurchaseInput) -> dict:
    """Buy a gift.

    A plan for a number of periods, or gift credit. The payment method is charged at once; account credit does not pay
    for gifts. A declined payment is 402 `payment_failed`, and nothing is bought. 402 `authentication_required` if the
    customer must confirm it with `next_action`: the code exists once the payment has succeeded. The mail with the code
    goes to `recipient_email` on the day `deliver_on`, or without one to the buyer. 429 `too_many_attempts` after too
    many declined payments, or after 20 gifts to others in a day. 402 `payment_method_required` without a payment
    method.
    """
    account_id, facts = current_viewer().account_id, current_request_facts()
    if load_checkpoint() is None:
        delivery.count_gift_mail(account_id, body["recipient_email"])
    with payment_limits.limited_payment_attempt(account_id, facts, body["payment_method_id"]):
        purchase = buy_gift(account_id, body, clock.now())
    return gift_purchase_view(purchase)


@bp.route("")
@bp.arguments(PageQuery, location="query")
@owner_only
@bp.response(200, page_of(GiftPurchaseOut))
def list_gift_purchases(query: PageInput) -> dict:
    """List the gifts that you have bought, newest first."""
    with_states = joinedload(GiftPurchase.gift_code), joinedload(GiftPurchase.invoice).lazyload(Invoice.lines)
    purchases = GiftPurchase.select_owned(current_viewer().account_id).options(*with_states)
    page = paginate_query(purchases, GiftPurchase.id, query, "gift purchases")
    return page | {"items": [gift_purchase_view(purchase) for purchase in page["items"]]}


@bp.route("/<purchase_id>")
@owner_only
@bp.response(200, GiftPurchaseOut)
def get_gift_purchase(purchase_id: str) -> dict:
    """Retrieve a gift that you have bought."""
    return gift_purchase_view(_get_own_purchase(purchase_id))


@bp.route("/<purchase_id>", methods=["PATCH"])
@bp.arguments(GiftDeliveryIn)
@owner_only
@bp.errors(GiftAlreadyDelivered, TooManyAttempts)
@bp.response(200, GiftPurchaseOut)
def update_gift_purchase(body: GiftDeliveryInput, purchase_id: str) -> dict:
    """Change the delivery of a gift.

    The recipient, the words and the day, until it is delivered: 409 `gift_already_delivered` afterwards.
    """
    recipient = body.get("recipient_email")
    if recipient and recipient != _get_own_purchase(purchase_id).recipient_email:
        _count_mail(recipient)
    account = lock_existing_row(Account, current_viewer().account_id)
    purchase = _get_own_purchase(purchase_id)
    delivery.update_delivery(purchase, account, body, clock.now())
    db.session.commit()
    return gift_purchase_view(purchase)


@bp.route("/<purchase_id>/deliveries", methods=["POST"])
@owner_only
@idempotent()
@bp.errors(GiftNotDeliverable, TooManyAttempts)
@bp.response(201, GiftPurchaseOut)
def create_gift_delivery(purchase_id: str) -> dict:
    """Send the mail with the code of a gift again.

    To the same address, as long as the gift is delivered and not redeemed; three mails in all, then 409
    `gift_not_deliverable`.
    """
    _count_mail(_get_own_purchase(purchase_id).recipient_email)
    lock_existing_row(Account, current_viewer().account_id)
    purchase = _get_own_purchase(purchase_id)
    delivery.resend_gift(purchase, clock.now())
    return gift_purchase_view(purchase)


def _count_mail(recipient: str | None) -> None:
    account_id = current_viewer().account_id
    db.session.rollback()  # the count has a transaction of its own
    delivery.count_gift_mail(account_id, recipient)


def _get_own_purchase(purchase_id: str) -> GiftPurchase:
    """Return one of the viewer's purchases. Raises NotFound."""
    purchase = GiftPurchase.find_owned(current_viewer().account_id, purchase_id)
    if purchase is None:
        raise NotFound
    return purchase


def gift_purchase_view(purchase: GiftPurchase) -> dict:
    """Return the purchase as the API shows it to the buyer, who never learns who redeemed it."""
    code = purchase.gift_code
    members = {name: getattr(purchase, name) for name in OWN_MEMBERS}
    members |= {name: getattr(code, name, None) for name in ("code", "redeemed_at", "expires_at")}
    return members | {"state": purchase.state(clock.now())}
