"""Fixtures shared by tests of sessions: a service with an OpenID Connect provider."""

import json

import pytest

from streamsvc.gateways import oidc
from streamsvc.storage.database import db
from tests.conftest import Clock, delete_all_rows
from tests.worlds import oidc_provider
from tests.worlds.oidc_provider import CLIENT


@pytest.fixture(scope="module")
def running_provider():
    with oidc_provider.running() as provider:
        yield provider


@pytest.fixture
def provider(running_provider):
    running_provider.reset()
    oidc._document_cache.clear()
    return running_provider


@pytest.fixture(scope="module")
def apps_with_provider():
    return {}


@pytest.fixture
def app_with_provider(database, apps_with_provider, new_app, provider):
    """The service with one provider, on an empty database."""
    if database not in apps_with_provider:
        entry = {"issuer": provider.issuer, "client_id": CLIENT[0], "client_secret": CLIENT[1]}
        apps_with_provider[database] = new_app(
            database, "oidc", clock=Clock(), oidc_providers=json.dumps({"example": entry})
        )
    app = apps_with_provider[database]
    app.extensions["clock"].__init__()
    with app.app_context():
        delete_all_rows(db.engine)
    yield app
    with app.app_context():
        db.session.remove()
