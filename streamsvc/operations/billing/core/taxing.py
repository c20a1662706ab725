"""Invoice tax: the rates of the customer's country, or none under reverse charge. Also the accounts' VAT numbers."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from streamsvc.gateways import vies
from streamsvc.models import Account
from streamsvc.models.subscriptions import TaxId, TaxIdCheck, TaxRate
from streamsvc.operations.billing.core.sellers import find_seller
from streamsvc.rules.billing import vat
from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY, TaxTerms
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, fetch_one, lock_existing_row, lock_row, reload_row
from streamsvc.worker import jobs

TAX_ID_CHECK_JOB = "tax_id.check"
CHECK_RETRY_AFTER = timedelta(hours=1)
SWEEP_SIZE = 500


class CategoryRate(NamedTuple):
    """The rate and the name of the tax in one category."""

    rate_ppm: int
    name: str | None


class Taxation(NamedTuple):
    """How an account is taxed.

    `rates` are the country's rates by tax category, even if `vat_id` is set, which means that the customer pays the tax
    themselves (reverse charge). A category without a rate of its own is taxed as the standard one.
    """

    rates: Mapping[str, CategoryRate]
    vat_id: str | None
    seller: dict
    """The seller for the account's country; see `find_seller`."""

    @property
    def name(self) -> str | None:
        """The name of the tax at the standard rate."""
        return self.name_of(STANDARD_CATEGORY)

    def tax_for(self, inclusive: bool, category: str = STANDARD_CATEGORY) -> TaxTerms:
        """Return the tax on a price that is tax-inclusive or tax-exclusive, of a plan in the category."""
        applied = category if category in self.rates else STANDARD_CATEGORY
        rate = self.rates.get(applied)
        return TaxTerms(rate.rate_ppm if rate else 0, inclusive, self.vat_id is not None, applied)

    def name_of(self, category: str) -> str | None:
        """Return the name of the tax in the category; None if the country has no rate."""
        rate = self.rates.get(category) or self.rates.get(STANDARD_CATEGORY)
        return rate.name if rate else None


def load_taxation(account: Account) -> Taxation:
    """Load the tax rates of the account's country and its reverse-charge VAT number, if any."""
    rates = TaxRate.list_for_country(account.country)
    by_category = {rate.category: CategoryRate(rate.rate_ppm, rate.name) for rate in rates}
    seller = find_seller(account.country)
    return Taxation(by_category, find_reverse_charge_vat_id(account, seller["vat_id"]), seller)


def find_reverse_charge_vat_id(account: Account, seller_vat_id: str | None) -> str | None:
    """Return the VAT number under which the account pays the tax itself; None if we charge the tax.

    With `vat_check` set to `vies` only numbers that the register confirmed count, otherwise unchecked ones too.
    """
    if not seller_vat_id or account.country not in vat.MEMBER_STATES:
        return None
    tax_id = db.session.get(TaxId, account.id)
    accepted = ("valid",) if current_settings().vat_check == "vies" else ("valid", "unchecked", "unverified")
    if tax_id is None or tax_id.status not in accepted:
        return None
    return tax_id.number if vat.is_reverse_charged(seller_vat_id, account.country, tax_id.number) else None


def replace_tax_id(account_id: str, number: str, now: datetime) -> TaxId:
    """Set the account's VAT number and enqueue its check with the register, if it can be asked. Raises Invalid."""
    account = lock_existing_row(Account, account_id)
    parsed = vat.parse_vat_number(number, account.country)
    if parsed is None:
        raise Invalid(errors={"number": ["Must be a valid VAT number of the account's country."]})
    tax_id = db.session.get(TaxId, account_id)
    if tax_id is None or tax_id.number != parsed:
        if tax_id:
            db.session.delete(tax_id)
            db.session.flush()
        tax_id = TaxId(account_id=account_id, number=parsed, status="unchecked", created_at=now)
        db.session.add(tax_id)
        db.session.flush()
    if tax_id.status != "valid" and find_requester(account.country):
        enqueue_check(tax_id, now)
    return tax_id


