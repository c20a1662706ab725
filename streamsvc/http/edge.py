"""The HTTP edge: request parsing by schemas, JSON, problem documents, request ids and response headers."""

import json
import logging
import random
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, NoReturn
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import flask_smorest
import msgspec
from apispec import APISpec
from flask import Flask, Request, Response, current_app, request
from flask.json.provider import JSONProvider
from flask.sessions import NullSession, SessionInterface, SessionMixin
from flask.typing import ResponseReturnValue
from marshmallow import RAISE, Schema, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from webargs.core import missing
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.sansio.response import Response as SansioResponse

from streamsvc.http.access_log import AccessLogMiddleware, note_caller
from streamsvc.http.compression import CompressionMiddleware
from streamsvc.http.cors import CorsMiddleware
from streamsvc.http.description import PROBLEM_MEDIA_TYPE, describe_operation, problem_document, register_components
from streamsvc.http.hot_reads import HotReads
from streamsvc.http.request_body import MAX_BODY_BYTES, require_declared_length
from streamsvc.http.request_spans import TracingMiddleware
from streamsvc.http.trusted_proxies import TrustedProxyMiddleware
from streamsvc.http.unknown_fields import explain_unknown_fields
from streamsvc.rules.proxies import Networks
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.requests import (
    BadRequest,
    BodyTooLarge,
    InternalError,
    Invalid,
    Malformed,
    NotFound,
    Unavailable,
    UnknownPath,
    WrongMediaType,
    WrongMethod,
)
from streamsvc.schemas.base import Problem
from streamsvc.security.access import View
from streamsvc.settings import Settings, current_settings
from streamsvc.storage.database import is_unavailable
from streamsvc.storage.outage_log import log_outage

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from webargs.core import ArgMap

MAX_CACHED_QUERY_LENGTH = 200
PATH_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,128}")
DEFAULT_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
)
log = logging.getLogger("streamsvc")


class MsgspecJsonProvider(JSONProvider):
    """JSON by msgspec: compact UTF-8, datetimes as RFC 3339 with `Z`, keys in insertion order."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return msgspec.json.encode(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        try:
            return msgspec.json.decode(s)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def response(self, *args: Any, **kwargs: Any) -> Response:
        return json_response(msgspec.json.encode(self._prepare_response_obj(args, kwargs)))


class OwnHeaders(Headers):
    """Headers whose names and values are known to be valid."""

    def __init__(self, items: list[tuple[str, str]]) -> None:
        self._list = items


def json_response(body: bytes, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Wrap an encoded JSON document in a response, with these headers besides its type and length."""
    own = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers]
    return Response([body], status, OwnHeaders(own))


def parse_strict_json(raw: bytes) -> Any:
    """Decode JSON. Raises Malformed for anything that two parsers could understand differently."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_reject_duplicate_keys, parse_constant=_reject_constant)
        if b"\\u" in raw:  # an escaped lone surrogate cannot be encoded as UTF-8, nor stored
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Malformed from None
    return value


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key")
    return members


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a valid JSON number")


class StrictParser(FlaskParser):
    """Parses bodies and queries, and rejects unknown and repeated fields.

    Parsed queries are cached by query string, except long ones and those with a cursor.
    """

    DEFAULT_UNKNOWN_BY_LOCATION = FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION | {
        "json": RAISE,
        "query": RAISE,
        "form": RAISE,
    }

    def parse(
        self, argmap: "ArgMap[Request]", req: Request | None = None, *, location: str | None = None, **kwargs: Any
    ) -> Any:
        text = request.environ["QUERY_STRING"]
        if location != "query" or kwargs.get("validate") or len(text) > MAX_CACHED_QUERY_LENGTH or "cursor" in text:
            return super().parse(argmap, req, location=location, **kwargs)
        return dict(self._parse_query(argmap, text))

    @lru_cache(maxsize=2048)  # noqa: B019  (one parser serves the process)
    def _parse_query(self, schema: "ArgMap[Request]", text: str) -> dict:
        return super().parse(schema, location="query")

    def _raw_load_json(self, req: Request) -> Any:
        if not req.content_length and "Transfer-Encoding" not in req.headers:
            if req.method == "PUT":  # it would replace the whole resource by its defaults
                raise Invalid(errors={"_": ["Must have a body: the resource is replaced by it."]})
            return missing
        view = current_app.view_functions.get(req.endpoint or "")
        is_text = req.mimetype == "text/plain" and getattr(view, "accepts_text", False)
        if req.mimetype != "application/json" and not is_text:
            raise WrongMediaType
        if req.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
            raise WrongMediaType(detail="Send the body in UTF-8.")
        _require_no_content_coding(req)
        return parse_strict_json(req.get_data())

    def load_form(self, req: Request, schema: Schema) -> dict[str, str]:
        _require_no_content_coding(req)
        if req.mimetype != "application/x-www-form-urlencoded":
            raise WrongMediaType(detail="Send the body as application/x-www-form-urlencoded.")
        return _single_values(req.form)

    def load_querystring(self, req: Request, schema: Schema) -> dict[str, str]:
        return _single_values(req.args)

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        errors: dict = {}
        by_location: Any = error.messages
        for location, messages in by_location.items():
            noun = "parameter" if location == "query" else "field"
            errors |= flatten_messages(explain_unknown_fields(messages, schema, noun))
        raise Invalid(errors=errors)


def _require_no_content_coding(req: Request) -> None:
    """Raise WrongMediaType for a compressed body, with the codings that are accepted (RFC 9110, 15.5.16)."""
    if req.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise WrongMediaType(
            detail="Send the body uncompressed, without Content-Encoding.", headers={"Accept-Encoding": "identity"}
        )


def _single_values(fields: MultiDict[str, str]) -> dict[str, str]:
    """Convert to a plain dict. Raises Invalid if a field is repeated."""
    if repeated := [name for name in fields if len(fields.getlist(name)) > 1]:
        raise Invalid(errors={name: ["Must not be repeated."] for name in repeated})
    return fields.to_dict()


def flatten_messages(messages: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield (dotted path, sentences) for each field in marshmallow's nested messages."""
    if isinstance(messages, dict):
        for name, inner in messages.items():
            yield from flatten_messages(inner, f"{path}.{name}" if path else str(name))
    else:
        yield path or "_", [str(m) for m in (messages if isinstance(messages, list) else [messages])]


