"""The parts of the API description that are about the whole API: introduction, webhooks and examples."""

import json
from functools import cache
from pathlib import Path

from apispec import APISpec
from marshmallow import Schema

from streamsvc.http.edge import Api
from streamsvc.schemas.admin.security_events import (
    AccountDeletedEvent,
    AccountLockedEvent,
    AccountRecoveredEvent,
    EmailChangedEvent,
    FactorEvent,
    PasswordChangedEvent,
    SessionEndedEvent,
    SessionsRevokedEvent,
    SessionStartedEvent,
)
from streamsvc.schemas.admin.subscriptions import Percent, PercentIn
from streamsvc.schemas.admin.webhooks import (
    InvoiceEvent,
    JobFailedEvent,
    PaymentEvent,
    PayoutEvent,
    PlaybackEvent,
    SubscriptionEvent,
)
from streamsvc.schemas.base import Day, Moment, MomentOrDay
from streamsvc.schemas.catalog.title_record import record_schemas
from streamsvc.schemas.catalog.titles import HIT_SCHEMAS
from streamsvc.schemas.playback.playback import Seconds

TITLE = "streamsvc"
INTRODUCTION = """\
The back end of a video-streaming service: sessions, catalog, subscriptions, playback.

**Authentication.** Send `Authorization: Bearer <token>`; each operation lists who may call it. Public operations need
no token. Browsers can use a cookie instead, with `X-CSRF-Token` for changes.

**Errors.** Every error is a problem document (RFC 9457). Match on `code`, which is stable; show `detail` to people. New
codes may be added.

**Lists.** A list returns `items` and `next_cursor`. Send the cursor back as `cursor` to get the next page; `null` is
the last page.

**Retries.** POST operations that take an `Idempotency-Key` act once for each key; a repeated request gets the stored
response with `Idempotency-Replayed: true`.

**Values.** Money is in minor units of its currency (`amount_minor`); times are RFC 3339 in UTC; durations are in
seconds (`_s`). Unknown fields and parameters are rejected.
"""
SERVERS = [{"url": "/", "description": "The service that serves this document."}]
FIELD_TYPES = (
    (Moment, "string", "date-time"),
    (Day, "string", "date"),
    (MomentOrDay, "string", None),
    (Percent, "number", None),
    (PercentIn, ["number", "string"], None),
    (Seconds, "number", None),
)
"""(field class, type, format) of fields that marshmallow does not know."""
LIST_PARAMETERS = {"limit": "Limit", "cursor": "Cursor", "include_total": "IncludeTotal"}
"""{query parameter of lists: its component}"""
WEBHOOKS = {
    "invoice.issued": (InvoiceEvent, "An invoice got its number."),
    "job.failed": (JobFailedEvent, "The last attempt of a job of the worker has failed."),
    "payment.succeeded": (PaymentEvent, "A payment succeeded."),
    "payment.failed": (PaymentEvent, "A payment failed."),
    "payout.paid": (PayoutEvent, "A payout of account credit has reached the customer."),
    "payout.failed": (PayoutEvent, "A payout of account credit failed, or a part of it."),
    "playback.started": (PlaybackEvent, "A stream was started."),
    "playback.completed": (PlaybackEvent, "A stream reached the end of its item."),
    "playback.ended": (PlaybackEvent, "A stream ended: stopped, replaced, refused or expired."),
    "subscription.changed": (SubscriptionEvent, "The public state of a subscription changed."),
    "session.started": (SessionStartedEvent, "A viewer signed in, or support started to impersonate one."),
    "session.ended": (SessionEndedEvent, "A session was ended before it expired."),
    "sessions.revoked": (SessionsRevokedEvent, "An operator ended every session of the service."),
    "factor.added": (FactorEvent, "An account got a new way to prove who signs in."),
    "factor.removed": (FactorEvent, "An account lost a way to prove who signs in."),
    "password.changed": (PasswordChangedEvent, "The previous password of an account stopped working."),
    "email.changed": (EmailChangedEvent, "The email address of an account changed."),
    "account.recovered": (AccountRecoveredEvent, "The owner got the account back."),
    "account.locked": (AccountLockedEvent, "Failed attempts or an operator locked an account."),
    "account.deleted": (AccountDeletedEvent, "An account was closed, or erased."),
}
"""{event kind: (schema of the body, when it is sent)}"""
WEBHOOK_HEADERS = {
    "webhook-id": "The event's id. The same event may be delivered twice: store the ids that you have processed.",
    "webhook-timestamp": "When the delivery was signed, in seconds since 1970. Reject old deliveries.",
    "webhook-signature": "`v1,` and the base64 HMAC-SHA-256 of `<webhook-id>.<webhook-timestamp>.<body>` under the "
    "endpoint's secret. During a rotation there are two, separated by a space.",
}
TEXT_EXAMPLES = {
    "text/html": "<!doctype html>…",
    "text/csv": "table,period,currency,opening_minor\nmrr,2026-03,EUR,0\n",
    "text/tab-separated-values": "tconst\ttitleType\tprimaryTitle\ntt0111161\tmovie\tThe Shawshank Redemption\n",
    "text/plain": 'streamsvc_requests_total{status="200"} 42\n',
    "application/x-ndjson": '{"external_id": "tt0111161", "kind": "movie", "title": "The Shawshank Redemption"}\n',
    "application/vnd.apple.mpegurl": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=640x360\n"
    "https://media.example/tt0111161/360p/index.m3u8\n",
    "application/octet-stream": "(the bytes)",
    "application/dash+xml": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>https://media.example/tt0111161/'
    "</BaseURL>…</MPD>",
    "audio/mpegurl": '#EXTM3U\n#EXTINF:-1 tvg-id="news.example" tvg-chno="1",News One\n'
    "https://cdn.example/news/index.m3u8\n",
    "text/xml": '<tv><programme channel="news.example" start="20260115120000 +0000" stop="20260115123000 +0000">'
    "<title>The News</title></programme></tv>",
    "application/pdf": "%PDF-1.7 …",
    "image/svg+xml": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 450">…</svg>',
    "application/rss+xml": '<rss version="2.0" xmlns:media="http://search.yahoo.com/mrss/"><channel>…</channel></rss>',
    "application/xml": "<rsm:CrossIndustryInvoice>…",
    "application/gzip": "(a compressed file)",
    "application/x-tar": "(an archive of NFO files)",
    "application/zip": "(an archive of files)",
    "application/ld+json": {"@context": "https://schema.org", "@type": "DataFeed", "dataFeedElement": []},
    "application/json": {"titles": []},
    "*/*": "(the file)",
}
"""{media type: an example}, where a body has no schema of its own."""
EXAMPLES_FILE = Path(__file__).parent.parent / "data" / "api_examples.json"


