"""Every job handler: importing this module registers them all."""

from streamsvc.operations.accounts import accounts, guests
from streamsvc.operations.billing.books import audit
from streamsvc.operations.billing.core import batches, charging, customers, referrals, taxing
from streamsvc.operations.billing.gifts import delivery
from streamsvc.operations.billing.invoices import refunds, review
from streamsvc.operations.billing.payments import cleanup, methods, provider_events
from streamsvc.operations.billing.stores import refreshing
from streamsvc.operations.billing.subscriptions import collection, price_migrations, renewal
from streamsvc.operations.catalog.channels import guide
from streamsvc.operations.catalog.imports import imports
from streamsvc.operations.catalog.titles import indexing, popularity
from streamsvc.operations.maintenance import failed_jobs, housekeeping
from streamsvc.operations.outbox import mail, security_events, sms, webhooks
from streamsvc.operations.playback import maintenance
from streamsvc.operations.sign_in import account_status, closing, magic_links, password_changes, recoveries

__all__ = [
    "account_status",
    "accounts",
    "audit",
    "batches",
    "charging",
    "cleanup",
    "closing",
    "collection",
    "customers",
    "delivery",
    "failed_jobs",
    "guests",
    "guide",
    "housekeeping",
    "imports",
    "indexing",
    "magic_links",
    "mail",
    "maintenance",
    "methods",
    "password_changes",
    "popularity",
    "price_migrations",
    "provider_events",
    "recoveries",
    "referrals",
    "refreshing",
    "refunds",
    "renewal",
    "review",
    "security_events",
    "sms",
    "taxing",
    "webhooks",
]
