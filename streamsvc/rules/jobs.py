"""The lanes of jobs, and what operators may see of a job's payload."""

from typing import Any, Literal

Lane = Literal["default", "interactive", "webhooks", "bulk"]
MASK = "[hidden]"
VISIBLE_NAMES = frozenset("id kind limit migration provider reference status step to email".split())
"""Members of payloads that are shown, next to those that end with `_id`: all others may be secrets, such as hashes."""


def mask_payload(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the payload with the values hidden that may be secrets or private."""
    return {name: value if _is_visible(name, value) else MASK for name, value in payload.items()}


def _is_visible(name: str, value: object) -> bool:
    return value is None or (isinstance(value, str | int) and (name in VISIBLE_NAMES or name.endswith("_id")))
