"""The whole service, put together in one function. Nothing is decided here."""

from pathlib import Path

from flask import Flask, request
from flask_migrate import Migrate

from streamsvc import blueprints, clock
from streamsvc.http import edge, metrics, request_facts
from streamsvc.operations.maintenance import job_handlers  # noqa: F401  (names every job's handler)
from streamsvc.operations.sandbox import sandbox_now
from streamsvc.security import authentication, end_user_addresses
from streamsvc.settings import Settings
from streamsvc.storage import database

MIGRATIONS = Path(__file__).parent / "migrations"


class Service(Flask):
    def ensure_sync(self, func):
        """No view here is a coroutine; Flask would ask so at every step of every request."""
        return func

    def log_exception(self, exc_info):
        """What nobody caught, under the id that its answer tells; by the route, since a path may hold anything."""
        where = edge.current_request_id(), request.method, request.url_rule
        self.logger.error("request %s failed: %s %s", *where, exc_info=exc_info)


def create_app(settings: Settings | None = None, now=None) -> Flask:
    """The WSGI application. `settings` come from the environment unless given; `now` is the clock, for tests."""
    settings = settings or Settings.from_env()
    app = Service("streamsvc", static_folder=None)
    app.extensions.update(settings=settings, clock=now or (sandbox_now if settings.sandbox else clock.wall_time))
    app.config["SECRET_KEY"] = settings.secret_key[0]
    database.init_app(app, settings)
    Migrate(app, database.db, directory=str(MIGRATIONS))
    if settings.metrics:
        metrics.init_app(app)
    edge.init_app(app, settings.trusted_proxies)
    end_user_addresses.init_app(app)
    request_facts.init_app(app)
    authentication.init_app(app)
    blueprints.register(app, settings)
    return app
