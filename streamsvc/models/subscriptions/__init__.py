"""Plans, subscriptions, invoices and payments. Import tables from here."""

from streamsvc.models.subscriptions.credit_notes import CreditNote, CreditNoteLine
from streamsvc.models.subscriptions.gift_purchases import GiftPurchase
from streamsvc.models.subscriptions.invoices import Invoice, InvoiceLine, InvoiceNumber
from streamsvc.models.subscriptions.ledger import LedgerEntry
from streamsvc.models.subscriptions.methods import PaymentMethod, ProviderCustomer
from streamsvc.models.subscriptions.migrations import PriceMigration, PriceMigrationTarget
from streamsvc.models.subscriptions.offers import Coupon, Discount, GiftCode
from streamsvc.models.subscriptions.payments import Payment, ProviderEvent, Refund
from streamsvc.models.subscriptions.payouts import Payout
from streamsvc.models.subscriptions.plans import Plan, Price
from streamsvc.models.subscriptions.referrals import Referral, ReferralCode, ReferralReward
from streamsvc.models.subscriptions.sandbox import SandboxCharge, SandboxPlannedOutcome
from streamsvc.models.subscriptions.sellers import BillingAddress, LegalEntity, LegalEntityCountry
from streamsvc.models.subscriptions.stores import StoreProduct, StorePurchase, StoreSubscription, StoreTransaction
from streamsvc.models.subscriptions.subscriptions import Subscription, SubscriptionAddonPrice, SubscriptionEvent
from streamsvc.models.subscriptions.taxes import TaxId, TaxIdCheck, TaxRate

__all__ = [
    "BillingAddress",
    "Coupon",
    "CreditNote",
    "CreditNoteLine",
    "Discount",
    "GiftCode",
    "GiftPurchase",
    "Invoice",
    "InvoiceLine",
    "InvoiceNumber",
    "LedgerEntry",
    "LegalEntity",
    "LegalEntityCountry",
    "Payment",
    "PaymentMethod",
    "Payout",
    "Plan",
    "Price",
    "PriceMigration",
    "PriceMigrationTarget",
    "ProviderCustomer",
    "ProviderEvent",
    "Referral",
    "ReferralCode",
    "ReferralReward",
    "Refund",
    "SandboxCharge",
    "SandboxPlannedOutcome",
    "StoreProduct",
    "StorePurchase",
    "StoreSubscription",
    "StoreTransaction",
    "Subscription",
    "SubscriptionAddonPrice",
    "SubscriptionEvent",
    "TaxId",
    "TaxIdCheck",
    "TaxRate",
]
