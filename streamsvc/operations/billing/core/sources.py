"""The live subscriptions of an account, whoever bills them: how many there may be, and when the next one starts."""

from datetime import date, datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import StoreSubscription, Subscription
from streamsvc.rules.refusals.billing import AlreadySubscribed, ManagedByStore
from streamsvc.rules.stores.sources import first_day_after
from streamsvc.rules.stores.state import MANAGEMENT_URLS, MAX_SOURCES, is_live, paid_until

TOO_MANY_SOURCES = "Two subscriptions of this account are live already; end one of them before you start a third."


def list_live_store_subscriptions(account_id: str, now: datetime) -> list[StoreSubscription]:
    """List the account's live subscriptions of app stores."""
    rows = StoreSubscription.list_of_account(account_id)
    return [row for row in rows if is_live(row.status, row.renews, row.access_until, now)]


def require_room(account: Account, now: datetime, besides: str | None = None) -> list[StoreSubscription]:
    """Return the live subscriptions of app stores. `besides`: the id of a subscription that does not count.

    Raises AlreadySubscribed if the account, which is locked, may have no further subscription.
    """
    has_stores = account.store_access is not None  # names every live subscription of a store
    stores = list_live_store_subscriptions(account.id, now) if has_stores else []
    stores = [row for row in stores if row.id != besides]
    own = Subscription.find_live(account.id)
    sources = [own.source or "web"] if own and own.id != besides else []
    sources += [row.source for row in stores]
    if len(sources) >= MAX_SOURCES:
        raise AlreadySubscribed(detail=TOO_MANY_SOURCES, sources=sources)
    return stores


def find_following_start(stores: list[StoreSubscription], time_zone: str) -> date | None:
    """Return the first day after what was paid to the stores; None if nothing was, or one of them renews.

    The rest of the day on which it ends is free: see `bridged_until`.
    """
    until = paid_until((row.renews or row.status == "past_due", row.access_until) for row in stores)
    return first_day_after(until, time_zone) if until else None


def raise_if_managed_by_store(row: StoreSubscription | None) -> None:
    """Raise ManagedByStore if there is such a subscription."""
    if row is not None:
        raise ManagedByStore(source=row.source, management_url=MANAGEMENT_URLS[row.source])
