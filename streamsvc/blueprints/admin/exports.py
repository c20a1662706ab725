"""Exports as NDJSON."""

from flask import Response, stream_with_context

from streamsvc.http.edge import Blueprint
from streamsvc.operations.accounts import exports
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.access import operator_only

bp = Blueprint("admin exports", __name__, url_prefix="/v1/admin/exports", description="Export all data.")


@bp.route("/<name>.ndjson")
@operator_only("admin")
@bp.response(200, {"type": "string"}, content_type="application/x-ndjson", description="One JSON object per line.")
def export_table(name: str) -> Response:
    """Export a table as NDJSON.

    `name` is `accounts`, `subscriptions`, `invoices`, `ledger`, `payouts`, `gift-purchases`, `store-subscriptions` or
    `store-payments`. One JSON object per line, oldest first, and store payments by store and id; an invoice includes
    its lines, a payout its refunds, a store payment its `commission_minor` and `net_minor`. A gift purchase has the id
    of its code, and not the code itself; a store subscription has no purchase token.
    """
    if name not in exports.TABLES:
        raise NotFound
    return Response(stream_with_context(exports.export_table(name)), content_type="application/x-ndjson")
