"""The request that the audit log attributes its events to; unset in the worker and on the command line.

Audit events are recorded deep inside operations, so the HTTP layer binds this context for the duration of each request
instead of passing it through every call.
"""

from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any

from streamsvc.rules.rate_limits import source_network


@dataclass(slots=True)
class AuditContext:
    address: str | None
    """The client's IP address."""
    client: str
    """The User-Agent header."""
    request_id: str
    method: str
    route: str | None
    """The path template of the matched URL rule."""
    endpoint: str | None
    """Flask's name of the view."""
    view_args: dict | None = None
    actor: str | None = None
    """The id of the authenticated operator; None for viewers and anonymous callers."""
    is_call_recorded: bool = False
    """Whether the operator's call has been recorded, or was rolled back and must not be."""
    change: Any = None
    """The `ResourceChange` that the request makes, if its view names a resource."""

    @property
    def call(self) -> str:
        return f"{self.method} {self.route}"

    @property
    def details(self) -> dict:
        """The part of an event's details that describes the request."""
        return {
            "address": source_network(self.address),
            "client": self.client[:200],
            "request_id": self.request_id,
        }


_context: ContextVar[AuditContext | None] = ContextVar("streamsvc_audit_context", default=None)


def get_audit_context() -> AuditContext | None:
    return _context.get()


def require_audit_context() -> AuditContext:
    """Return the context of the current request. Raises LookupError outside of requests."""
    if (context := _context.get()) is None:
        raise LookupError("no request is being processed")
    return context


def bind_audit_context(context: AuditContext) -> Token:
    """Make `context` the current one; pass the token to `reset_audit_context` when the request ends."""
    return _context.set(context)


def reset_audit_context(token: Token) -> None:
    _context.reset(token)


def set_audit_actor(operator_id: str) -> None:
    """Name the operator who sent the current request."""
    if context := _context.get():
        context.actor = operator_id


def get_audit_actor() -> str | None:
    """Return the id of the operator who sent the current request, if an operator did."""
    context = _context.get()
    return context.actor if context else None