class Blueprint(flask_smorest.Blueprint):
    """flask-smorest's blueprint with the strict parser. Schema classes are instantiated once, not per request."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(describe_operation)

    @staticmethod
    def errors(*refusals: type[Refusal]) -> Callable[[View], View]:
        """List the errors of a view that do not follow from its access, parameters, body and preconditions."""

        def list_errors(view: View) -> View:
            view.refusals = refusals
            return view

        return list_errors

    @staticmethod
    def etag(view: View) -> View:
        """Describe that a view's response has an ETag, which the view compares with If-None-Match."""
        view.has_etag = True
        return view

    @staticmethod
    def ignore_query(view: View) -> View:
        """Accept any query string, which the view does not read: it is for the script of the page."""
        view.reads_query = True
        return view

    @staticmethod
    def text_body(view: View) -> View:
        """Accept the JSON body also as text/plain, which pages may send anywhere without a preflight.

        A call by cookie needs its CSRF token all the same, in a header that no other site's page can send.
        """
        view.accepts_text = True
        return view

    @staticmethod
    def preconditions(*, required: bool = False) -> Callable[[View], View]:
        """Describe that a view checks If-Match and If-None-Match, and whether it requires If-Match."""

        def describe_preconditions(view: View) -> View:
            view.has_etag = view.checks_if_match = True
            view.requires_if_match = required
            return view

        return describe_preconditions

    def arguments(
        self, schema: Schema | type[Schema], *, location: str = "json", **kwargs: Any
    ) -> Callable[[View], View]:
        instance = schema() if isinstance(schema, type) else schema
        decorate = super().arguments(instance, location=location, **kwargs)

        def mark_reads_query(view: View) -> View:
            decorated = decorate(view)
            if location == "query" and not kwargs:
                decorated = self._parse_query_of(view, instance, decorated)
            decorated.reads_query = location == "query" or getattr(view, "reads_query", False)
            return decorated

        return mark_reads_query

    def _parse_query_of(self, view: View, schema: Schema, decorated: View) -> View:
        """Return a view that does the same as `decorated`, without the steps that only other locations need."""

        @wraps(decorated)
        def parse_query(*args: Any, **kwargs: Any) -> Any:
            return view(*args, self.ARGUMENTS_PARSER.parse(schema, location="query"), **kwargs)

        return parse_query

    def response(
        self, status_code: int | str, schema: Schema | type[Schema] | dict | None = None, **kwargs: Any
    ) -> Callable[[View], View]:
        decorate = super().response(status_code, schema() if isinstance(schema, type) else schema, **kwargs)

        def describe_response(view: View) -> View:
            decorated = decorate(view)
            if view.__annotations__.get("return") is not Response:
                return decorated
            view._apidoc = decorated._apidoc  # there is nothing to convert
            return view

        return describe_response

    def alt_response(self, status_code: int | str, *args: Any, **kwargs: Any) -> Callable[[View], View]:
        decorate = super().alt_response(status_code, *args, **kwargs)

        def describe_response(view: View) -> View:
            view._apidoc = decorate(view)._apidoc
            return view

        return describe_response

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """Route a view, and name its operation after it: `list_invoices` has the operationId `listInvoices`."""
        add_route = super().route(rule, **options)

        def add_named_route(view: View) -> View:
            first, *rest = view.__name__.split("_")
            manual_doc = getattr(view, "_apidoc", {}).get("manual_doc", {})
            operation_id = first + "".join(word.capitalize() for word in rest)
            view._apidoc = getattr(view, "_apidoc", {}) | {
                "manual_doc": {"operationId": operation_id} | manual_doc,
                "view": view,
                "path": (self.url_prefix or "") + rule,
                "path_parameters": PATH_PARAMETER.findall((self.url_prefix or "") + rule),
            }
            return add_route(view)

        return add_named_route


