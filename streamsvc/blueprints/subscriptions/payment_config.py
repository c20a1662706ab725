"""What a front end needs to show a payment form."""

import msgspec
from flask import Response

from streamsvc.gateways.payments.browser import browser_config
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.schemas.subscriptions.subscriptions import PaymentConfigOut
from streamsvc.security.access import public
from streamsvc.settings import current_settings

bp = Blueprint("payment config", __name__, url_prefix="/v1/payment-config", description="Settings of payment forms.")
CACHE = "public, max-age=300"
CONFIG = PaymentConfigOut()


@bp.route("")
@public
@bp.etag
@bp.response(200, CONFIG)
def get_payment_config() -> Response:
    """Retrieve what a payment form needs.

    The provider, its publishable key, and the script that fits the service. `publishable_key` is null where no form
    can be shown.
    """
    body = msgspec.json.encode(CONFIG.dump(browser_config(current_settings())))
    etag = compute_etag(body)
    return not_modified_response(etag, CACHE) or add_cache_headers(json_response(body), etag, CACHE)
