"""Hot reads: GET requests that their views answer without the rest of Flask's dispatch.

Matching the URL, running the hooks of every request and passing through middleware cost more than most reads. So this
WSGI middleware looks up the views marked by `hot_read` in a table of its own, finds the viewer, calls the same view as
Flask would, and has the other middleware complete the response directly. Whatever is unusual about a request (a cookie
without a token, an operator's key, a session that needs a second look) goes the whole way. So there is one
implementation, and tests compare both ways for every request that they send.
"""

import re
import time
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple, Protocol
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Request, Response
from flask.ctx import AppContext
from flask.globals import _cv_app, _cv_request
from flask.sessions import NullSession
from werkzeug.http import remove_entity_headers
from werkzeug.routing import Rule

from streamsvc.http import access_log, metrics
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.security.access import Access, View
from streamsvc.security.principals import set_principal
from streamsvc.security.viewers import find_ordinary_viewer
from streamsvc.storage.database import db

SCHEME = "Bearer "
PREFIX = SCHEME + SESSION_TOKEN_PREFIX
UNUSUAL_HEADERS = frozenset(("HTTP_DPOP", "HTTP_X_END_USER_ADDRESS"))
ID = re.compile(r"[A-Za-z0-9_\-]{1,100}")
Headers = list[tuple[str, str]]


def hot_read(view: View) -> View:
    """Mark a GET view that may be called without Flask's dispatch: for everyone, or for viewers whatever their profile.

    Its path has at most one parameter, the last segment.
    """
    view.is_hot = True
    return view


class HotRequest(Request):
    """A request whose rule is already known, and which is parsed once a view asks for more than its environment."""

    def __init__(self, environ: WSGIEnvironment, rule: Rule, arguments: dict[str, Any]) -> None:
        self.environ, self.url_rule, self.view_args = environ, rule, arguments

    def __getattr__(self, name: str) -> Any:
        super().__init__(self.environ, populate_request=False)
        return object.__getattribute__(self, name)


class Answer(NamedTuple):
    """A complete response."""

    status: str
    headers: Headers
    body: Iterable[bytes]


class Completing(Protocol):
    """Middleware that works in two steps, so that hot reads can take them without calling through it."""

    def prepare(self, environ: WSGIEnvironment) -> None:
        """Note in the environment what the response will need; once for each request."""

    def complete(
        self, environ: WSGIEnvironment, status: str, headers: Headers, body: Iterable[bytes]
    ) -> tuple[Headers, Iterable[bytes]]:
        """Return the headers and the body to send."""


class HotContext(AppContext):
    """What Flask's proxies show during a hot read: the contexts of the app and of the request in one.

    Setting up and ending Flask's own costs as much as reading a session.
    """

    session = NullSession()

    def __init__(self, app: Flask, request: Request) -> None:
        self.app, self.request, self.url_adapter = app, request, None
        self.g = app.app_ctx_globals_class()

    def __enter__(self) -> "HotContext":
        self.tokens = _cv_app.set(self), _cv_request.set(self)  # type: ignore[arg-type]  # all that a view uses of it
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if db.session.registry.has():
                db.session.remove()
        finally:
            _cv_app.reset(self.tokens[0])
            _cv_request.reset(self.tokens[1])


class HotRead(NamedTuple):
    """A view in the table, and whether it needs no token."""

    rule: Rule
    view: View
    is_public: bool
    reads_query: bool
    parameter: str | None


