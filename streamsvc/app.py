"""The application factory: registers every part of the service on one Flask application."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask, Request, request
from flask_migrate import Migrate
from werkzeug.routing import MapAdapter, Rule

from streamsvc import __version__, clock
from streamsvc.http import edge, metrics, request_facts
from streamsvc.models import AccountClock
from streamsvc.operations.maintenance import clock_check, job_handlers  # noqa: F401  (names every job's handler)
from streamsvc.operations.sandbox import sandbox_now
from streamsvc.security import authorization, end_user_addresses
from streamsvc.settings import Settings
from streamsvc.storage import database, replica
from streamsvc.tracing import start_tracing

MIGRATIONS = Path(__file__).parent / "migrations"


class LazyRule(Rule):
    """A URL rule that compiles its URL builder when a URL is built, which few are: an app has hundreds of rules.

    `_compile_builder` is private to Werkzeug; in a release without it, the rules are compiled as they are registered.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled: list[Callable[..., tuple[str, str]]] = []

        def build(rule: Rule, **values: Any) -> tuple[str, str]:
            if not compiled:
                compiled.append(Rule._compile_builder(self, append_unknown))
            return compiled[0](rule, **values)

        return build


class Service(Flask):
    """The Flask application, with adjusted error logging."""

    url_rule_class = LazyRule

    def ensure_sync(self, func: Any) -> Any:
        """Return the view itself: no view is a coroutine, so Flask need not check at every step of a request."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what matches the request's path.

        Flask would parse the Host too, twice: no rule depends on it, and none redirects. An absolute URI may have an
        empty path, which is `/` (RFC 9112, section 3.2.1).
        """
        if request is None:
            return None
        environ = request.environ
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace") or "/"
        return self.url_map.bind("", path_info=path, default_method=environ["REQUEST_METHOD"])

    def log_exception(self, exc_info: Any) -> None:
        """Log an unhandled exception with the request id and the route.

        The path is not logged, since it may hold any text.
        """
        request_facts = edge.current_request_id(), request.method, request.url_rule
        self.logger.error("request %s failed: %s %s", *request_facts, exc_info=exc_info)


def create_app(
    settings: Settings | None = None, now: Callable[[], datetime] | None = None, has_endpoints: bool = True
) -> Flask:
    """Create the WSGI application.

    `settings` default to the environment's; `now`, a function that returns the current time, replaces the clock in
    tests. Commands and the worker need no endpoints: without them they start sooner and hold less memory.
    """
    settings = settings or Settings.from_env()
    app = Service("streamsvc", static_folder=None)
    app.extensions.update(settings=settings, clock=now or (sandbox_now if settings.sandbox else clock.wall_time))
    if settings.sandbox:
        app.extensions["account_clock"] = AccountClock.find_time
    app.extensions["watch_clock"] = partial(clock_check.watch_clock, app)
    app.config["SECRET_KEY"] = settings.secret_key[0]
    database.init_app(app, settings)
    if settings.database_replica_url:
        replica.init_app(app, settings.database_replica_max_lag_s)
    Migrate(app, database.db, directory=str(MIGRATIONS))
    if settings.metrics:
        metrics.init_app(app)
    if settings.tracing:
        with app.app_context():
            start_tracing(__version__, database.db.engines.values())
    edge.init_app(app, settings.trusted_proxies)
    end_user_addresses.init_app(app)
    request_facts.init_app(app)
    authorization.init_app(app)
    if has_endpoints:
        from streamsvc import blueprints

        blueprints.register_blueprints(app, settings)
    return app
