"""Card setups: the provider's form confirms one, and its card is stored, whether our client or the webhook is first."""

from datetime import datetime

from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import DECLINED, REQUIRES_ACTION, PaymentMethodRejected, ProviderMethod
from streamsvc.models import Account
from streamsvc.models.subscriptions import PaymentMethod
from streamsvc.operations.billing.core import customers
from streamsvc.operations.billing.payments import methods
from streamsvc.rules.refusals.billing import AuthenticationRequired, PaymentFailed
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, lock_existing_row, lock_row


def start_setup(account_id: str) -> dict:
    """Return {provider, setup_id, client_secret}, with which a front end verifies a card before adding it.

    Raises Invalid, Unavailable.
    """
    provider = current_provider()
    db.session.commit()
    with methods.report_provider_errors(""):
        setup = customers.call_with_customer(account_id, lambda customer: provider.create_setup(account_id, customer))
    secrets = {"setup_id": setup.reference, "client_secret": setup.client_secret} if setup else {}
    return {"provider": provider.name, "setup_id": None, "client_secret": None} | secrets


def complete_setup(account_id: str, reference: str, now: datetime) -> PaymentMethod:
    """Store the card of a confirmed setup and return it; the one stored before if it is known already.

    Raises Invalid, Unavailable, PaymentFailed, AuthenticationRequired.
    """
    db.session.commit()
    with methods.report_provider_errors("setup_id"):
        outcome = current_provider().retrieve_setup(reference)
    if outcome.account_id != account_id:
        raise Invalid(errors={"setup_id": ["No such setup."]})
    if outcome.status == REQUIRES_ACTION:
        raise AuthenticationRequired(next_action=outcome.next_action)
    if outcome.status == DECLINED:
        raise PaymentFailed(decline_code=outcome.decline_code)
    if outcome.method is None:
        raise Invalid(errors={"setup_id": ["Must be a confirmed setup; confirm it in the provider's form first."]})
    lock_existing_row(Account, account_id)
    method = get_or_create_method(account_id, outcome.method, now)
    if method.removed_at:
        raise Invalid(errors={"setup_id": ["This card was removed; start a new setup to add it again."]})
    return method


def complete_reported_setup(reference: str, now: datetime) -> None:
    """Store the card of a setup that the provider reports, unless its account is not ours or is closed. Commits.

    Overdue invoices are not charged: the customer's client causes that when it completes the setup, and can respond to
    the bank. A removed card stays removed. Raises ProviderUnavailable.
    """
    db.session.commit()
    try:
        outcome = current_provider().retrieve_setup(reference)
    except PaymentMethodRejected:  # not a setup of this provider account
        return
    account = lock_row(Account, outcome.account_id) if outcome.account_id else None
    if account is not None and account.status == "active" and outcome.method is not None:
        get_or_create_method(account.id, outcome.method, now)
    db.session.commit()


def get_or_create_method(account_id: str, card: ProviderMethod, now: datetime) -> PaymentMethod:
    """Return the account's method with the card's reference, removed or not; create it if there is none.

    The caller holds the account's lock, which decides between our client and the webhook.
    """
    method = PaymentMethod.find_by_reference(account_id, current_provider().name, card.reference)
    if method is None:
        return methods.create_payment_method(account_id, card, now)
    method.set_up_at = method.set_up_at or now
    return method
