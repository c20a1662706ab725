"""Problem documents for errors that never reach the app, such as a broken request line."""

from http import HTTPStatus

from streamsvc.http import edge
from streamsvc.http.access_log import log_server_problem
from streamsvc.http.request_limits import MAX_LINE_BYTES

RETRY_AFTER_S = 5
PROBLEMS = {
    400: ("bad_request", "The request is not valid HTTP."),
    408: ("request_timeout", "The request did not arrive in time. Send it again, faster."),
    414: ("request_uri_too_long", f"The request line is too long; send at most {MAX_LINE_BYTES:,} bytes."),
    431: ("request_header_fields_too_large", "A header is too long, or there are too many; send less."),
    500: ("internal_error", "The service failed on this request. Try again later."),
    501: (
        "not_implemented",
        "The only transfer coding that is supported is chunked.",
    ),
    503: ("unavailable", "The service is temporarily unavailable; try again shortly."),
}
"""The code and the sentence for each status that a server itself responds with in practice."""


def server_problem(status: int, reason: str = "") -> tuple[list[tuple[str, str]], bytes]:
    """Return the headers and the body of the response; the connection ends with it."""
    code, detail = PROBLEMS.get(status) or (HTTPStatus(status).name.lower(), f"{reason}.")
    request_id = edge.new_request_id()
    body = edge.problem_body(status, code, detail, request_id)
    headers = [("Content-Type", edge.PROBLEM_MEDIA_TYPE), ("Content-Length", str(len(body)))]
    headers += [("X-Request-Id", request_id), ("Connection", "close")]
    log_server_problem(request_id, status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("Retry-After", str(RETRY_AFTER_S)))
    return headers, body
