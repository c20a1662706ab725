"""The sign-in hook: the operator's own service, asked before a sign-in succeeds."""

import json
from dataclasses import dataclass

MAX_REASON_LENGTH = 200


@dataclass(frozen=True)
class HookDecision:
    """What the hook decided; `reason` is for the viewer."""

    is_allowed: bool
    reason: str | None = None


def parse_decision(body: bytes) -> HookDecision:
    """Parse `{"allow": true}` or `{"allow": false, "reason": "…"}`.

    Other members are ignored, and so is a reason that is not a text of at most 200 printable characters. Raises
    ValueError if the body is something else: nothing but `true` allows a sign-in.
    """
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    except ValueError:
        raise ValueError("the body is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("allow"), bool):
        raise ValueError('the body must be {"allow": true} or {"allow": false}')
    reason = document.get("reason")
    is_text = isinstance(reason, str) and reason.isprintable() and 0 < len(reason) <= MAX_REASON_LENGTH
    return HookDecision(document["allow"], reason if is_text else None)
