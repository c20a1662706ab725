"""DRM: the content keys of an item, and the message that tells a licence server which licence to issue.

The message is an Axinom DRM License Service Message with an entitlement message in it, which other licence services
accept too. Source: docs.axinom.com, "Entitlement Message" and "License Service Message".
"""

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

System = Literal["widevine", "playready", "fairplay"]
Https = Annotated[str, Meta(pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/])[^\s]+$", max_length=1_000)]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
PolicyName = Annotated[str, Meta(min_length=1, max_length=64)]
ONLINE_LICENSE_LIFETIME = timedelta(days=1)


class DrmKey(Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True):
    """A content key of an item, by its key id.

    `systems` None: all. `height`, in lines, is the greatest picture that the key decrypts; None for any viewer. `iv`,
    in base64, is FairPlay's, unless its key URI has it. `policy` names one of the provider's usage policies.
    """

    id: UUID
    systems: Annotated[list[System], Meta(min_length=1, max_length=3)] | None = None
    height: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    iv: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{22}==$")] | None = None
    policy: PolicyName | None = None


class DrmProvider(Struct, forbid_unknown_fields=True, frozen=True):
    """STREAMSVC_DRM: the licence servers, and the communication key that they share with the service.

    `proxy`: whether this service forwards the players' requests to them, with the message in `message_header`.
    """

    com_key_id: UUID
    com_key: str
    license_urls: Annotated[dict[System, Https], Meta(min_length=1)]
    usage_policies: list[dict[str, Any]] = []
    offline_days: Annotated[int, Meta(ge=1, le=365)] = 7
    proxy: bool = False
    message_header: HeaderName = "X-AxDRM-Message"
    fairplay_certificate_url: Https | None = None

    def __post_init__(self) -> None:
        try:
            is_key = len(base64.b64decode(self.com_key, validate=True)) >= 32
        except ValueError:
            is_key = False
        if not is_key:
            raise ValueError("com_key must be 32 bytes or more in base64")


def parse_drm_provider(value: object) -> DrmProvider:
    """Return the provider of a JSON value. Raises ValueError."""
    try:
        return msgspec.convert(value, type=DrmProvider)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def find_system(name: str) -> System | None:
    """Return the DRM system of this name; None if there is none."""
    return next((system for system in get_args(System) if system == name), None)


def allowed_keys(keys: Sequence[DrmKey], max_height: int | None) -> list[DrmKey]:
    """Return the keys that a viewer with this limit of the picture height may get."""
    return [key for key in keys if max_height is None or key.height is None or key.height <= max_height]


def keys_of_system(keys: Sequence[DrmKey], system: System) -> list[DrmKey]:
    """Return the keys that are for a DRM system."""
    return [key for key in keys if key.systems is None or system in key.systems]


def license_urls(keys: Sequence[DrmKey], provider: DrmProvider) -> dict[System, str]:
    """Return the URL of the licence server of each system for which there is a key."""
    return {system: url for system, url in provider.license_urls.items() if keys_of_system(keys, system)}


def license_message(
    keys: Sequence[DrmKey],
    provider: DrmProvider,
    offline: bool,
    playable_until: datetime | None,
    now: datetime,
    expires_at: datetime,
) -> dict[str, Any]:
    """Return the message for a licence to these keys; a licence server accepts it until `expires_at`.

    The licence ends with the item's licence window (`playable_until`), after a day, or if it is for offline playback
    after the provider's `offline_days`.
    """
    ends_at = now + (timedelta(days=provider.offline_days) if offline else ONLINE_LICENSE_LIFETIME)
    if playable_until is not None:
        ends_at = min(ends_at, playable_until)
    entitlement = {
        "type": "entitlement_message",
        "version": 2,
        "license": {"allow_persistence": offline, "expiration_datetime": ends_at.isoformat(timespec="seconds")},
        "content_keys_source": {"inline": [_key_entry(key) for key in keys]},
        "content_key_usage_policies": provider.usage_policies,
    }
    return {
        "version": 1,
        "com_key_id": str(provider.com_key_id),
        "expiration_date": expires_at.isoformat(timespec="seconds"),
        "message": entitlement,
    }


def single_use(message: dict[str, Any], message_id: str) -> dict[str, Any]:
    """Return a message by which a licence server issues each key once, so that who sees it has no use for it.

    Source: docs.axinom.com, "License Service Configuration", `prevent_drm_message_reuse`.
    """
    access_control = {"access_control": {"prevent_drm_message_reuse": True}}
    return message | {"id": message_id, "message": message["message"] | {"license_server": access_control}}


def _key_entry(key: DrmKey) -> dict[str, str]:
    entry = {"id": str(key.id), "iv": key.iv, "usage_policy": key.policy}
    return {name: value for name, value in entry.items() if value is not None}
