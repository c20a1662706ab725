"""Which legal entity sells to a country: the one that lists it, else the seller of the settings."""

from streamsvc.models.subscriptions import LegalEntity, LegalEntityCountry
from streamsvc.settings import Settings, current_settings
from streamsvc.storage.database import db

SELLER_FIELDS = (
    "name",
    "street",
    "postal_code",
    "city",
    "country",
    "vat_id",
    "tax_number",
    "registration",
    "email",
    "phone",
    "tax_exemption",
    "time_zone",
)


def find_seller(country: str) -> dict:
    """Return the seller for customers of a country, as stored on their invoices: SELLER_FIELDS, `code` and `prefix`.

    Text that is not set is None. `code` is None for the seller of the settings.
    """
    listed = db.session.get(LegalEntityCountry, country)
    if listed is None:
        return _settings_seller(current_settings())
    entity = db.session.get_one(LegalEntity, listed.entity_code)
    return {"code": entity.code, "prefix": entity.prefix, **{name: getattr(entity, name) for name in SELLER_FIELDS}}


def _settings_seller(settings: Settings) -> dict:
    values = {name: getattr(settings, f"seller_{name}") or None for name in SELLER_FIELDS}
    return {"code": None, "prefix": settings.invoice_prefix, **values}