class HotReads:
    """The middleware. `wsgi_app` is the app for all other requests, in whatever middleware it is."""

    def __init__(self, app: Flask, wsgi_app: WSGIApplication) -> None:
        self.app, self.wsgi_app = app, wsgi_app
        self.middleware: list[Completing] = []
        """What completes their responses too, from the inside out."""
        inner: Any = wsgi_app
        while hasattr(inner, "complete"):
            self.middleware.insert(0, inner)
            inner = inner.wsgi_app
        settings = app.extensions["settings"]
        self.has_metrics = settings.metrics
        self.notes_caller = settings.access_log or settings.tracing

    @cached_property
    def table(self) -> dict[str, HotRead]:
        """The hot reads by path, without the parameter."""
        table = {}
        for rule in self.app.url_map.iter_rules():
            view = self.app.view_functions[rule.endpoint]
            if getattr(view, "is_hot", False) and "GET" in (rule.methods or ()):
                access: Access = getattr(view, "access", Access(viewer=True))
                path, _, parameter = rule.rule.partition("<")
                is_for_kids = access.scope == "catalog" or getattr(view, "allows_kids", False)
                assert access.public or (access.viewer and is_for_kids), rule
                reads_query = getattr(view, "reads_query", False)
                table[path] = HotRead(rule, view, access.public, reads_query, parameter.rstrip(">") or None)
        return table

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET" and (answer := self.answer(environ)):
            start_response(answer.status, answer.headers)
            return answer.body
        return self.wsgi_app(environ, start_response)

    def answer(self, environ: WSGIEnvironment) -> Answer | None:
        """Answer a GET request; None if it goes the whole way."""
        found = self.find(environ["PATH_INFO"])
        if found is None or not self._is_usual(environ, found[0]):
            return None
        for each in self.middleware:
            each.prepare(environ)
        response = self._call_view(environ, *found)
        if response is None:
            return None
        status, headers, body = as_wsgi(response, environ)
        for each in self.middleware:
            headers, body = each.complete(environ, status, headers, body)
        return Answer(status, headers, body)

    def find(self, path: str) -> tuple[HotRead, dict[str, str]] | None:
        """Return the hot read of a path, and its view's arguments; None if there is none."""
        read = self.table.get(path)
        if read and not read.parameter:
            return read, {}
        folder, _, name = path.rpartition("/")
        read = self.table.get(folder + "/")
        return (read, {read.parameter: name}) if read and read.parameter and ID.fullmatch(name) else None

    @staticmethod
    def _is_usual(environ: WSGIEnvironment, read: HotRead) -> bool:
        if environ["QUERY_STRING"] and not read.reads_query:
            return False
        if not read.is_public and not environ.get("HTTP_AUTHORIZATION", "").startswith(PREFIX):
            return False
        return UNUSUAL_HEADERS.isdisjoint(environ)

    def _call_view(self, environ: WSGIEnvironment, read: HotRead, arguments: dict[str, Any]) -> Response | None:
        """Return the view's response; None if Flask should answer."""
        started = time.perf_counter()
        with HotContext(self.app, HotRequest(environ, read.rule, arguments)) as context:
            try:
                context.g.now = self.app.extensions["clock"]()
                if not read.is_public:
                    viewer = find_ordinary_viewer(environ["HTTP_AUTHORIZATION"][len(SCHEME) :], read.view, arguments)
                    if viewer is None:
                        return None
                    set_principal(viewer)
                response = read.view(**arguments)
            except Exception as error:
                try:
                    response = self.app.make_response(self.app.handle_user_exception(error))
                except Exception:
                    return None  # nobody expected it: Flask meets it again, logs it and responds
            if self.notes_caller:
                access_log.note_caller(response)
        if self.has_metrics:
            metrics.observe_duration(self.app, "GET", read.rule.rule, response.status_code, started)
        return response


def as_wsgi(response: Response, environ: WSGIEnvironment) -> Answer:
    """Return a response as it is: a document is complete, and so is a 304, which saves Werkzeug's last look at it."""
    status, headers = response.status, response.headers
    if status.startswith("304"):
        remove_entity_headers(headers)
    elif not status.startswith("200"):
        body = b"".join(response.get_app_iter(environ))
        return Answer(status, response.get_wsgi_headers(environ).to_wsgi_list(), [body])
    return Answer(status, list(headers), response.response)  # type: ignore[arg-type]  # a list of bytes: nothing streams
