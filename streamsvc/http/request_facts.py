"""Reads what operations and the audit log need to know of the current request."""

from flask import Flask, Request, g, request

from streamsvc.http.trusted_proxies import client_city, client_place
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.security.audit_context import AuditContext, bind_audit_context, reset_audit_context
from streamsvc.security.authentication import presented_session_token

TOKEN_KEY = "streamsvc.audit_context_token"
MAX_USER_AGENT_LENGTH = 300


def current_request_facts() -> RequestFacts:
    """Return the facts of the current request, for views to pass to operations."""
    user_agent = request.headers.get("User-Agent", "")[:MAX_USER_AGENT_LENGTH]
    place = client_place()
    return RequestFacts(
        address=request.remote_addr,
        city=client_city() or place.city,
        user_agent=user_agent,
        place=place,
        dpop_jkt=g.get("dpop_jkt"),
        former_token=presented_session_token(request),
        guest=g.get("guest"),
    )


def _bind_audit_context() -> None:
    # Every request runs this: the proxy is resolved once.
    current: Request = request._get_current_object()  # type: ignore[attr-defined]  # the stub shows no proxy
    environ, rule = current.environ, current.url_rule
    context = AuditContext(
        current.remote_addr,
        environ.get("HTTP_USER_AGENT", ""),
        environ["streamsvc.request_id"],
        current.method,
        rule.rule if rule else None,
        rule.endpoint if rule else None,
        current.view_args,
    )
    environ[TOKEN_KEY] = bind_audit_context(context)


def _reset_audit_context(error: BaseException | None) -> None:
    if token := request.environ.pop(TOKEN_KEY, None):
        reset_audit_context(token)


def init_app(app: Flask) -> None:
    """Bind an audit context for each request. Call it after trusted addresses are resolved, before authentication."""
    app.before_request(_bind_audit_context)
    app.teardown_request(_reset_audit_context)
