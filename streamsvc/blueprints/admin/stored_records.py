"""The responses of titles, people and live channels, whose records operators read and replace as a whole."""

import sqlalchemy as sa
from flask import Response

from streamsvc.http.edge import json_response
from streamsvc.http.etags import PRIVATE, add_cache_headers, compute_etag, not_modified_response
from streamsvc.operations.catalog.titles.json_fragments import encode_json, merge_json_objects


def record_etag(row: sa.Row) -> str:
    """Compute the ETag of a row with `id` and `body`, its record."""
    return compute_etag(row.id, row.body)


def record_response(row: sa.Row) -> Response:
    """Return the record with its public id."""
    document = merge_json_objects(encode_json({"id": row.id}), row.body)
    return add_cache_headers(json_response(document.encode()), record_etag(row), PRIVATE)


def requested_record_response(row: sa.Row) -> Response:
    """Return the record with its public id, or 304 if the client has it."""
    return not_modified_response(record_etag(row), PRIVATE) or record_response(row)
