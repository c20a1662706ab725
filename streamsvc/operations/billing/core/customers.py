"""An account's customer at the payment provider: created when first needed, deleted when the account is erased.

It has the account's email address, also after that has changed.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import CustomerMissing, ProviderUnavailable
from streamsvc.models import Account
from streamsvc.models.subscriptions import PaymentMethod, ProviderCustomer
from streamsvc.storage.database import batching_session, db, execute_write, fetch_existing, fetch_one, insert
from streamsvc.storage.unit_of_work import ANY_COLUMN
from streamsvc.worker import jobs

DELETE_JOB = "provider_customer.delete"
UPDATE_JOB = "provider_customer.update"
RETRY_AFTER = timedelta(minutes=10)
"""How long to wait before a removal at the provider is tried again."""
Result = TypeVar("Result")


def call_with_customer(account_id: str, request: Callable[[str | None], Result]) -> Result:
    """Call the provider for the account's customer there, which is created if there is none or it was deleted there.

    Must not be called inside a transaction. Raises PaymentMethodRejected, ProviderUnavailable.
    """
    statement = sa.select(ProviderCustomer.reference).where(ProviderCustomer.account_id == account_id)
    row = fetch_one(statement.where(ProviderCustomer.provider == current_provider().name))
    customer = row.reference if row else _create_customer(account_id)
    try:
        return request(customer)
    except CustomerMissing:
        return request(_create_customer(account_id, replaced=customer))


def _create_customer(account_id: str, replaced: str | None = None) -> str | None:
    provider = current_provider()
    email = fetch_existing(sa.select(Account.email).where(Account.id == account_id)).email
    reference = provider.create_customer(account_id, email, replaced)
    if reference is not None:
        values = {"provider": provider.name, "reference": reference, "created_at": clock.now()}
        statement = insert(ProviderCustomer).values(account_id=account_id, **values)
        execute_write(statement.on_conflict_do_update(index_elements=["account_id"], set_=values))
    return reference


def record_customer_of(method: PaymentMethod, now: datetime) -> None:
    """Store the customer of an imported method, unless the account has one. In the caller's transaction."""
    customer, _, method_id = method.reference.partition("/")
    if method.provider == "sandbox" or not method_id:
        return
    values = {"provider": method.provider, "reference": customer, "created_at": now}
    row = {"account_id": method.account_id, **values}
    batching_session().insert_rows(ProviderCustomer, [row], unique_by=ANY_COLUMN)


def record_customer_deleted(reference: str, now: datetime) -> None:
    """Forget a customer that was deleted at the provider: its methods are removed. In the caller's transaction."""
    customer = db.session.scalar(sa.select(ProviderCustomer).where(ProviderCustomer.reference == reference))
    if customer is not None:
        _forget_customer(customer, now)


def enqueue_customer_update(account_id: str, now: datetime) -> None:
    """Enqueue the update of the account's customer with its new email address, in the caller's transaction."""
    if db.session.get(ProviderCustomer, account_id) is not None:
        jobs.enqueue_job(UPDATE_JOB, {"account_id": account_id}, now)


@jobs.job_handler(UPDATE_JOB)
def update_customer(payload: dict, now: datetime) -> None:
    """Send the account's email address, as it is now, to the provider. Raises Retry while it is unavailable."""
    provider = current_provider()
    statement = sa.select(ProviderCustomer.reference, Account.email).join(
        Account, Account.id == ProviderCustomer.account_id
    )
    row = fetch_one(statement.where(Account.id == payload["account_id"], ProviderCustomer.provider == provider.name))
    if row is None:
        return
    try:
        provider.update_customer(row.reference, row.email)
    except ProviderUnavailable:
        raise jobs.Retry(now + RETRY_AFTER) from None


def erase_customer(account_id: str, now: datetime) -> None:
    """Forget the account's customer and enqueue its deletion at the provider, in the caller's transaction."""
    customer = db.session.get(ProviderCustomer, account_id)
    if customer is not None:
        payload = {"provider": customer.provider, "reference": customer.reference}
        jobs.enqueue_job(DELETE_JOB, payload, now, f"delete {customer.reference}")
        _forget_customer(customer, now)


def _forget_customer(customer: ProviderCustomer, now: datetime) -> None:
    is_usable = (
        PaymentMethod.account_id == customer.account_id,
        PaymentMethod.removed_at.is_(None),
        PaymentMethod.reference.startswith(f"{customer.reference}/", autoescape=True),
    )
    db.session.execute(sa.update(PaymentMethod).where(*is_usable).values(removed_at=now, is_default=False))
    db.session.delete(customer)
    db.session.flush()


@jobs.job_handler(DELETE_JOB)
def delete_customer(payload: dict, now: datetime) -> None:
    """Delete a customer at the provider. Raises Retry while it is unavailable."""
    provider = current_provider()
    if provider.name != payload["provider"]:
        return
    try:
        provider.delete_customer(payload["reference"])
    except ProviderUnavailable:
        raise jobs.Retry(now + RETRY_AFTER) from None
