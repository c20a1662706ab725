"""W3C Trace Context: reads the `traceparent` header (https://www.w3.org/TR/trace-context/#traceparent-header)."""

import re

TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
MAX_LENGTH = 55
"""Of version 00; later versions may be longer, and begin like it."""


def parse_trace_id(traceparent: str) -> str | None:
    """Return the trace id, 32 hexadecimal digits; None if the header is absent or invalid."""
    match = TRACEPARENT.fullmatch(traceparent[:MAX_LENGTH])
    return match[1] if match and (len(traceparent) <= MAX_LENGTH or not traceparent.startswith("00")) else None
