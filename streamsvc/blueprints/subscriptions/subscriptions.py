"""The viewer's subscriptions."""

from sqlalchemy.exc import IntegrityError

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import current_key_id, idempotent
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models.subscriptions import StoreSubscription, Subscription
from streamsvc.operations.billing.core import payment_limits
from streamsvc.operations.billing.core.sources import raise_if_managed_by_store
from streamsvc.operations.billing.stores.refreshing import retry_after_refresh
from streamsvc.operations.billing.subscriptions.store_views import paginate_subscriptions, store_subscription_view
from streamsvc.operations.billing.subscriptions.subscribe import subscribe_account
from streamsvc.operations.billing.subscriptions.views import preloaded_views, subscription_view
from streamsvc.rules.billing.inputs import SubscriptionInput
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.billing import AlreadySubscribed
from streamsvc.rules.refusals.charges import START_ERRORS
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.subscriptions.subscriptions import SubscriptionIn, SubscriptionOut
from streamsvc.security.principals import current_viewer

bp = Blueprint(
    "subscriptions", __name__, url_prefix="/v1/subscriptions", description="Subscribe, and read subscriptions."
)


@bp.route("")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(SubscriptionOut))
def list_subscriptions(query: PageInput) -> dict:
    """List your subscriptions, newest first, whoever bills them."""
    account_id, zone = current_viewer().account_id, current_viewer().row.time_zone
    page = paginate_subscriptions(query, account_id, "subscriptions")
    with preloaded_views(page["items"]):
        items = [
            store_subscription_view(row, zone) if isinstance(row, StoreSubscription) else subscription_view(row)
            for row in page["items"]
        ]
        return page | {"items": items}


@bp.route("", methods=["POST"])
@bp.arguments(SubscriptionIn)
@idempotent(required=True)
@bp.errors(*START_ERRORS, TooManyAttempts)
@bp.response(201, SubscriptionOut)
def create_subscription(body: SubscriptionInput) -> dict:
    """Create a subscription.

    Starts a trial or charges at once. A declined payment is 402 `payment_failed`; one that the customer must
    confirm is 402 `authentication_required` with `next_action`. While an invoice of the account is overdue: 409
    `payment_overdue`, whose `invoices` are to be paid first. After a subscription of an app store that ends, it starts
    on the day after, unless `start_date` is given; a third live subscription is 409 `already_subscribed`, once the
    stores have been asked whether theirs are still live. 429 `too_many_attempts` after too many declined payments.
    """
    account_id, now = current_viewer().account_id, clock.now()
    if body["gift_code"]:
        payment_limits.count_gift_code_attempt(account_id, current_request_facts())
    try:
        with payment_limits.limited_payment_attempt(account_id, current_request_facts(), body["payment_method_id"]):
            subscription = retry_after_refresh(
                account_id, now, lambda: subscribe_account(account_id, body, now, account_id, current_key_id())
            )
    except IntegrityError:  # a concurrent request subscribed first; the unique index decides
        raise AlreadySubscribed from None
    return subscription_view(subscription)


@bp.route("/<subscription_id>")
@bp.response(200, SubscriptionOut)
def get_subscription(subscription_id: str) -> dict:
    """Retrieve a subscription."""
    account_id = current_viewer().account_id
    subscription = Subscription.find_owned(account_id, subscription_id)
    if subscription is not None:
        return subscription_view(subscription)
    store_subscription = StoreSubscription.find_owned(account_id, subscription_id)
    if store_subscription is None:
        raise NotFound
    return store_subscription_view(store_subscription, current_viewer().row.time_zone)


def get_own_subscription(subscription_id: str) -> Subscription:
    """Return one of the viewer's subscriptions that we bill. Raises NotFound, ManagedByStore."""
    account_id = current_viewer().account_id
    subscription = Subscription.find_owned(account_id, subscription_id)
    if subscription is None:
        raise_if_managed_by_store(StoreSubscription.find_owned(account_id, subscription_id))
        raise NotFound
    return subscription
