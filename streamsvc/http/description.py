"""Describes each operation in the API description: who may call it, its headers, and its errors by code.

Nothing is written twice. Access, idempotency and preconditions are read from the view's own decorators; the errors that
follow from these are added, so that a view lists with `@bp.errors` only those of its own.
"""

import html
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus

from apispec import APISpec
from marshmallow import Schema

from streamsvc.rules.refusals import access, accounts, requests
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.roles import SCOPES
from streamsvc.security.access import VIEWER_ONLY, Access, View
from streamsvc.security.authentication import COOKIE, GUEST_TOKEN_HEADER, OPERATOR_COOKIE, OPERATOR_COOKIE_PATHS
from streamsvc.security.csrf import CSRF_HEADER
from streamsvc.security.end_user_addresses import HEADER as END_USER_ADDRESS_HEADER
from streamsvc.storage.database import SAFE_METHODS

PROBLEM_MEDIA_TYPE = "application/problem+json"
ETAG_HEADER, RETRY_AFTER_HEADER, REPLAYED_HEADER, REQUEST_ID_HEADER = "ETag", "RetryAfter", "Replayed", "RequestId"
ABBREVIATIONS = {
    "csrf": "CSRF",
    "dpop": "DPoP",
    "einvoice": "e-invoice",
    "json": "JSON",
    "pin": "PIN",
    "totp": "TOTP",
    "uri": "URI",
    "vpn": "VPN",
}
"""How the words of error codes are written in titles, if not as they are."""

SECURITY_SCHEMES = {
    "session": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of a viewer's session, `sst_…`: see `POST /v1/sessions`.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "The same token in a cookie, for browsers: sign in with `cookie: true`.",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": CSRF_HEADER,
        "description": "The `csrf_token` of the current session. Required with the cookie for every change.",
    },
    "dpop": {
        "type": "http",
        "scheme": "dpop",
        "description": "The token of a session that is bound to a key (RFC 9449): `Authorization: DPoP sst_…`.",
    },
    "dpopProof": {
        "type": "apiKey",
        "in": "header",
        "name": "DPoP",
        "description": "A new proof for each request, with the hash of the token as `ath`.",
    },
    "operator": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, `sk_…`, or the token of an operator's session, `ops_…`. The roles listed are the "
        "scopes that the key or the operator's role must have; `admin` includes all of them.",
    },
    "operatorCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": OPERATOR_COOKIE,
        "description": "The token of an operator's session in a cookie, for the console: sign in with `cookie: true`. "
        "It counts under `/v1/admin/` only, and for pages of the service's own host.",
    },
}

PARAMETERS: dict[str, dict] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "description": "Makes the request safe to retry: the same key with the same request acts once and gets the "
        "same response, for 48 hours. A request that is refused before anything has begun frees its key. Use a new "
        "random value, such as a UUID, for each new request.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "example": "3b9f3d0e-6c6c-4f0e-9a57-8f7a3f6f7c51",
    },
    "RequiredIdempotencyKey": {"required": True},
    "IfNoneMatch": {
        "name": "If-None-Match",
        "description": "The `ETag` of your copy. If it is still valid, the response is 304 without a body.",
        "schema": {"type": "string"},
        "example": '"354514b63fded3417185286c0d753b33"',
    },
    "IfNoneMatchAny": {
        "name": "If-None-Match",
        "description": "`*` creates the resource only if it does not exist; otherwise 412 `precondition_failed`.",
        "schema": {"type": "string"},
        "example": "*",
    },
    "IfMatch": {
        "name": "If-Match",
        "description": "The `ETag` of the version that you read. If the resource has changed since, the response is "
        "412 `precondition_failed`.",
        "schema": {"type": "string"},
        "example": '"354514b63fded3417185286c0d753b33"',
    },
    "RequiredIfMatch": {"required": True},
    "EndUserAddress": {
        "name": END_USER_ADDRESS_HEADER,
        "description": "The address of the viewer, signed by a front end's server with an API key of the scope "
        "`frontend`. Rate limits then count this address instead of the server's.",
        "schema": {"type": "string"},
        "example": f"203.0.113.9; key=key_06f19s3f8a2dkq4z1v7t0m5c6w; t=1767225600; sig={'5e' * 32}",
    },
    "GuestToken": {
        "name": GUEST_TOKEN_HEADER,
        "description": "The token of a guest's session: what the guest saved moves into the account, and the guest's "
        "session ends. A token that has expired is ignored. With a cookie, send the guest's `X-CSRF-Token` instead.",
        "schema": {"type": "string"},
        "example": "sst_5rC1LZ0mB1b1Jp4n0m3r8m9d2y4w7k6h",
    },
    "DpopProof": {
        "name": "DPoP",
        "description": "A DPoP proof (RFC 9449), where the service accepts them: binds the new session to its key. Not "
        "with `cookie: true`.",
        "schema": {"type": "string"},
        "example": "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7...",
    },
}
PARAMETERS["RequiredIdempotencyKey"] = PARAMETERS["IdempotencyKey"] | PARAMETERS["RequiredIdempotencyKey"]
PARAMETERS["RequiredIfMatch"] = PARAMETERS["IfMatch"] | PARAMETERS["RequiredIfMatch"]