def describe_service(public_url: str) -> dict:
    """Return the `info` object."""
    return {
        "description": INTRODUCTION,
        "license": {"name": "MIT", "identifier": "MIT"},
        "contact": {"name": "The operator of this service", "url": public_url},
    }


def complete_description(api: Api) -> None:
    """Add webhooks, records, required response fields and examples to a description that has all operations."""
    spec = api.spec
    for kind, (schema, summary) in WEBHOOKS.items():
        if schema.__name__ not in spec.components.schemas:
            spec.components.schema(schema.__name__, schema=schema)
        spec.options.setdefault("webhooks", {})[kind] = {"post": _webhook(kind, schema, summary)}
    for schema in HIT_SCHEMAS:
        spec.components.schema(schema.__name__, schema=schema)
    for name, record_schema in record_schemas().items():
        spec.components.schema(name, record_schema)
    spec.components.schemas.pop("PaginationMetadata")  # flask-smorest's own; nothing refers to it
    in_requests = _component_names(spec, [operation.get("requestBody") for operation in list_operations(spec)])
    _require_response_fields(api, in_requests)
    _describe_defaults(spec, in_requests)
    for operation in list_operations(spec):
        operation["parameters"] = [_complete_query_parameter(spec, p) for p in operation["parameters"]]
    _add_examples(spec)


