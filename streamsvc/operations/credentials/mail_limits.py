"""Limits of the mails that anyone can cause to be sent, which keep no owner from getting a link.

A request counts first against its network address, then against the mailbox. A request beyond a limit is not dropped:
it leaves the open link as it is, and sends another if none has enough time left (see `is_mail_due`). Whether a link is
open is looked up where the account is: by the worker, if strangers must not find out whether there is one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account, MailedToken, Session
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.rate_limits import source_network
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.mailed_tokens import is_mail_due
from streamsvc.security import rate_limits
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_row

UNKNOWN_NETWORK = source_network(None)


def hit_mail_limits(subject: str, facts: RequestFacts) -> None:
    """Count a requested mail by the client's address and by `subject`. Raises TooManyAttempts."""
    exhausted = _hit_mail_limits(subject, facts)
    if exhausted:
        raise exhausted[1]


def count_mail_request(subject: str, facts: RequestFacts) -> dict[str, str]:
    """Count a requested mail; returns what `is_token_mail_due` asks for, as the payload of a job: empty within limits.

    Otherwise {exhausted, network}.
    """
    exhausted = _hit_mail_limits(subject, facts)
    return {"exhausted": exhausted[0], "network": facts.network} if exhausted else {}


def is_token_mail_due(
    kind: str,
    account_id: str | None,
    request: Mapping[str, Any],
    now: datetime,
    *conditions: sa.ColumnElement[bool],
) -> bool:
    """Whether a mail with a token of this kind is to be sent, for a `request` from `count_mail_request`.

    `conditions` narrow down the tokens that make up for it. Beyond a limit it locks the account, so that of concurrent
    requests one sends.
    """
    exhausted = request.get("exhausted")
    if exhausted is None:
        return True
    if account_id:
        lock_row(Account, account_id)
    return is_mail_due(
        exhausted,
        is_known_network=account_id is not None and _is_known_network(account_id, request["network"]),
        has_fresh_link=MailedToken.has_fresh(kind, now, MailedToken.account_id == account_id, *conditions),
    )


def _hit_mail_limits(subject: str, facts: RequestFacts) -> tuple[str, TooManyAttempts] | None:
    """Count the request, as far as the first exhausted limit; returns its name and error."""
    rule = limits.MAIL_FROM_ADDRESS
    try:
        hit_address_limit(rule, facts)
        if current_settings().login_throttle:
            rule = limits.MAIL_TO_ADDRESS_BY_SOURCE
            rate_limits.hit(rule, f"{subject} {facts.network}")
            rule = limits.MAIL_TO_ADDRESS
            rate_limits.hit(rule, subject)
    except TooManyAttempts as error:
        return rule.name, error
    return None


def _is_known_network(account_id: str, network: str) -> bool:
    """Whether somebody was signed in to the account from this network."""
    addresses = sa.select(Session.address).where(Session.account_id == account_id, Session.address.is_not(None))
    known = {source_network(address) for address in db.session.scalars(addresses.distinct())}
    return network != UNKNOWN_NETWORK and network in known