HEADERS: dict[str, tuple[str, dict]] = {
    REQUEST_ID_HEADER: (
        "X-Request-Id",
        {"description": "The id of this request, also in the log.", "schema": {"type": "string"}, "required": True},
    ),
    ETAG_HEADER: ("ETag", {"description": "The version of the response.", "schema": {"type": "string"}}),
    RETRY_AFTER_HEADER: (
        "Retry-After",
        {"description": "Seconds to wait before the next attempt.", "schema": {"type": "integer", "minimum": 1}},
    ),
    REPLAYED_HEADER: (
        "Idempotency-Replayed",
        {
            "description": "`true` if this is the stored response to an earlier request with the same Idempotency-Key.",
            "schema": {"type": "string", "const": "true"},
        },
    ),
}
"""{component: (header, its description)}"""


def register_components(spec: APISpec, problem_schema: type[Schema]) -> None:
    """Register what operations refer to: security schemes, headers, parameters, and a schema for each error code."""
    for name, scheme in SECURITY_SCHEMES.items():
        spec.components.security_scheme(name, scheme)
    for name, (_, header) in HEADERS.items():
        spec.components.header(name, header)
    for name, parameter in PARAMETERS.items():
        spec.components.parameter(name, "header", parameter)
    spec.components.schema("Problem", schema=problem_schema)
    refusals = list_refusals()
    spec.components.schemas["Problem"]["properties"]["code"]["x-extensible-enum"] = [r.code for r in refusals]
    for refusal in refusals:
        spec.components.schema(problem_name(refusal), problem_component(refusal))
        spec.components.example(problem_name(refusal), {"value": problem_example(refusal)}, lazy=True)
    other = [*(problem_name(refusal) for refusal in (requests.InternalError, requests.WrongMethod)), "Problem"]
    spec.components.response(
        "Problem",
        {
            "description": "`internal_error`, `method_not_allowed`, or an error of a later version.",
            "content": {
                PROBLEM_MEDIA_TYPE: {"schema": {"anyOf": [{"$ref": f"#/components/schemas/{n}"} for n in other]}}
            },
            "headers": {"X-Request-Id": REQUEST_ID_HEADER},
        },
    )


