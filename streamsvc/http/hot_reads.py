"""Hot reads: GET requests that their views answer without the rest of Flask's dispatch.

Matching the URL and running the hooks of every request cost more than most reads. So this WSGI middleware looks up the
views marked by `hot_read` in a table of its own, finds the viewer, and calls the same view in the same request context
as Flask would. Whatever is unusual about a request (a cookie, an operator's key, a session that needs a second look)
goes to Flask. So there is one implementation, and tests compare both ways for every request that they send.
"""

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Request, Response
from flask.ctx import RequestContext
from flask.sessions import NullSession
from werkzeug.http import remove_entity_headers
from werkzeug.routing import Rule

from streamsvc.http import access_log, metrics
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.security.access import Access, View
from streamsvc.security.principals import set_principal
from streamsvc.security.viewers import find_ordinary_viewer

PREFIX = f"Bearer {SESSION_TOKEN_PREFIX}"
UNUSUAL_HEADERS = frozenset(("HTTP_DPOP", "HTTP_X_END_USER_ADDRESS"))
ID = re.compile(r"[A-Za-z0-9_\-]{1,100}")
NO_SESSION = NullSession()


def hot_read(view: View) -> View:
    """Mark a GET view that may be called without Flask's dispatch: for everyone, or for viewers whatever their profile.

    Its path has at most one parameter, the last segment.
    """
    view.is_hot = True
    return view


class HotRequest(Request):
    """A request whose rule is already known."""


class HotRead(NamedTuple):
    """A view in the table, and whether it needs no token."""

    rule: Rule
    view: View
    is_public: bool
    reads_query: bool
    parameter: str | None


class HotReads:
    """The middleware. `wsgi_app` is Flask's, for all other requests."""

    def __init__(self, app: Flask, wsgi_app: WSGIApplication) -> None:
        self.app, self.wsgi_app = app, wsgi_app
        self.has_metrics = app.extensions["settings"].metrics
        settings = app.extensions["settings"]
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
        if environ["REQUEST_METHOD"] == "GET" and (found := self.find(environ["PATH_INFO"])):
            read, arguments = found
            if self._is_usual(environ, read) and (response := self._answer(environ, read, arguments)):
                return send_response(response, environ, start_response)
        return self.wsgi_app(environ, start_response)

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

    def _answer(self, environ: WSGIEnvironment, read: HotRead, arguments: dict[str, Any]) -> Response | None:
        """Return the view's response; None if Flask should answer."""
        request = HotRequest(environ)
        request.url_rule, request.view_args = read.rule, arguments
        with RequestContext(self.app, environ, request=request, session=NO_SESSION):
            metrics.start_timer()
            try:
                if not read.is_public:
                    viewer = find_ordinary_viewer(environ["HTTP_AUTHORIZATION"][len("Bearer ") :], read.view, arguments)
                    if viewer is None:
                        return None
                    set_principal(viewer)
                result = read.view(**arguments)
            except Exception as error:
                try:
                    result = self.app.handle_user_exception(error)
                except Exception:
                    return None  # nobody expected it: Flask meets it again, logs it and responds
            response = self.app.make_response(result)
            if self.notes_caller:
                access_log.note_caller(response)
            return metrics.observe_duration(response) if self.has_metrics else response


def send_response(response: Response, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Send a response; a document is complete as it is, and so is a 304, which saves Werkzeug's last look at it."""
    if response.status_code == 304:
        remove_entity_headers(response.headers)
    elif response.status_code != 200:
        return response(environ, start_response)
    start_response(response.status, list(response.headers))
    return response.response  # type: ignore[return-value]  # a list of bytes: no view here streams
