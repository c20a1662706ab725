"""Asks the sign-in hook, if one is configured, whether a viewer whose credentials are verified may sign in."""

import json
from collections.abc import Mapping
from typing import Any

from streamsvc import clock
from streamsvc.gateways.peers import CallFailed, log_failure
from streamsvc.gateways.sign_in_hook import PEER_NAME, post_hook
from streamsvc.operations.outbox import audit
from streamsvc.rules.refusals.accounts import SignInDenied
from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.hook import HookDecision, parse_decision
from streamsvc.rules.webhooks import sign_message
from streamsvc.settings import Settings, current_settings
from streamsvc.storage.database import db, format_utc, new_id

UNAVAILABLE_DETAIL = "Sign-ins cannot be checked at the moment; try again shortly."


def require_permission(
    account_id: str | None,
    method: str,
    device: Mapping[str, Any] | None,
    facts: RequestFacts,
    second_factor: str | None = None,
) -> None:
    """Ask the hook whether this sign-in may go on. Does nothing if none is configured.

    Call it when the credentials are verified and before the transaction that signs in. `account_id` is None if the
    sign-in would create the account. What the hook denies, and each failure, is committed to the audit log. Raises
    SignInDenied; Unavailable if the hook fails and the policy is to deny.
    """
    settings = current_settings()
    if not settings.sign_in_hook_url:
        return
    if db.session().in_transaction():
        raise RuntimeError("the sign-in hook must be called outside of a transaction")
    data: dict[str, Any] = {"account_id": account_id, "method": method, "second_factor": second_factor}
    data["device"] = {name: (device or {}).get(name) for name in ("id", "name", "kind")}
    data |= {"address": facts.address, "city": facts.city, "user_agent": facts.user_agent}
    try:
        decision = _ask_hook(settings, data)
    except (CallFailed, ValueError) as error:
        _record_failure(settings, account_id, method, str(error))
        return
    if not decision.is_allowed:
        audit.record_event("authn_hook_denied", account_id, actor="anonymous", method=method, why=decision.reason)
        db.session.commit()
        members: dict[str, Any] = {"reason": decision.reason} if decision.reason else {}
        raise SignInDenied(**members)


def _ask_hook(settings: Settings, data: dict) -> HookDecision:
    """Raises CallFailed; ValueError if the response is no decision."""
    body, headers = _sign_request(settings.sign_in_hook_secret, data)
    url, deadline_s = settings.sign_in_hook_url, settings.sign_in_hook_timeout_ms / 1000
    return parse_decision(post_hook(url, body, headers, deadline_s, settings.webhooks_to_private))


def _record_failure(settings: Settings, account_id: str | None, method: str, why: str) -> None:
    """Record that the hook failed, and apply the policy. Commits. Raises Unavailable if it is to deny."""
    policy = settings.sign_in_hook_on_failure
    log_failure(PEER_NAME, f"policy {policy}: {why}")
    audit.record_event("authn_hook_failed", account_id, actor="anonymous", method=method, why=why[:300], policy=policy)
    db.session.commit()
    if policy == "deny":
        raise Unavailable(detail=UNAVAILABLE_DETAIL)


def _sign_request(secret: str, data: dict) -> tuple[bytes, dict[str, str]]:
    """Build the body and the headers, signed like a webhook's. The timestamp is the wall clock's, as there."""
    payload = {"type": "sign_in.requested", "timestamp": format_utc(clock.now()), "data": data}
    body = json.dumps(payload, separators=(",", ":")).encode()
    message_id, timestamp = new_id("msg"), int(clock.wall_time().timestamp())
    return body, {
        "Content-Type": "application/json",
        "User-Agent": "streamsvc",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign_message([secret], message_id, timestamp, body),
    }
