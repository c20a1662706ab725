"""PUT /v1/admin/coupons/{code} · /tax-rates/{country} · POST /v1/admin/gift-codes · /accounts/{id}/credits."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.models import Account
from streamsvc.models.subscriptions import ReferralReward, TaxRate
from streamsvc.operations.billing.core import codes, credit
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.schemas.admin.subscriptions import (
    CouponAdminOut,
    CouponIn,
    CreditIn,
    CreditOut,
    GiftCodesIn,
    ReferralRewardIn,
    ReferralRewardOut,
    TaxRateIn,
    TaxRateOut,
)
from streamsvc.schemas.base import Country, Currency, checked
from streamsvc.schemas.subscriptions.invoices import GiftCodesOut
from streamsvc.security.authentication import operator_only
from streamsvc.storage.database import db, lock_row

bp = Blueprint("admin offers", __name__, url_prefix="/v1/admin", description="Coupons, gifts, taxes, credit.")


@bp.route("/coupons/<code>", methods=["PUT"])
@bp.arguments(CouponIn)
@operator_only("billing")
@bp.response(200, CouponAdminOut)
def put_coupon(body, code):
    """Make a coupon, or change how long and how often it can be redeemed."""
    coupon = codes.replace_coupon(code, body, clock.now())
    db.session.commit()
    return coupon


@bp.route("/gift-codes", methods=["POST"])
@bp.arguments(GiftCodesIn)
@operator_only("billing")
@idempotent()
@bp.response(201, GiftCodesOut)
def make_gift_codes(body):
    """Make gift codes; each becomes account credit for whoever redeems it."""
    gifts = codes.create_gift_codes(body, clock.now())
    db.session.flush()
    return {"items": gifts, "code": gifts[0].code, "next_cursor": None}


@bp.route("/referral-rewards/<currency>", methods=["PUT"])
@bp.arguments(ReferralRewardIn)
@operator_only("billing")
@bp.response(200, ReferralRewardOut)
def put_referral_reward(body, currency):
    """What a referral is worth from now on: credit for who sent the newcomer, and for the newcomer."""
    checked(Currency(), "currency", currency)
    row = db.session.get(ReferralReward, currency) or ReferralReward(currency=currency)
    row.referrer_minor, row.newcomer_minor = body["referrer_minor"], body["newcomer_minor"]
    row.updated_at = clock.now()
    db.session.add(row)
    db.session.commit()
    return row


@bp.route("/tax-rates/<country>", methods=["PUT"])
@bp.arguments(TaxRateIn)
@operator_only("billing")
@bp.response(200, TaxRateOut)
def put_tax_rate(body, country):
    """What invoices issued from now on add, or contain, for viewers of a country."""
    checked(Country(), "country", country)
    rate = db.session.get(TaxRate, country) or TaxRate(country=country)
    rate.rate_ppm, rate.name, rate.updated_at = body["percent"], body["name"], clock.now()
    db.session.add(rate)
    db.session.commit()
    return rate


@bp.route("/accounts/<account_id>/credits", methods=["POST"])
@bp.arguments(CreditIn)
@operator_only("billing")
@idempotent()
@bp.response(201, CreditOut)
def give_credit(body, account_id):
    """Give an account credit; it pays what is open first. A negative amount takes back what is not spent."""
    account = lock_row(Account, account_id)
    if account is None:
        raise NotFound
    if body["amount_minor"] == 0:
        raise Invalid(errors={"amount_minor": ["Give an amount."]})
    credit.grant_credit(account, body["amount_minor"], body["currency"], body["reason"], clock.now())
    return {"balances": credit.list_credit_balances(account.id)}
