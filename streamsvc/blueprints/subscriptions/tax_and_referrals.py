"""The viewer's VAT number, billing address and referral code."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.models import Account
from streamsvc.models.subscriptions import BillingAddress, TaxId
from streamsvc.operations.billing.core import referrals, taxing
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.subscriptions.invoices import BillingAddressIn, BillingAddressOut, ReferralOut, TaxIdIn, TaxIdOut
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db, lock_row

bp = Blueprint(
    "tax and referrals", __name__, url_prefix="/v1/account", description="VAT numbers, billing addresses and referrals."
)


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


@bp.route("/billing-address")
@bp.errors(NotFound)
@bp.response(200, BillingAddressOut)
def get_billing_address() -> BillingAddress:
    """Retrieve the name and address on your invoices."""
    address = db.session.get(BillingAddress, current_viewer().account_id)
    if address is None:
        raise NotFound
    return address


@bp.route("/billing-address", methods=["PUT"])
@bp.arguments(BillingAddressIn)
@bp.response(200, BillingAddressOut)
def set_billing_address(body: dict) -> BillingAddress:
    """Set the name and address on your invoices.

    Applies to invoices issued from now on; issued ones keep theirs. The country is the account's.
    """
    account_id = current_viewer().account_id
    lock_row(Account, account_id)
    address = db.session.get(BillingAddress, account_id) or BillingAddress(account_id=account_id)
    for name, value in body.items():
        setattr(address, name, value)
    address.updated_at = clock.now()
    db.session.add(address)
    db.session.commit()
    return address


@bp.route("/billing-address", methods=["DELETE"])
@bp.response(204)
def delete_billing_address() -> None:
    """Delete the name and address on your invoices.

    Invoices then show the account's name, email and country.
    """
    account_id = current_viewer().account_id
    lock_row(Account, account_id)
    if address := db.session.get(BillingAddress, account_id):
        db.session.delete(address)
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
