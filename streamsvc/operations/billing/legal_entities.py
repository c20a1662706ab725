"""Legal entities: further companies that sell, each to countries of its own, with its own number series."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from streamsvc.models.subscriptions import InvoiceNumber, LegalEntity, LegalEntityCountry
from streamsvc.rules.billing import vat
from streamsvc.rules.billing.inputs import LegalEntityInput
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.settings import current_settings
from streamsvc.storage.database import db


def list_legal_entities() -> list[LegalEntity]:
    """List all legal entities by code."""
    return list(db.session.scalars(sa.select(LegalEntity).order_by(LegalEntity.code)))


def get_legal_entity(code: str) -> LegalEntity:
    """Return the legal entity. Raises NotFound."""
    entity = db.session.get(LegalEntity, code)
    if entity is None:
        raise NotFound
    return entity


def replace_legal_entity(code: str, body: LegalEntityInput, now: datetime) -> LegalEntity:
    """Create or replace a legal entity. Applies to invoices issued from now on. Raises Invalid."""
    values: dict = {name: value for name, value in body.items() if name != "countries"}
    values["vat_id"] = body["vat_id"] and vat.normalize_vat_number(body["vat_id"])
    if values["vat_id"] and vat.vat_number_country(values["vat_id"]) is None:
        raise Invalid(errors={"vat_id": ["Must be a valid VAT number that starts with its country code."]})
    if body["prefix"] == current_settings().invoice_prefix:
        raise Invalid(errors={"prefix": ["Must differ from the prefix of the settings' seller."]})
    entity = db.session.get(LegalEntity, code) or LegalEntity(code=code)
    for name, value in values.items():
        setattr(entity, name, value)
    entity.updated_at = now
    db.session.add(entity)
    try:
        db.session.flush()
    except IntegrityError:
        raise Invalid(errors={"prefix": ["Must differ from the prefixes of other legal entities."]}) from None
    _replace_countries(code, body["countries"])
    return entity


def _replace_countries(code: str, countries: list[str]) -> None:
    db.session.execute(sa.delete(LegalEntityCountry).where(LegalEntityCountry.entity_code == code))
    db.session.add_all(LegalEntityCountry(country=country, entity_code=code) for country in sorted(set(countries)))
    try:
        db.session.flush()
    except IntegrityError:  # the primary key decides, also between concurrent requests
        raise Invalid(errors={"countries": ["Each country can have only one legal entity."]}) from None


def delete_legal_entity(code: str) -> None:
    """Delete a legal entity that never issued anything. Raises NotFound, WrongState."""
    entity = get_legal_entity(code)
    series = InvoiceNumber.series
    is_used = sa.or_(series.startswith(f"{entity.prefix}-"), series.startswith(f"CN-{entity.prefix}-"))
    if db.session.scalar(sa.select(series).where(is_used).limit(1)):
        raise WrongState(detail="The legal entity has issued invoices; give it no countries instead.")
    db.session.execute(sa.delete(LegalEntityCountry).where(LegalEntityCountry.entity_code == code))
    db.session.delete(entity)