class Api(flask_smorest.Api):
    """flask-smorest's API, with problem documents for all errors.

    Its description is made when it is first read: that is half of what a process needs to create the app, and few
    processes are asked for it. `complete` then adds what the blueprints do not say.
    """

    ERROR_SCHEMA = Problem

    def __init__(self, app: Flask, complete: Callable[["Api"], None], **options: Any) -> None:
        self._undescribed: list[Blueprint] = []
        self._complete, self._lock = complete, threading.RLock()
        super().__init__(app, **options)

    def register_blueprint(self, blueprint: Blueprint, **options: Any) -> None:
        """Register a blueprint, and describe it later."""
        self._app.extensions["flask-smorest"]["blp_name_to_api"][blueprint.name] = self
        self._app.register_blueprint(blueprint, **options)
        self._undescribed.append(blueprint)

    @property
    def spec(self) -> APISpec:
        """The description, made by the first call."""
        with self._lock:  # reentrant: what completes the description reads it
            if self._undescribed:
                blueprints, self._undescribed = self._undescribed, []
                for blueprint in blueprints:
                    blueprint.register_views_in_doc(self, self._app, self._spec, name=blueprint.name, parameters=None)
                    self._spec.tag({"name": blueprint.name, "description": blueprint.description})
                self._complete(self)
            return self._spec

    @spec.setter
    def spec(self, spec: APISpec) -> None:
        self._spec = spec

    def _register_responses(self) -> None:
        register_components(self.spec, self.ERROR_SCHEMA)

    def handle_http_exception(self, error: HTTPException) -> SansioResponse:
        if error.response is not None:
            return error.response
        if refusal := _refusal_of(error):
            return refusal_response(refusal)
        assert error.code is not None, "Flask raises no error without a status here"
        code = re.sub(r"\W+", "_", error.name.lower())
        return problem_response(error.code, code, f"{error.name}.", headers=dict(error.get_headers()))


def _refusal_of(error: HTTPException) -> Refusal | None:
    """Return the error of this API that corresponds to Werkzeug's; None for those that do not occur in practice."""
    match error.code:
        case 400:
            return BadRequest()
        case 404:
            return UnknownPath(has_docs=current_settings().docs)
        case 405:
            return WrongMethod(request.method, sorted(getattr(error, "valid_methods", None) or ()))
        case 413:
            return BodyTooLarge(request.max_content_length or MAX_BODY_BYTES)
        case 500:
            return InternalError()
    return None


def problem_response(status: int, code: str, detail: str, headers: dict | None = None, **members: Any) -> Response:
    """Build a problem document response (RFC 9457)."""
    body = problem_body(status, code, detail, current_request_id(), **members)
    response = Response(body, status, content_type=PROBLEM_MEDIA_TYPE)
    response.headers.extend({k: v for k, v in (headers or {}).items() if k.lower() != "content-type"})
    return response


def problem_body(status: int, code: str, detail: str, request_id: str, **members: Any) -> bytes:
    """Encode a problem document as JSON."""
    return msgspec.json.encode(problem_document(status, code, detail, request_id) | members)


def refusal_response(refusal: Refusal) -> Response:
    """Render an error as a problem document."""
    return problem_response(refusal.status, refusal.code, refusal.detail, refusal.headers, **refusal.members)


class DisabledSessionInterface(SessionInterface):
    """Disables Flask's cookie session: it is neither read nor written."""

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return NullSession()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        pass


