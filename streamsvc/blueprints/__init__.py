"""The endpoints, one package per part of the API, and the OpenAPI document that describes them."""

from flask import Flask

from streamsvc import __version__
from streamsvc.blueprints import admin, catalog, health, playback, sandbox, sessions, storefront, subscriptions
from streamsvc.http.edge import Api
from streamsvc.schemas.admin.subscriptions import Percent
from streamsvc.schemas.base import Day, Moment, MomentOrDay
from streamsvc.settings import Settings

TITLE = "streamsvc"
DESCRIPTION = "The back end of a video-streaming service: sessions, catalog, subscriptions, playback."
OPENAPI_TYPES = (
    (Moment, "string", "date-time"),
    (Day, "string", "date"),
    (MomentOrDay, "string", None),
    (Percent, "number", None),
)
"""(field class, type, format) of fields that marshmallow does not know."""
SECURITY = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of a viewer's session (`sst_…`), of an operator's (`ops_…`), or an API key (`sk_…`).",
    }
}


def register_blueprints(app: Flask, settings: Settings) -> None:
    """Register all blueprints with the app. Those of the sandbox only if it is on."""
    app.config.update(API_TITLE=TITLE, API_VERSION=__version__, OPENAPI_VERSION="3.1.0")
    api = Api(
        app,
        spec_kwargs={
            "info": {"description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
            "servers": [{"url": "/", "description": "The service that serves this document."}],
            "security": [{"token": []}],
            "components": {"securitySchemes": SECURITY},
        },
    )
    for field, *openapi_type in OPENAPI_TYPES:
        api.register_field(field, *openapi_type)
    app.extensions["api"] = api
    parts = [health, storefront, sessions, catalog, subscriptions, playback, admin]
    for part in parts + ([sandbox] if settings.sandbox else []):
        for blueprint in part.BLUEPRINTS:
            api.register_blueprint(blueprint)
