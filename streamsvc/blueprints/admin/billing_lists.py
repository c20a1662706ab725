"""Lists of what is sold and owed: coupons, gift codes, tax rates, disputed payments."""

import sqlalchemy as sa

from streamsvc.http.edge import Blueprint
from streamsvc.http.pagination import paginate_list, paginate_query
from streamsvc.models.subscriptions import Coupon, GiftCode, TaxRate
from streamsvc.operations.console import disputes
from streamsvc.rules.inputs import PageInput, ShortListInput
from streamsvc.schemas.admin.subscriptions import CouponAdminOut, DisputedPayment, GiftCodeState, TaxRateOut
from streamsvc.schemas.base import PageQuery, ShortListQuery, page_of
from streamsvc.security.access import operator_only
from streamsvc.storage.database import db

bp = Blueprint(
    "admin billing lists",
    __name__,
    url_prefix="/v1/admin",
    description="List coupons, gift codes, tax rates and disputed payments.",
)


@bp.route("/coupons")
@bp.arguments(PageQuery, location="query")
@operator_only("billing")
@bp.response(200, page_of(CouponAdminOut))
def list_coupons(query: PageInput) -> dict:
    """List coupons, newest first."""
    return paginate_query(sa.select(Coupon), Coupon.id, query, "coupons")


@bp.route("/gift-codes")
@bp.arguments(PageQuery, location="query")
@operator_only("billing")
@bp.response(200, page_of(GiftCodeState))
def list_gift_codes(query: PageInput) -> dict:
    """List gift codes, newest first.

    Without the codes themselves: they are returned once, when they are created.
    """
    return paginate_query(sa.select(GiftCode), GiftCode.id, query, "gift codes")


@bp.route("/tax-rates")
@bp.arguments(ShortListQuery, location="query")
@operator_only("billing")
@bp.response(200, page_of(TaxRateOut))
def list_tax_rates(query: ShortListInput) -> dict:
    """List tax rates, by country and category."""
    rates = db.session.scalars(sa.select(TaxRate)).all()
    return paginate_list(sorted(rates, key=_rate_position), query, "tax rates", _rate_position)


def _rate_position(rate: TaxRate) -> list[str]:
    return [rate.country, rate.category]


@bp.route("/disputes")
@bp.arguments(PageQuery, location="query")
@operator_only("billing")
@bp.response(200, page_of(DisputedPayment))
def list_disputes(query: PageInput) -> dict:
    """List disputed payments, newest first.

    20,000 payments are tested per page, so that a page may have few items, or none, and still a `next_cursor`.
    """
    return disputes.list_disputed_payments(query)