def _add_examples(spec: APISpec) -> None:
    """Add an example to each schema, parameter and body."""
    examples = load_examples()
    for name, example in examples["schemas"].items():
        if name in spec.components.schemas:
            spec.components.schemas[name]["examples"] = [example]
    of_parameters = [item.get("parameters", []) for item in [*spec._paths.values(), *list_operations(spec)]]
    for parameter in [*spec.components.parameters.values(), *(p for some in of_parameters for p in some)]:
        if "schema" in parameter:
            name, schema = parameter["name"], parameter["schema"]
            example = examples["parameters"].get(f"{name} ({schema['format']})" if "format" in schema else name)
            example = example if example in schema.get("enum", (example,)) else schema["enum"][0]
            parameter.update({} if example is None else {"example": example})
    for operation in list_operations(spec):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for kind, media_type in [item for body in bodies for item in body.get("content", {}).items()]:
            name = media_type["schema"].get("$ref", "").rpartition("/")[2]
            if name in examples["schemas"]:
                spec.components.examples[name] = {"value": examples["schemas"][name]}
                media_type["examples"] = {name: {"$ref": f"#/components/examples/{name}"}}
            elif not name and kind in TEXT_EXAMPLES:
                media_type["example"] = TEXT_EXAMPLES[kind]


@cache
def load_examples() -> dict[str, dict]:
    """Load the examples, recorded from real calls.

    `schemas` {component: value}, `parameters` {name, followed by its format if it has one: value}.
    """
    return json.loads(EXAMPLES_FILE.read_text())


def list_operations(spec: APISpec) -> list[dict]:
    """List the operations of all paths."""
    return [operation for path in spec._paths.values() for name, operation in path.items() if name != "parameters"]


def _require_response_fields(api: Api, in_requests: set[str]) -> None:
    """Mark the fields that a response always has as required, in schemas that are used for responses only."""
    schemas = api.spec.components.schemas
    for (schema_class, *_), name in api.ma_plugin.converter.refs.items():
        if name in schemas and name not in in_requests and name != "Problem" and "properties" in schemas[name]:
            absent = getattr(schema_class, "sometimes_absent", ())
            schemas[name]["required"] = [field for field in schemas[name]["properties"] if field not in absent]


def _complete_query_parameter(spec: APISpec, parameter: dict) -> dict:
    """Remove null, which a query cannot express; return a reference for a parameter that all lists share."""
    if parameter.get("in") != "query":
        return parameter
    name, schema = parameter["name"], parameter["schema"]
    if isinstance(schema.get("type"), list):
        schema["type"] = next(kind for kind in schema["type"] if kind != "null")
    if None in schema.get("enum", ()):
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    if schema.get("default", "") is None:
        del schema["default"]
    if name not in LIST_PARAMETERS:
        return parameter
    shared = spec.components.parameters.setdefault(LIST_PARAMETERS[name], parameter)
    return {"$ref": f"#/components/parameters/{LIST_PARAMETERS[name]}"} if shared == parameter else parameter


def _describe_defaults(spec: APISpec, in_requests: set[str]) -> None:
    """Say defaults of request fields in words: generators take a field with `default` for one that is always sent."""
    for name in in_requests:
        for field in spec.components.schemas[name].get("properties", {}).values():
            default = field.pop("default", None)
            if default is not None and "Default: " not in field.get("description", ""):
                field["description"] = f"{field.get('description', '')} Default: `{json.dumps(default)}`.".strip()


def _component_names(spec: APISpec, tree: object) -> set[str]:
    """Return the names of the schemas that `tree` refers to, directly or through others."""
    schemas, names, todo = spec.components.schemas, set(), [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name in schemas and name not in names:
                names.add(name)
                todo.append(schemas[name])
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return names


def _webhook(kind: str, schema: type[Schema], summary: str) -> dict:
    """Describe the request that an endpoint receives for an event."""
    first, *rest = kind.replace(".", "_").split("_")
    return {
        "operationId": "receive" + first.capitalize() + "".join(word.capitalize() for word in rest),
        "summary": summary,
        "tags": ["webhooks"],
        "security": [],
        "parameters": [
            {"in": "header", "name": name, "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in WEBHOOK_HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}},
        },
        "responses": {
            "2XX": {"description": "The event was received. Any other status is retried for three days."},
            "410": {"description": "The endpoint is gone: it is disabled."},
        },
    }
