"""Sign up, subscribe, play and cancel with a client that openapi-python-client generated: python walk.py URL"""

import sys
import time
from datetime import UTC, datetime

from streamsvc_client import AuthenticatedClient, Client
from streamsvc_client.api.accounts import create_account
from streamsvc_client.api.payment_methods import create_payment_method
from streamsvc_client.api.plans import list_plans
from streamsvc_client.api.playback import send_heartbeat, start_playback, stop_stream
from streamsvc_client.api.subscription_changes import cancel_subscription
from streamsvc_client.api.subscriptions import create_subscription
from streamsvc_client.api.titles import list_titles
from streamsvc_client.models import (
    CancellationIn,
    HeartbeatIn,
    HeartbeatInState,
    ListTitlesKind,
    NewAccount,
    PaymentMethodIn,
    PlaybackIn,
    PlaybackOut,
    SubscriptionIn,
)

url, email = sys.argv[1], f"walk-{time.time_ns()}@example.com"
account = NewAccount(email=email, password="seven red herons", country="DE")
signed_in = create_account.sync(client=Client(url), body=account)
client = AuthenticatedClient(url, signed_in.token)
refused = create_account.sync(client=Client(url), body=account)
assert refused.code == "email_taken", refused

plans = list_plans.sync(client=client, country="DE", currency="EUR").items
price = next(p for plan in plans for p in plan.prices if (p.currency, p.interval) == ("EUR", "month"))
create_payment_method.sync(client=client, body=PaymentMethodIn(token="pm_card_visa"))
order = SubscriptionIn(price_id=price.id)
subscription = create_subscription.sync(client=client, body=order, idempotency_key=f"order of {email}")
assert subscription.status in ("active", "trialing"), subscription

titles = list_titles.sync(client=client, kind=ListTitlesKind.MOVIE, limit=5).items
streams = (start_playback.sync(client=client, body=PlaybackIn(item_id=title.id)) for title in titles)
stream = next(stream for stream in streams if isinstance(stream, PlaybackOut))
report = HeartbeatIn(position_s=30, state=HeartbeatInState.PLAYING, at=datetime.now(UTC))
assert send_heartbeat.sync_detailed(stream.stream_id, client=client, body=report).status_code == 200
assert stop_stream.sync_detailed(stream.stream_id, client=client).status_code == 204

canceled = cancel_subscription.sync(
    subscription.id, client=client, body=CancellationIn(), idempotency_key=f"end of {email}"
)
assert canceled.cancel_at, canceled
print(f"Python: signed up, subscribed to {price.id}, played {stream.stream_id}, ends on {canceled.cancel_at}")
