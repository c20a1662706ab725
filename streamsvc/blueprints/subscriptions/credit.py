"""Account credit, gift codes and coupons."""

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import Account
from streamsvc.models.subscriptions import Coupon, GiftCode, LedgerEntry
from streamsvc.operations.billing.core import payment_limits
from streamsvc.operations.billing.core.credit import list_credit_balances
from streamsvc.operations.billing.stores.refreshing import retry_after_refresh
from streamsvc.operations.billing.subscriptions.gifts import redeem_gift
from streamsvc.operations.billing.subscriptions.views import coupon_view, credit_entry_view
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.billing import (
    AlreadySubscribed,
    GiftCodeCurrencyMismatch,
    GiftCodeInvalid,
    GiftNotSoldHere,
    PaymentInProgress,
    PaymentOverdue,
)
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import PageQuery
from streamsvc.schemas.subscriptions.invoices import BalanceOut, CouponOut, GiftOut, GiftRedemptionIn
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import lock_existing_row

bp = Blueprint("account credit", __name__, url_prefix="/v1", description="Account credit, gift codes and coupons.")


@bp.route("/account/balance")
@bp.arguments(PageQuery, location="query")
@bp.response(200, BalanceOut)
def get_balance(query: PageInput) -> dict:
    """Retrieve your account credit.

    The balance of each currency and its entries, newest first.
    """
    account_id = current_viewer().account_id
    entries = sa.select(LedgerEntry).where(LedgerEntry.account_id == account_id, LedgerEntry.book == "customer_credit")
    page = paginate_query(entries, LedgerEntry.id, query, "account credit")
    return page | {
        "balances": list_credit_balances(account_id),
        "items": [credit_entry_view(entry) for entry in page["items"]],
    }


@bp.route("/gift-redemptions", methods=["POST"])
@bp.arguments(GiftRedemptionIn)
@idempotent()
@bp.errors(
    AlreadySubscribed,
    GiftCodeCurrencyMismatch,
    GiftCodeInvalid,
    GiftNotSoldHere,
    PaymentInProgress,
    PaymentOverdue,
    TooManyAttempts,
)
@bp.response(201, GiftOut)
def create_gift_redemption(body: dict) -> GiftCode:
    """Redeem a gift code.

    Its amount becomes account credit. A gift of a plan starts a subscription that ends with the gift, without a card;
    it extends a live subscription with the same price, and becomes credit with any other. An unknown or used code is
    422 `gift_code_invalid`. One in a currency in which the account is not billed is 422 `gift_code_currency_mismatch`,
    and remains usable. 429 `too_many_attempts` after 20 codes in an hour.
    """
    account_id, now = current_viewer().account_id, clock.now()
    payment_limits.count_gift_code_attempt(account_id, current_request_facts())
    return retry_after_refresh(
        account_id, now, lambda: redeem_gift(lock_existing_row(Account, account_id), body["code"], now)
    )


@bp.route("/coupons/<code>")
@bp.response(200, CouponOut)
def get_coupon(code: str) -> dict:
    """Retrieve a coupon.

    404 unless it can still be redeemed.
    """
    coupon = Coupon.find_by_code(code)
    if coupon is None or not coupon.is_usable(clock.now()):
        raise NotFound
    return coupon_view(coupon)
