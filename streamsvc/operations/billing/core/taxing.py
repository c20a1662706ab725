"""Invoice tax: the rates of the customer's country, or none under reverse charge. Also the accounts' VAT numbers."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from streamsvc.gateways import vies
from streamsvc.models import Account
from streamsvc.models.subscriptions import TaxId, TaxRate
from streamsvc.rules.billing import vat
from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY, TaxTerms
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, fetch_one, lock_existing_row, lock_row
from streamsvc.worker import jobs

TAX_ID_CHECK_JOB = "tax_id.check"
CHECK_RETRY_AFTER = timedelta(hours=1)


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
    return Taxation(by_category, find_reverse_charge_vat_id(account))


def find_reverse_charge_vat_id(account: Account) -> str | None:
    """Return the VAT number under which the account pays the tax itself; None if we charge the tax.

    With `vat_check` set to `vies` only numbers that the register confirmed count, otherwise unchecked ones too.
    """
    settings = current_settings()
    if not settings.seller_vat_id or account.country not in vat.NUMBER_FORMATS:
        return None
    tax_id = db.session.get(TaxId, account.id)
    accepted = ("valid",) if settings.vat_check == "vies" else ("valid", "unchecked")
    if tax_id is None or tax_id.status not in accepted:
        return None
    if not vat.is_reverse_charged(settings.seller_vat_id, account.country, tax_id.number):
        return None
    return tax_id.number


def replace_tax_id(account_id: str, number: str, now: datetime) -> TaxId:
    """Set the account's VAT number and, if `vat_check` is `vies`, enqueue a check with the register. Raises Invalid."""
    account = lock_existing_row(Account, account_id)
    number = vat.normalize_vat_number(number)
    if vat.vat_number_country(number) != account.country:
        raise Invalid(errors={"number": ["Must be a valid VAT number of the account's country."]})
    tax_id = db.session.get(TaxId, account_id)
    if tax_id is None or tax_id.number != number:
        if tax_id:
            db.session.delete(tax_id)
            db.session.flush()
        tax_id = TaxId(account_id=account_id, number=number, status="unchecked", created_at=now)
        db.session.add(tax_id)
        db.session.flush()
    if current_settings().vat_check == "vies" and tax_id.status != "valid":
        jobs.enqueue_job(TAX_ID_CHECK_JOB, {"account_id": account_id, "number": number}, now)
    return tax_id


def delete_tax_id(account_id: str) -> None:
    """Delete the account's VAT number, if it has one."""
    lock_row(Account, account_id)
    if tax_id := db.session.get(TaxId, account_id):
        db.session.delete(tax_id)


@jobs.job_handler(TAX_ID_CHECK_JOB)
def check_tax_id(payload: dict, now: datetime) -> None:
    """Check a VAT number with the VIES register. Tax is charged until the register has confirmed it.

    Raises Retry, for an hour later, if the register does not answer.
    """
    number, seller = payload["number"], current_settings().seller_vat_id
    if fetch_one(TaxId.__table__.select().where(TaxId.account_id == payload["account_id"])) is None:
        return
    result = vies.check_vat_number(number, seller)
    tax_id = db.session.get(TaxId, payload["account_id"])
    if tax_id is None or tax_id.number != number:
        return
    if result.is_valid is None:
        raise jobs.Retry(now + CHECK_RETRY_AFTER)
    tax_id.status, tax_id.reference, tax_id.checked_at = (
        "valid" if result.is_valid else "invalid",
        result.reference,
        now,
    )
