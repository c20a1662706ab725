"""The endpoints, one package per part of the API, and the OpenAPI document that describes them."""

from flask import Flask

from streamsvc import __version__
from streamsvc.blueprints import (
    admin,
    catalog,
    console,
    description,
    documentation,
    health,
    playback,
    sandbox,
    sessions,
    storefront,
    subscriptions,
)
from streamsvc.http.edge import Api
from streamsvc.settings import Settings


def register_blueprints(app: Flask, settings: Settings) -> None:
    """Register all blueprints with the app. Those of the sandbox only if it is on."""
    app.config.update(API_TITLE=description.TITLE, API_VERSION=__version__, OPENAPI_VERSION="3.1.0")
    api = Api(
        app,
        description.complete_description,
        spec_kwargs={"info": description.describe_service(settings.public_url), "servers": description.SERVERS},
    )
    for field, *openapi_type in description.FIELD_TYPES:
        api.register_field(field, *openapi_type)
    app.extensions["api"] = api
    parts = [health, documentation, storefront, console, sessions, catalog, subscriptions, playback, admin]
    for part in parts + ([sandbox] if settings.sandbox else []):
        for blueprint in part.BLUEPRINTS:
            api.register_blueprint(blueprint)
