"""Request bodies of purchases in app stores, and of the stores' notifications."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from streamsvc.rules.stores.state import SOURCES
from streamsvc.schemas.base import Choice, StrictSchema, Text

MAX_JWS_LENGTH = 40_000
PROOFS = {"app_store": "signed_transaction", "play_store": "purchase_token"}


class StorePurchaseIn(StrictSchema):
    """The store, and its proof: StoreKit 2's `jwsRepresentation`, or Google Play's purchase token."""

    source = Choice(*SOURCES, required=True)
    signed_transaction = Text(load_default=None, max_length=MAX_JWS_LENGTH)
    purchase_token = Text(load_default=None, max_length=1_000)

    @validates_schema
    def check_proof(self, data: dict, **kwargs: Any) -> None:
        for source, name in PROOFS.items():
            if (data[name] is not None) != (data["source"] == source):
                raise ValidationError(f"Must be given for {source}, and only then.", name)


class AppStoreNotificationIn(StrictSchema):
    """A `responseBodyV2` of App Store Server Notifications; other members are ignored."""

    class Meta:
        unknown = "exclude"

    signedPayload = Text(required=True, max_length=200_000)


class PlayStoreNotificationIn(StrictSchema):
    """A push of Pub/Sub; the members of later versions are ignored."""

    class Meta:
        unknown = "exclude"

    message = fields.Dict(required=True)
    subscription = Text(load_default=None)
