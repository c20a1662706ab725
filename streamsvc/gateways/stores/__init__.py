"""App stores: one interface, implemented by the App Store and Google Play, and what only one of them has."""

from typing import TYPE_CHECKING

from streamsvc.gateways.stores.interface import StoreGateway
from streamsvc.settings import current_settings

if TYPE_CHECKING:
    from streamsvc.gateways.stores.app_store import AppStore
    from streamsvc.gateways.stores.play_store import PlayStore


def find_store(source: str) -> StoreGateway | None:
    """Return a store of `rules.stores.state.SOURCES`; None if no app of ours is set for it."""
    return find_app_store() if source == "app_store" else find_play_store()


def find_app_store() -> "AppStore | None":
    """Return the App Store; None if no app of ours is set for it. Imports what it needs."""
    settings = current_settings()
    if not settings.app_store_bundle_id:
        return None
    from streamsvc.gateways.stores.app_store import AppStore

    return AppStore(settings)


def find_play_store() -> "PlayStore | None":
    """Return Google Play; None if no app of ours is set for it. Imports what it needs."""
    settings = current_settings()
    if not settings.play_store_package:
        return None
    from streamsvc.gateways.stores.play_store import PlayStore

    return PlayStore(settings)