def problem_document(status: int, code: str, detail: str, request_id: str) -> dict:
    """Return a problem document (RFC 9457)."""
    return {
        "type": f"urn:streamsvc:problem:{code}",
        "title": problem_title(code),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def problem_title(code: str) -> str:
    """Return the title of an error: `pin_required` has "PIN required"."""
    title = " ".join(ABBREVIATIONS.get(word, word) for word in code.split("_"))
    return title[0].upper() + title[1:]


def list_refusals() -> list[type[Refusal]]:
    """List the error classes, one per code: the class that defines the code, not those that inherit it."""

    def walk(refusal: type[Refusal]) -> Iterator[type[Refusal]]:
        if "code" in vars(refusal) and refusal is not Refusal:
            yield refusal
        for child in refusal.__subclasses__():
            yield from walk(child)

    return sorted(walk(Refusal), key=lambda refusal: refusal.code)


def problem_name(refusal: type[Refusal]) -> str:
    """Return the name of the schema of an error's code: `not_found` has `NotFoundProblem`."""
    return "".join(word.capitalize() for word in refusal.code.split("_")) + "Problem"


def problem_component(refusal: type[Refusal]) -> dict:
    """Return the schema of the problem document of one code."""
    members = {"code": {"type": "string", "enum": [refusal.code]}} | refusal.member_schemas
    return {
        "description": refusal.detail,
        "allOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "object", "properties": members}],
    }


def problem_example(refusal: type[Refusal]) -> dict:
    """Return an example of the problem document of one code, without the members that depend on the request."""
    return problem_document(refusal.status, refusal.code, refusal.detail, "req_06c59b00f27e47520594")


def describe_operation(doc: dict, doc_info: dict, *, spec: APISpec, method: str, **_: object) -> dict:
    """Complete an operation's description: a documentation callback of flask-smorest."""
    view = doc_info["view"]
    doc["responses"] = {str(status): response for status, response in doc["responses"].items()}
    is_write = method.upper() not in SAFE_METHODS
    access_rule = getattr(view, "access", VIEWER_ONLY)
    doc["security"] = _security(access_rule, is_write, doc_info["path"]) + (
        [{}] if hasattr(view, "is_in_public_catalog") else []
    )
    doc["parameters"] = doc.get("parameters", []) + _header_parameters(view, is_write)
    refusals = _general_errors(view, doc, access_rule, is_write, doc_info["path"], doc_info["path_parameters"])
    _add_error_responses(spec, doc, [*refusals, *getattr(view, "refusals", ())])
    _add_response_headers(doc, view)
    return doc


def _security(access_rule: Access, is_write: bool, path: str) -> list[dict]:
    """Return the alternative security requirements of an operation; none if it is public."""
    schemes: list[dict] = []
    if access_rule.viewer:
        schemes = [{"session": []}, {"cookie": [], "csrf": []} if is_write else {"cookie": []}]
        schemes.append({"dpop": [], "dpopProof": []})
    if access_rule.scope or access_rule.human_only:
        scopes = [access_rule.scope if access_rule.scope in SCOPES else "admin"] if access_rule.scope else []
        schemes.append({"operator": scopes})  # no key can have the scope of the sandbox: it takes `admin`
        if path.startswith(OPERATOR_COOKIE_PATHS):
            schemes.append({"operatorCookie": [], "csrf": []} if is_write else {"operatorCookie": []})
    return schemes


def _header_parameters(view: View, is_write: bool) -> list[str]:
    names = []
    if hasattr(view, "takes_idempotency_key"):
        names.append("RequiredIdempotencyKey" if view.requires_idempotency_key else "IdempotencyKey")
    if hasattr(view, "has_etag") and not is_write:
        names.append("IfNoneMatch")
    if hasattr(view, "checks_if_match"):
        names += ["RequiredIfMatch"] if view.requires_if_match else ["IfMatch", "IfNoneMatchAny"]
    if access.EndUserAddressInvalid in getattr(view, "refusals", ()):
        names.append("EndUserAddress")
    if hasattr(view, "accepts_guest_token"):
        names.append("GuestToken")
    if hasattr(view, "creates_session") or hasattr(view, "accepts_guest_token"):
        names.append("DpopProof")
    return names


def _general_errors(
    view: View, doc: dict, access_rule: Access, is_write: bool, path: str, path_parameters: list[str]
) -> list[type[Refusal]]:
    """List the errors that follow from an operation's access, parameters, body and preconditions."""
    errors = [requests.Invalid, requests.Unavailable]
    if access_rule.public and is_write:
        errors += [access.DpopProofInvalid, access.DpopNonceRequired]
    if not access_rule.public:
        errors.append(access.NotSignedIn)
    if hasattr(view, "is_in_public_catalog"):
        errors.append(accounts.TooManyAttempts)
    if access_rule.scope:
        errors.append(access.InsufficientScope)
    if (access_rule.scope or access_rule.human_only) and is_write and path.startswith(OPERATOR_COOKIE_PATHS):
        errors.append(accounts.CsrfTokenInvalid)
    if access_rule.viewer:
        errors += [] if hasattr(view, "allows_guests") else [access.SignUpRequired]
        errors += [access.ReadOnlySession] if is_write or access_rule.owner_only else []
        errors += [accounts.CsrfTokenInvalid] if is_write else []
        is_open_to_kids = getattr(view, "allows_kids", False) and "profile_id" not in path_parameters
        errors += [] if is_open_to_kids or access_rule.scope == "catalog" else [accounts.KidsProfile]
    if path_parameters:
        errors.append(requests.NotFound)
    if "requestBody" in doc:
        errors += [requests.Malformed, requests.WrongMediaType, requests.BodyTooLarge, requests.BadRequest]
    if hasattr(view, "takes_idempotency_key"):
        errors += [requests.IdempotencyKeyInUse, requests.IdempotencyKeyReused]
        errors += [requests.IdempotencyKeyRequired] if view.requires_idempotency_key else []
    if hasattr(view, "checks_if_match"):
        errors.append(requests.PreconditionFailed)
        errors += [requests.PreconditionRequired] if view.requires_if_match else []
    return errors


def _add_error_responses(spec: APISpec, doc: dict, refusals: list[type[Refusal]]) -> None:
    """Replace an operation's unspecific error responses by one per status, which lists its codes."""
    responses = doc["responses"]
    responses.pop("422", None)
    responses["default"] = "Problem"
    by_status: defaultdict[int, dict[str, type[Refusal]]] = defaultdict(dict)
    for refusal in refusals:
        by_status[refusal.status][refusal.code] = refusal
    for status, by_code in sorted(by_status.items()):
        described = responses.get(str(status), {})
        response = _problem_response(status, [refusal for _, refusal in sorted(by_code.items())])
        response["content"] |= described.get("content", {})
        if len(by_code) > 1 or described:
            responses[str(status)] = response
        else:
            responses[str(status)] = name = next(iter(by_code.values())).__name__
            if name not in spec.components.responses:
                spec.components.response(name, response)


def _problem_response(status: int, refusals: list[type[Refusal]]) -> dict:
    """Return the response of one status, with an example for each code."""
    refs = [{"$ref": f"#/components/schemas/{problem_name(refusal)}"} for refusal in refusals]
    schema = refs[0] if len(refs) == 1 else {"oneOf": refs}
    examples = {refusal.code: problem_name(refusal) for refusal in refusals}
    headers = {"X-Request-Id": REQUEST_ID_HEADER}
    waits = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
    if status in waits or requests.IdempotencyKeyInUse in refusals:
        headers["Retry-After"] = RETRY_AFTER_HEADER
    return {
        "description": "\n\n".join(
            f"`{refusal.code}`: {html.escape(refusal.detail, quote=False)}" for refusal in refusals
        ),
        "content": {PROBLEM_MEDIA_TYPE: {"schema": schema, "examples": examples}},
        "headers": headers,
    }


def _add_response_headers(doc: dict, view: View) -> None:
    """Add headers to the responses of their own, and 304 where a view that reads has an ETag."""
    if hasattr(view, "has_etag") and not hasattr(view, "checks_if_match"):
        doc["responses"].setdefault("304", {"description": "Not modified since the response with this `ETag`."})
    for status, response in doc["responses"].items():
        if not isinstance(response, dict) or int(status) >= HTTPStatus.INTERNAL_SERVER_ERROR:
            continue
        headers = response.setdefault("headers", {})
        headers["X-Request-Id"] = REQUEST_ID_HEADER
        if hasattr(view, "has_etag") and status in ("200", "304"):
            headers["ETag"] = ETAG_HEADER
        if hasattr(view, "takes_idempotency_key"):
            headers["Idempotency-Replayed"] = REPLAYED_HEADER
