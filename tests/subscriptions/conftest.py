"""Fixtures of the billing tests."""

import pytest

from tests.subscriptions.both_stores import live_with_both_stores
from tests.worlds.stripe_events import use_stripe
from tests.worlds.stripe_server import stripe_server


@pytest.fixture
def stripe(app, monkeypatch):
    """The local server with Stripe's API, which is the app's payment provider."""
    with stripe_server() as (address, state):
        use_stripe(app, monkeypatch, address)
        yield state


@pytest.fixture
def life(app, monkeypatch, tmp_path):
    """Ann's life with both app stores; the tests of one store have a life of their own."""
    with live_with_both_stores(app, monkeypatch, tmp_path) as life:
        yield life
