"""Stripe's webhook events, signed and delivered as Stripe does, and the settings for the local server."""

import hashlib
import hmac
import json

from streamsvc import clock

SECRET = "whsec_test"


def use_stripe(app, monkeypatch, address, **more):
    """Make Stripe at this address the app's payment provider."""
    values = {"payment_provider": "stripe", "stripe_secret_key": "sk_test_1", "stripe_webhook_secret": SECRET}
    settings = app.extensions["settings"].replace(**values | more, stripe_url=address)
    monkeypatch.setitem(app.extensions, "settings", settings)


def deliver_event(world, event, secret=SECRET, at=None):
    """Deliver an event as Stripe does, signed with a timestamp."""
    body = json.dumps(event).encode()
    at = at or int(clock.wall_time().timestamp())
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Stripe-Signature": f"t={at},v1={signature}", "Content-Type": "application/json"}
    return world.operator.client.post("/v1/webhooks/stripe", data=body, headers=headers)


def event(number, kind, event_object, **previous):
    data = {"object": event_object} | ({"previous_attributes": previous} if previous else {})
    return {"id": f"evt_{number}", "object": "event", "type": kind, "data": data}


def last_intent(stripe):
    return next(reversed(stripe.intents.values()))


def tick(world):
    """Run the jobs that are due now."""
    world.go_to(world.clock.at)
