"""The viewer's VAT number and referral code."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.models import Account
from streamsvc.models.subscriptions import TaxId
from streamsvc.operations.billing.core import referrals, taxing
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.subscriptions.invoices import ReferralOut, TaxIdIn, TaxIdOut
from streamsvc.security.authentication import current_viewer
from streamsvc.storage.database import db

bp = Blueprint("tax and referrals", __name__, url_prefix="/v1/account", description="VAT numbers and referrals.")


@bp.route("/tax-id")
@bp.errors(NotFound)
@bp.response(200, TaxIdOut)
def get_tax_id() -> dict:
    """Retrieve your VAT number.

    `reverse_charge` says whether invoices leave the tax to the customer.
    """
    tax_id = db.session.get(TaxId, current_viewer().account_id)
    if tax_id is None:
        raise NotFound
    return tax_id_view(tax_id)


@bp.route("/tax-id", methods=["PUT"])
@bp.arguments(TaxIdIn)
@bp.response(200, TaxIdOut)
def set_tax_id(body: dict) -> dict:
    """Set the VAT number of a business.

    Its country, format and check digits must be right. In the EU it is then checked with VIES, the register of VAT
    numbers; once that has confirmed it, invoices to another country than the seller's leave the tax to the customer
    (reverse charge). Until then the tax is charged.
    """
    tax_id = tax_id_view(taxing.replace_tax_id(current_viewer().account_id, body["number"], clock.now()))
    db.session.commit()
    return tax_id


@bp.route("/tax-id", methods=["DELETE"])
@bp.response(204)
def delete_tax_id() -> None:
    """Delete your VAT number.

    Tax is charged again.
    """
    taxing.delete_tax_id(current_viewer().account_id)
    db.session.commit()


@bp.route("/referral", methods=["PUT"])
@bp.response(200, ReferralOut)
def get_referral_code() -> dict:
    """Create or retrieve your referral code.

    Created at the first call. Also returns how many subscribers it has brought.
    """
    account_id = current_viewer().account_id
    referral = {
        "code": referrals.get_or_create_referral_code(account_id, clock.now()),
        **referrals.count_referrals(account_id),
    }
    db.session.commit()
    return referral


def tax_id_view(tax_id: TaxId) -> dict:
    """Return the VAT number as the API shows it."""
    taxation = taxing.load_taxation(db.session.get_one(Account, tax_id.account_id))
    names = ("number", "status", "checked_at", "reference", "error")
    return {name: getattr(tax_id, name) for name in names} | {"reverse_charge": taxation.vat_id is not None}
