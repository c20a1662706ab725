"""Fixtures of the billing tests."""

import pytest

from tests.worlds.stripe_events import use_stripe
from tests.worlds.stripe_server import stripe_server


@pytest.fixture
def stripe(app, monkeypatch):
    """The local server with Stripe's API, which is the app's payment provider."""
    with stripe_server() as (address, state):
        use_stripe(app, monkeypatch, address)
        yield state
