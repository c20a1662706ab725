"""The account's devices."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import Device, DeviceTrust, Session
from streamsvc.operations.accounts import devices
from streamsvc.operations.credentials import trusted_devices
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import access_links
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import TokenInvalid, TooManyAttempts
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.access import AccessRevocation
from streamsvc.schemas.sessions.devices import DeviceOut, DevicePatch
from streamsvc.security.access import public
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db

bp = Blueprint("devices", __name__, url_prefix="/v1/devices", description="Devices that have signed in.")


@bp.route("")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(DeviceOut))
def list_devices(query: PageInput) -> dict:
    """List your devices, newest first."""
    page = paginate_query(Device.select_owned(current_viewer().account_id), Device.id, query, "devices")
    return page | {"items": _device_views(page["items"])}


@bp.route("/<device_id>", methods=["PATCH"])
@bp.arguments(DevicePatch)
@bp.response(200, DeviceOut)
def rename_device(body: dict, device_id: str) -> dict:
    """Rename a device."""
    device = _get_own_device(device_id)
    device.name = body["name"]
    db.session.commit()
    return _device_views([device])[0]


@bp.route("/<device_id>", methods=["DELETE"])
@bp.response(204)
def delete_device(device_id: str) -> None:
    """Remove a device.

    Its sessions and streams end. When it signs in again, it counts as a new device. Its place under the plan's device
    limit becomes free at once, unless the plan's `max_device_removals` of the last 30 days are used up.
    """
    device = _get_own_device(device_id)
    removals = current_viewer().entitlements.get("max_device_removals")
    devices.remove_devices(device.account_id, [device.id], clock.now(), removals=removals)
    db.session.commit()


@bp.route("/<device_id>/trust", methods=["DELETE"])
@bp.response(204)
def revoke_device_trust(device_id: str) -> None:
    """Revoke trust in a device.

    Its next sign-in asks for the second factor again.
    """
    device = _get_own_device(device_id)
    trusted_devices.revoke_device_trust(device.account_id, DeviceTrust.device_id == device.id)
    db.session.commit()


@bp.route("/disowned", methods=["PUT"])
@bp.arguments(AccessRevocation)
@public
@bp.errors(EndUserAddressInvalid, TokenInvalid, TooManyAttempts)
@bp.response(204)
def disown_device(body: dict) -> None:
    """Report a new device as not yours.

    Takes the token of the new-device email. Everything that was added since the device signed in is revoked, what is
    older stays: see `POST /v1/access-revocation-previews`. The password stops working, and an email lets the owner set
    a new one.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    access_links.use_access_link(body["token"], clock.now(), body["since"], ("new_device",))
    db.session.commit()


def _get_own_device(device_id: str) -> Device:
    device = Device.find_owned(current_viewer().account_id, device_id)
    if device is None:
        raise NotFound
    return device


def _device_views(rows: list[Device]) -> list[dict]:
    """Return the devices as JSON, with live sessions and trust read in one query each."""
    ids, account_ids = [device.id for device in rows], {device.account_id for device in rows}
    usage = (
        sa.select(
            Session.device_id, sa.func.count(), sa.func.max(Session.last_seen_at, type_=Session.last_seen_at.type)
        )
        .where(Session.account_id.in_(account_ids), Session.device_id.in_(ids), *Session.live_conditions(clock.now()))
        .group_by(Session.device_id)
    )
    sessions = {device_id: (count, seen_at) for device_id, count, seen_at in db.session.execute(usage)}
    trusted = trusted_devices.list_trust_expirations(ids, clock.now())
    return [_device_view(row, trusted.get(row.id), *sessions.get(row.id, (0, row.last_seen_at))) for row in rows]


def _device_view(device: Device, trusted_until: datetime | None, sessions: int, seen_at: datetime) -> dict:
    view = {name: getattr(device, name) for name in ("id", "name", "kind", "created_at")}
    current = device.id == current_viewer().row.device_id
    seen_at = max(seen_at, device.last_seen_at)
    return view | {"last_seen_at": seen_at, "current": current, "sessions": sessions, "trusted_until": trusted_until}
