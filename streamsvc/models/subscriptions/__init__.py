"""What is sold, who has it, and the money. Import tables from here."""

from streamsvc.models.subscriptions.methods import PaymentMethod
from streamsvc.models.subscriptions.plans import Plan, Price
from streamsvc.models.subscriptions.subscriptions import Subscription, SubscriptionEvent

__all__ = ["PaymentMethod", "Plan", "Price", "Subscription", "SubscriptionEvent"]
