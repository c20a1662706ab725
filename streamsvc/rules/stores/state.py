"""What a store says of a subscription, in our terms."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from streamsvc.rules.billing.access import LIVE_STATUSES

StoreSource = Literal["app_store", "play_store"]
SOURCES: tuple[StoreSource, ...] = get_args(StoreSource)
SUBSCRIPTION_SOURCES = ("sandbox", "stripe", *SOURCES, "manual")
"""Who can bill a subscription; `manual`: an operator started it, for somebody who pays elsewhere."""
PRODUCTION, SANDBOX = "production", "sandbox"
RENEWAL_LEEWAY = timedelta(hours=1)
"""How long access lasts beyond a period that renews, until the store has been asked whether it did."""
MAX_SOURCES = 2
"""How many subscriptions of an account may be live at once: more than one, to move from one to another."""
PENDING_WAIT = timedelta(hours=1)
"""How often the store is asked about a purchase that is not paid yet."""
MIN_WAIT, MAX_WAIT = timedelta(minutes=5), timedelta(days=1)
FIRST_YEAR = timedelta(days=365)
STORE_NAMES: dict[str, str] = {"app_store": "the App Store", "play_store": "Google Play"}
MANAGEMENT_URLS: dict[str, str] = {
    # https://developer.apple.com/documentation/storekit/handling-subscriptions-billing ("Provide access to manage")
    "app_store": "https://apps.apple.com/account/subscriptions",
    # https://developer.android.com/google/play/billing/subscriptions#deep-link
    "play_store": "https://play.google.com/store/account/subscriptions",
}


@dataclass(frozen=True)
class StorePayment:
    """A payment to the store. `stated_at`: when the store said so; None: as part of the state."""

    id: str
    product_id: str
    currency: str
    amount_minor: int
    purchased_at: datetime
    refunded_at: datetime | None = None
    refunded_minor: int = 0
    stated_at: datetime | None = None


@dataclass(frozen=True)
class StoreState:
    """The state of one subscription, as the store's API returns it.

    `period_end`: the end of what is paid for. `grace_end`: of the days that the store grants after a failed renewal.
    `has_access`: whether the store would let its customer in before these ends. `replaced_keys`: names of the same
    subscription that are no longer valid.
    """

    source: StoreSource
    environment: str
    key: str
    product_id: str
    status: str
    store_state: str
    has_access: bool
    base_plan_id: str | None = None
    account_id: str | None = None
    """Of the account that the app named when it started the purchase; None if it named none."""
    started_at: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    grace_end: datetime | None = None
    renews: bool = False
    renewal_product_id: str | None = None
    resumes_at: datetime | None = None
    canceled_at: datetime | None = None
    cancel_reason: str | None = None
    offer: str | None = None
    is_trial: bool = False
    family_shared: bool = False
    price_consent: str | None = None
    acknowledged: bool = True
    replaced_keys: tuple[str, ...] = ()
    current_payment_id: str | None = None
    payments: tuple[StorePayment, ...] = ()
    history_revision: str | None = None
    """Up to where `payments` continue the store's history; None if it was not fetched, or the store has none."""

    @property
    def access_until(self) -> datetime | None:
        """Return the end of access; None if the state gives none.

        A period that renews lasts for `RENEWAL_LEEWAY` longer: by then, the store has said whether it did.
        """
        if not self.has_access or self.period_end is None:
            return None
        if self.grace_end is not None:
            return max(self.period_end, self.grace_end)
        return self.period_end + RENEWAL_LEEWAY if self.renews and self.status != "past_due" else self.period_end

    def next_fetch_at(self, now: datetime) -> datetime | None:
        """Return when to ask the store again, unless it notifies us before; None once the subscription has ended.

        A renewal that is late, or fails, is asked for in waits that double.
        """
        if self.status not in LIVE_STATUSES:
            return None
        ends = [end for end in (self.period_end, self.grace_end, self.resumes_at) if end and end > now]
        if self.period_end is None:
            return now + PENDING_WAIT
        return min(ends, default=now + min(max(now - self.period_end, MIN_WAIT), MAX_WAIT))


def is_live(status: str, renews: bool, access_until: datetime | None, now: datetime) -> bool:
    """Whether a subscription is one for which the account pays, or will again without doing anything."""
    if status in ("trialing", "active") and not renews:
        return access_until is not None and now < access_until
    return status in LIVE_STATUSES


def paid_until(ends: Iterable[tuple[bool, datetime | None]]) -> datetime | None:
    """Return when the last of these subscriptions ends, (renews, access_until); None if one renews, or none ends."""
    known = list(ends)
    if any(renews for renews, _ in known):
        return None
    return max((end for _, end in known if end), default=None)