def find_requester(country: str) -> str | None:
    """Return the seller's VAT number in whose name VIES is asked about numbers of the country; None if it is not."""
    seller_vat_id = find_seller(country)["vat_id"]
    is_asked = current_settings().vat_check == "vies" and country in vat.MEMBER_STATES
    can_ask = seller_vat_id is not None and vat.vat_number_country(seller_vat_id) in vat.MEMBER_STATES
    return seller_vat_id if is_asked and can_ask else None


def enqueue_check(tax_id: TaxId, now: datetime) -> None:
    """Enqueue the check of a VAT number."""
    jobs.enqueue_job(TAX_ID_CHECK_JOB, {"account_id": tax_id.account_id, "number": tax_id.number}, now)


def delete_tax_id(account_id: str) -> None:
    """Delete the account's VAT number, if it has one. The record of its checks stays."""
    lock_row(Account, account_id)
    if tax_id := db.session.get(TaxId, account_id):
        db.session.delete(tax_id)


@jobs.recurring_job("tax_id.sweep", every=timedelta(days=1))
def enqueue_missing_checks(payload: dict, now: datetime) -> None:
    """Enqueue checks for numbers that no register has answered for, such as those from before the seller had one."""
    is_asked = sa.exists().where(
        TaxIdCheck.account_id == TaxId.account_id,
        TaxIdCheck.number == TaxId.number,
        TaxIdCheck.started_at > now - timedelta(days=1),
    )
    is_unconfirmed = sa.text("tax_ids.status IN ('unchecked', 'unverified')")  # literals, as in the partial index
    query = (
        sa.select(TaxId, Account.country)
        .join(Account, Account.id == TaxId.account_id)
        .where(is_unconfirmed, Account.country.in_(vat.MEMBER_STATES), ~is_asked)
        .order_by(TaxId.account_id)
        .limit(SWEEP_SIZE)
    )
    for tax_id, country in db.session.execute(query).all():
        if find_requester(country):
            enqueue_check(tax_id, now)


@jobs.job_handler(TAX_ID_CHECK_JOB, jobs.BULK_LANE)
def check_tax_id(payload: dict, now: datetime) -> None:
    """Check a VAT number with the VIES register. Tax is charged until the register has confirmed it.

    The question is recorded before it is asked, and its answer with the consultation number after. Raises Retry, for an
    hour later, if the register does not answer.
    """
    account_id, number = payload["account_id"], payload["number"]
    check = _record_check(account_id, number, now)
    if check is None:
        return
    check_id, requester = check.id, check.requester
    db.session.commit()
    result = vies.check_vat_number(number, requester)
    lock_row(Account, account_id)
    _record_result(reload_row(TaxIdCheck, check_id), result, now)
    tax_id = db.session.get(TaxId, account_id, populate_existing=True)
    if tax_id is not None and tax_id.number == number:
        _apply_result(tax_id, result, now)
    db.session.commit()
    if result.is_valid is None and tax_id is not None and tax_id.number == number:
        raise jobs.Retry(now + CHECK_RETRY_AFTER)


def _record_check(account_id: str, number: str, now: datetime) -> TaxIdCheck | None:
    """Record that the register is asked; None if the number is not the account's any more, or cannot be checked."""
    current = fetch_one(sa.select(TaxId.number).where(TaxId.account_id == account_id))
    account = db.session.get(Account, account_id)
    requester = find_requester(account.country) if account else None
    if current is None or current.number != number or requester is None:
        return None
    check = TaxIdCheck(account_id=account_id, number=number, requester=requester, started_at=now)
    db.session.add(check)
    db.session.flush()
    return check


def _record_result(check: TaxIdCheck, result: vies.VatCheck, now: datetime) -> None:
    check.outcome = {True: "valid", False: "invalid", None: "unavailable"}[result.is_valid]
    check.error, check.reference, check.completed_at = result.error, result.reference, now


def _apply_result(tax_id: TaxId, result: vies.VatCheck, now: datetime) -> None:
    """Apply the register's answer; without one, the number stays as it is, but no longer counts as unchecked."""
    tax_id.error = result.error
    if result.is_valid is None:
        tax_id.status = "unverified" if tax_id.status == "unchecked" else tax_id.status
        return
    tax_id.status = "valid" if result.is_valid else "invalid"
    tax_id.reference, tax_id.checked_at = result.reference, now