class ResponseHeadersMiddleware:
    """Assigns each request its id, and adds the id and the default headers to its response.

    A valid `X-Request-Id` of the request is used as its id.
    """

    def __init__(self, wsgi_app: WSGIApplication, headers: tuple[tuple[str, str], ...]) -> None:
        self.wsgi_app = wsgi_app
        self.defaults = [(name.lower(), (name, value)) for name, value in headers]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.prepare(environ)

        def start_with_headers(
            status: str, headers: list[tuple[str, str]], exc_info: "OptExcInfo | None" = None
        ) -> Callable[[bytes], object]:
            return start_response(status, self.complete(environ, status, headers, ())[0], exc_info)

        return self.wsgi_app(environ, start_with_headers)

    def prepare(self, environ: WSGIEnvironment) -> None:
        """Assign the request its id."""
        if "streamsvc.request_id" not in environ:
            sent_id = environ.get("HTTP_X_REQUEST_ID")
            is_usable = sent_id and REQUEST_ID.fullmatch(sent_id)
            environ["streamsvc.request_id"] = sent_id if is_usable else new_request_id()
            require_declared_length(environ)

    def complete(
        self, environ: WSGIEnvironment, status: str, headers: list[tuple[str, str]], body: Iterable[bytes]
    ) -> tuple[list[tuple[str, str]], Iterable[bytes]]:
        """Add the id, and the default headers that the response does not have."""
        present = {name.lower() for name, _ in headers}
        added = [header for name, header in self.defaults if name not in present]
        return [*headers, *added, ("X-Request-Id", environ["streamsvc.request_id"])], body


def hsts_headers(settings: Settings) -> tuple[tuple[str, str], ...]:
    """`Strict-Transport-Security` for one year (RFC 6797) if the public URL is https, else nothing."""
    if not settings.public_url.startswith("https://"):
        return ()
    subdomains = "; includeSubDomains" if settings.hsts_subdomains else ""
    return (("Strict-Transport-Security", f"max-age=31536000{subdomains}"),)


def new_request_id() -> str:
    """Return a random id, which need not be hard to guess."""
    return f"req_{random.getrandbits(80):020x}"


def current_request_id() -> str:
    return request.environ["streamsvc.request_id"]


def init_app(app: Flask, trusted_proxies: int | Networks) -> None:
    """Set up JSON, error handlers, request ids, response headers, front ends' origins and trusted proxies."""
    app.json = MsgspecJsonProvider(app)
    app.session_interface = DisabledSessionInterface()
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.url_map.merge_slashes = app.url_map.redirect_defaults = False  # such redirects lead to whatever Host says
    settings = app.extensions["settings"]
    wrapped: Any = app  # mypy takes wsgi_app for a method, which cannot be replaced
    if settings.cors_origins:
        wrapped.wsgi_app = CorsMiddleware(app.wsgi_app, settings.cors_origins)
    wrapped.wsgi_app = ResponseHeadersMiddleware(app.wsgi_app, DEFAULT_HEADERS + hsts_headers(settings))
    wrapped.wsgi_app = CompressionMiddleware(app.wsgi_app)
    wrapped.wsgi_app = app.extensions["hot_reads"] = HotReads(app, app.wsgi_app)
    if trusted_proxies:
        wrapped.wsgi_app = TrustedProxyMiddleware(app.wsgi_app, trusted_proxies)
    if settings.access_log:
        wrapped.wsgi_app = AccessLogMiddleware(app.wsgi_app)
    if settings.tracing:
        wrapped.wsgi_app = TracingMiddleware(app.wsgi_app)
    if settings.access_log or settings.tracing:
        app.after_request(note_caller)
    app.before_request(_reject_unusable_request)
    app.register_error_handler(Refusal, refusal_response)
    app.register_error_handler(SQLAlchemyError, _handle_database_error)


def _reject_unusable_request() -> None:
    """Reject a path with characters that the database cannot store, and a query string on a view that reads none.

    Also reject a path that starts with two slashes: Werkzeug drops one, and a proxy's rules for paths would not match.
    """
    if request.environ["PATH_INFO"].startswith("//"):
        raise UnknownPath(has_docs=current_settings().docs)
    if request.view_args and any("\x00" in str(v) or "\ufffd" in str(v) for v in request.view_args.values()):
        raise NotFound
    view = current_app.view_functions.get(request.endpoint or "")
    if request.query_string and view and not getattr(view, "reads_query", False):
        sentence = "Unknown parameter. This endpoint takes no query parameters."
        raise Invalid(errors={name: [sentence] for name in request.args})


def _handle_database_error(error: SQLAlchemyError) -> ResponseReturnValue:
    if is_unavailable(error):
        log_outage(log, current_request_id(), error)
        return refusal_response(Unavailable())
    log.exception("database error (%s)", current_request_id())
    return current_app.handle_user_exception(InternalServerError())
