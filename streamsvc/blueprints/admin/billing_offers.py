"""Coupons, gift codes, referral rewards, tax rates and account credit."""

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import ACCOUNT_CREDIT, COUPON, GIFT_CODES, REFERRAL_REWARD, TAX_RATE
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.models import Account
from streamsvc.models.subscriptions import Coupon, ReferralReward, TaxRate
from streamsvc.operations.billing.core import codes, credit
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.rules.billing.inputs import CouponInput, GiftCodesInput
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
from streamsvc.schemas.base import Country, Currency, parse_path_value
from streamsvc.schemas.subscriptions.invoices import GiftCodesOut
from streamsvc.security.access import operator_only
from streamsvc.storage.database import db, lock_row

bp = Blueprint(
    "admin offers",
    __name__,
    url_prefix="/v1/admin",
    description="Coupons, gift codes, referral rewards, tax rates and account credit.",
)


@bp.route("/coupons/<code>", methods=["PUT"])
@bp.arguments(CouponIn)
@operator_only("billing")
@bp.response(200, CouponAdminOut)
@audited(COUPON, "code")
def put_coupon(body: CouponInput, code: str) -> Coupon:
    """Create or update a coupon.

    An existing coupon's audience, redemption limits, expiry and `combines` can be changed; its discount cannot.
    """
    coupon = codes.replace_coupon(code, body, clock.now())
    db.session.commit()
    return coupon


@bp.route("/gift-codes", methods=["POST"])
@bp.arguments(GiftCodesIn)
@operator_only("billing")
@idempotent()
@bp.response(201, GiftCodesOut)
@audited(GIFT_CODES, lambda result: result["items"][0].id)
def create_gift_codes(body: GiftCodesInput) -> dict:
    """Create gift codes.

    Redeeming a code adds its amount to the redeemer's account credit. With `price_id` and `periods`, it starts or
    extends a subscription with that price instead.
    """
    gifts = codes.create_gift_codes(body, clock.now())
    db.session.flush()
    return {"items": gifts, "code": gifts[0].code, "next_cursor": None}


@bp.route("/referral-rewards/<currency>", methods=["PUT"])
@bp.arguments(ReferralRewardIn)
@operator_only("billing")
@bp.response(200, ReferralRewardOut)
@audited(REFERRAL_REWARD, "currency")
def put_referral_reward(body: dict, currency: str) -> ReferralReward:
    """Set the referral reward in a currency.

    Applies from now on: credit for the referrer and for the new subscriber.
    """
    parse_path_value(Currency(), "currency", currency)
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
@audited(TAX_RATE, "country")
def put_tax_rate(body: dict, country: str) -> TaxRate:
    """Set a tax rate of a country.

    Applies to invoices issued from now on, for customers of that country and plans of the tax category. Plans of a
    category without a rate in the country have the rate of `standard`.
    """
    parse_path_value(Country(), "country", country)
    key = {"country": country, "category": body["category"]}
    rate = db.session.get(TaxRate, key) or TaxRate(**key)
    rate.rate_ppm, rate.name, rate.updated_at = body["percent"], body["name"], clock.now()
    db.session.add(rate)
    db.session.commit()
    return rate


@bp.route("/accounts/<account_id>/credits", methods=["POST"])
@bp.arguments(CreditIn)
@operator_only("billing")
@idempotent()
@bp.response(201, CreditOut)
@audited(ACCOUNT_CREDIT, "account_id")
def create_credit(body: dict, account_id: str) -> dict:
    """Add account credit.

    Credit pays open invoices first. A negative amount withdraws credit that has not been spent.
    """
    account = lock_row(Account, account_id)
    if account is None or account.is_guest:
        raise NotFound
    if body["amount_minor"] == 0:
        raise Invalid(errors={"amount_minor": ["Must not be 0."]})
    credit.grant_credit(account, body["amount_minor"], body["currency"], body["reason"], clock.now())
    return {"balances": credit.list_credit_balances(account.id)}
