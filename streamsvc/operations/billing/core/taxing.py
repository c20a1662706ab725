"""Which tax an invoice carries: the rate of the customer's country, or none where the customer pays it themselves."""

from datetime import datetime, timedelta
from typing import NamedTuple

from flask import current_app

from streamsvc.gateways import vies
from streamsvc.models import Account
from streamsvc.models.subscriptions import TaxId, TaxRate
from streamsvc.rules.billing import vat
from streamsvc.rules.billing.invoicing import Tax
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, fetch_one, lock_row
from streamsvc.worker import jobs

TAX_ID_CHECK_JOB = "tax_id.check"
CHECK_RETRY_AFTER = timedelta(hours=1)


class Taxation(NamedTuple):
    """`rate_ppm` is what the country asks for, also where `vat_id` says that the customer pays it (reverse charge)."""

    rate_ppm: int
    name: str | None
    vat_id: str | None

    def tax_for(self, inclusive: bool) -> Tax:
        return Tax(self.rate_ppm, inclusive, self.vat_id is not None)


def load_taxation(account: Account) -> Taxation:
    rate = unit_of_work.get_or_load(("tax rate", account.country), lambda: db.session.get(TaxRate, account.country))
    return Taxation(rate.rate_ppm if rate else 0, rate and rate.name, find_reverse_charge_vat_id(account))


def find_reverse_charge_vat_id(account: Account) -> str | None:
    """The VAT number under which the account pays the tax itself; None where we charge it."""
    settings = current_app.extensions["settings"]
    if not settings.seller_vat_id or account.country not in vat.FORMS:
        return None
    kept = unit_of_work.get_or_load(("tax id", account.id), lambda: db.session.get(TaxId, account.id))
    vouched = kept and kept.status in (("valid",) if settings.vat_check == "vies" else ("valid", "unchecked"))
    if not vouched or not vat.is_reverse_charged(settings.seller_vat_id, account.country, kept.number):
        return None
    return kept.number


def replace_tax_id(account_id: str, number: str, now: datetime) -> TaxId:
    """Keep the account's VAT number, and ask the register about it where that is wished. Raises Invalid."""
    account = lock_row(Account, account_id)
    number = vat.normal(number)
    if vat.country_of(number) != account.country:
        raise Invalid(errors={"number": ["This is not the form of a VAT number of the account's country."]})
    kept = db.session.get(TaxId, account_id)
    if kept is None or kept.number != number:
        if kept:
            db.session.delete(kept)
            db.session.flush()
        kept = TaxId(account_id=account_id, number=number, status="unchecked", created_at=now)
        db.session.add(kept)
        db.session.flush()
    if current_app.extensions["settings"].vat_check == "vies" and kept.status != "valid":
        jobs.enqueue_job(TAX_ID_CHECK_JOB, {"account_id": account_id, "number": number}, now)
    return kept


def delete_tax_id(account_id: str) -> None:
    lock_row(Account, account_id)
    if kept := db.session.get(TaxId, account_id):
        db.session.delete(kept)


@jobs.job_handler(TAX_ID_CHECK_JOB)
def check_tax_id(payload: dict, now: datetime) -> None:
    """Ask the register; until it has answered, the tax is charged."""
    number, seller = payload["number"], current_app.extensions["settings"].seller_vat_id
    if fetch_one(TaxId.__table__.select().where(TaxId.account_id == payload["account_id"])) is None:
        return
    answer = vies.check_vat_number(number, seller)
    kept = db.session.get(TaxId, payload["account_id"])
    if kept is None or kept.number != number:
        return
    if answer.is_valid is None:
        raise jobs.Retry(now + CHECK_RETRY_AFTER)
    kept.status, kept.reference, kept.checked_at = "valid" if answer.is_valid else "invalid", answer.reference, now
