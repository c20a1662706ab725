"""Balances of invoices: what pays them, what is owed again, and what is written off."""

from datetime import datetime

from streamsvc.models.subscriptions import Invoice, Payout, Refund
from streamsvc.operations.billing.core import debts, issuing, ledger
from streamsvc.rules.billing.debts import status_for_balance


def apply_account_credit(invoice: Invoice, amount_minor: int, now: datetime) -> None:
    """Pay `amount_minor` of an invoice from account credit."""
    if amount_minor <= 0:
        return
    ledger.post_journal("credit_applied", invoice, now, customer_credit=amount_minor, receivable=-amount_minor)
    invoice.credit_applied_minor += amount_minor
    invoice.balance_minor -= amount_minor


def update_status(invoice: Invoice, now: datetime) -> None:
    """Set the invoice's status for its balance: the one place that marks it as paid, or as owed again.

    What refunds in flight are about to return counts as owed already. A paid invoice is out of dunning; one that is
    owed again enters it today. While a payment is disputed, the day of the first failure stays: however often the
    payer disputes, there is one grace period.
    """
    status = status_for_balance(invoice.status, invoice.balance_minor + _sum_refunds_in_flight(invoice))
    if status == "paid" and invoice.status != status:
        invoice.status, invoice.next_attempt_on = status, None
        if not any(payment.status == "disputed" for payment in invoice.payments):
            invoice.first_failed_on = None
    elif status == "open" and invoice.status != status:
        invoice.status = status
        debts.start_dunning(invoice, now)


def _sum_refunds_in_flight(invoice: Invoice) -> int:
    """Return what refunds that pay out a credit note are about to return to the payer."""
    if invoice.amount_paid_minor <= 0 or not any(payment.refunded_minor for payment in invoice.payments):
        return 0
    return Refund.sum_credited_in_flight(invoice.id)


def collect_reowed_amount(invoice: Invoice, now: datetime) -> None:
    """Collect what is owed again on an invoice because money went back to the payer.

    Account credit pays it first. The rest is dunned, or written off if the invoice is void or uncollectible.
    """
    update_status(invoice, now)
    if invoice.status == "open" and invoice.balance_minor > 0:
        debts.start_dunning(invoice, now)
        pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)
    elif invoice.balance_minor > 0:
        credit_minor = find_usable_credit(invoice.account_id, invoice.currency)
        apply_account_credit(invoice, min(credit_minor, invoice.balance_minor), now)
        write_off_balance(invoice, now)


def credit_overpayment(invoice: Invoice, now: datetime) -> None:
    """Apply an overpayment to the amount written off on the invoice, and turn the rest into account credit.

    What refunds in flight are about to return to the payer is not overpaid.
    """
    if invoice.balance_minor >= 0:
        return
    _reverse_write_off(invoice, now)
    surplus = -invoice.balance_minor - _sum_refunds_in_flight(invoice)
    if surplus > 0:
        ledger.post_journal("credit", invoice, now, receivable=surplus, customer_credit=-surplus)
        invoice.balance_minor += surplus


def _reverse_write_off(invoice: Invoice, now: datetime) -> None:
    written_off = debts.written_off_amount(invoice)
    recovered = min(written_off, -invoice.balance_minor)
    if recovered <= 0:
        return
    ledger.post_journal("write_off", invoice, now, written_off=-recovered, receivable=recovered)
    invoice.balance_minor += recovered
    if recovered == written_off and invoice.status == "uncollectible":
        invoice.status = "paid"
        invoice.first_failed_on = None


def mark_uncollectible(invoice: Invoice, now: datetime) -> None:
    """Mark an open invoice as uncollectible and write off its balance. The customer can still pay it."""
    if invoice.status != "open":
        return
    write_off_balance(invoice, now)
    invoice.status, invoice.first_failed_on, invoice.next_attempt_on = "uncollectible", None, None


def write_off_balance(invoice: Invoice, now: datetime) -> None:
    """Write off the invoice's balance."""
    owed_minor = invoice.balance_minor
    ledger.post_journal("write_off", invoice, now, written_off=owed_minor, receivable=-owed_minor)
    invoice.balance_minor = 0


def find_usable_credit(account_id: str, currency: str) -> int:
    """Return how much account credit may pay what is owed, in minor units.

    Money that was paid out and then charged back is owed in money: otherwise a gift would turn into money, since its
    credit would pay for the chargeback.
    """
    credit_minor = ledger.account_credit(account_id, currency)
    if credit_minor <= 0 or not Payout.exists_for(account_id):
        return credit_minor
    kept_minor = ledger.sum_money_kept(account_id, currency) + Payout.sum_forced(account_id, currency)
    return max(0, min(credit_minor, kept_minor))


def pay_open_invoices_from_credit(account_id: str, currency: str, now: datetime) -> None:
    """Apply account credit to open invoices, oldest first, skipping those with a payment in flight.

    What is left repays what was written off on void invoices: their payments became credit, which was spent before they
    were charged back.
    """
    credit = find_usable_credit(account_id, currency)
    if credit <= 0:
        return
    for invoice in Invoice.list_open(account_id):
        if credit <= 0:
            return
        if invoice.currency != currency or any(payment.is_in_flight for payment in invoice.payments):
            continue
        amount_minor = max(0, min(credit, invoice.balance_minor))
        apply_account_credit(invoice, amount_minor, now)
        credit -= amount_minor
        if invoice.balance_minor == 0:
            issuing.issue_invoice(invoice, now)
        update_status(invoice, now)
    for invoice in debts.list_void_debts(account_id, currency):
        amount_minor = min(credit, debts.written_off_amount(invoice))
        apply_account_credit(invoice, amount_minor, now)
        _reverse_write_off(invoice, now)
        credit -= amount_minor
