"""Request bodies of billing, as loaded by their schemas. A test compares each input with the schema that loads it."""

from datetime import date, datetime
from typing import Literal, NotRequired, TypedDict

from streamsvc.rules.inputs import DeviceKind, PageInput


class PlansInput(PageInput):
    """Which plans to list, and with the prices of which country and currency; None means any."""

    country: str | None
    currency: str | None
    addons: bool


class FeaturesInput(TypedDict):
    """What a plan includes."""

    max_streams: int
    max_height: int
    max_profiles: int
    max_devices: int
    max_devices_by_kind: NotRequired[dict[DeviceKind, int]]
    max_device_removals: NotRequired[int]
    downloads: bool
    ads: bool


class AddonFeaturesInput(TypedDict, total=False):
    """What each unit of an add-on adds."""

    max_streams: int
    max_height: int
    max_profiles: int
    max_devices: int
    downloads: bool
    ads: bool


class IntroInput(TypedDict):
    """An introductory amount and for how many periods it applies."""

    amount_minor: int
    periods: int


class PriceInput(TypedDict):
    """The terms of a price; the id is ignored."""

    id: str | None
    currency: str
    amount_minor: int
    interval: Literal["day", "week", "month", "year"]
    interval_count: int
    trial_days: int
    intro: IntroInput | None
    tax: Literal["inclusive", "exclusive"]
    countries: list[str] | None


class StoreProductInput(TypedDict):
    """A product of an app store that buys a plan."""

    source: Literal["app_store", "play_store"]
    product_id: str
    base_plan_id: str | None


class PlanInput(TypedDict):
    """A plan with all its prices."""

    code: str | None
    name: str
    description: str | None
    addon: bool | None
    features: FeaturesInput
    addon_features: AddonFeaturesInput | None
    includes: list[str] | None
    sold_with: list[str] | None
    tax_category: str | None
    store_products: list[StoreProductInput] | None
    prices: list[PriceInput]


class AddonInput(TypedDict):
    """An add-on to add: its price, how many units, and until when."""

    price_id: str
    quantity: int
    ends_at: date | None


class AddonChangeInput(TypedDict, total=False):
    """What to change of an add-on."""

    quantity: int
    ends_at: date | None


class LegalEntityInput(TypedDict):
    """A company that sells, and its countries."""

    name: str
    street: str | None
    postal_code: str | None
    city: str | None
    country: str
    vat_id: str | None
    tax_number: str | None
    registration: str | None
    email: str | None
    phone: str | None
    tax_exemption: str | None
    prefix: str
    time_zone: str
    countries: list[str]


class SubscriptionInput(TypedDict):
    """What to subscribe to, and how to pay for it."""

    price_id: str
    payment_method_id: str | None
    coupon: str | None
    coupons: list[str]
    gift_code: str | None
    referral_code: str | None
    device_fingerprint: str | None
    anchor_day: int | None
    anchor_month: int | None
    start_date: date | None
    addons: list[str]
    addon_items: list[AddonInput]


class AdminSubscriptionInput(SubscriptionInput):
    """A subscription that an operator starts for an account."""

    account_id: str
    paid_through: date | None


class PlanChangeInput(TypedDict):
    """The price to change to, and when."""

    price_id: str
    when: Literal["auto", "now", "period_end"]
    anchor_day: int | None


class CancellationInput(TypedDict):
    """When a subscription ends, what is credited, and why."""

    when: Literal["period_end", "now"]
    effective_date: date | None
    credit: Literal["none", "prorated"] | None
    reason: str | None
    feedback: str | None


class PreviewInput(TypedDict):
    """The step to preview: the fields of a subscription, plan change, anchor, cancellation or pause."""

    subscription_id: str | None
    price_id: str | None
    coupon: str | None
    coupons: list[str]
    gift_code: str | None
    referral_code: str | None
    device_fingerprint: str | None
    add_addon: str | None
    change_addon: str | None
    remove_addon: str | None
    restore_addon: str | None
    quantity: int | None
    ends_at: date | None
    payment_method_id: str | None
    anchor_day: int | None
    anchor_month: int | None
    start_date: date | None
    addons: list[str]
    addon_items: list[AddonInput]
    when: Literal["auto", "now", "period_end"] | None
    effective_date: date | None
    credit: Literal["none", "prorated"] | None
    day: int | None
    month: int | None
    reason: str | None
    feedback: str | None
    resumes_at: datetime | date | None


class AdminPreviewInput(PreviewInput):
    """The step to preview, and the account that would take it."""

    account_id: str


class CouponInput(TypedDict):
    """The discount of a coupon, and who can redeem it."""

    percent_ppm: int | None
    amount_off_minor: int | None
    currency: str | None
    duration: Literal["once", "repeating", "forever"]
    periods: int | None
    plans: list[str] | None
    audience: Literal["anyone", "new", "returning"]
    combines: bool
    max_per_account: int | None
    max_redemptions: int | None
    expires_at: datetime | None


class GiftCodesInput(TypedDict):
    """The amount of gift codes, or a price and its periods, and how many to create, or one custom code."""

    currency: str | None
    amount_minor: int | None
    price_id: str | None
    periods: int | None
    quantity: int
    code: str | None
    expires_at: datetime | None


class GiftPurchaseInput(TypedDict):
    """A gift to buy: a price and its periods, or an amount; how it is paid for and delivered."""

    price_id: str | None
    periods: int | None
    currency: str | None
    amount_minor: int | None
    payment_method_id: str | None
    recipient_email: str | None
    recipient_name: str | None
    sender_name: str | None
    message: str | None
    deliver_on: date | None


class GiftDeliveryInput(TypedDict, total=False):
    """What to change about the delivery of a gift."""

    recipient_email: str | None
    recipient_name: str | None
    sender_name: str | None
    message: str | None
    deliver_on: date | None


class PayoutInput(TypedDict):
    """How much account credit to pay out, and how."""

    currency: str
    amount_minor: int | None
    method: Literal["auto", "refund", "bank_transfer"]
    reference: str | None
    reason: str
    force: bool
    dry_run: bool


class CreditNoteLineInput(TypedDict):
    """A line of an invoice and the net amount to credit on it."""

    line_id: str
    amount_minor: int


class CreditNoteInput(TypedDict):
    """What to credit on an invoice, and whether to refund it."""

    lines: list[CreditNoteLineInput] | None
    amount_minor: int | None
    refund: bool
    reason: str | None


class RecordedPaymentInput(TypedDict):
    """A payment that came in outside the provider: how much of what is owed, and the operator's note."""

    amount_minor: int | None
    reference: str | None


class RefundInput(TypedDict):
    """Which payment of an invoice to refund, how much of it, and whether to credit it too."""

    amount_minor: int | None
    payment_id: str | None
    credit_note: bool
    reason: str | None


class OneOffInput(TypedDict):
    """A one-off item to charge an account for."""

    account_id: str
    amount_minor: int
    currency: str
    description: str
    tax: Literal["inclusive", "exclusive"]
    tax_category: str


class PriceMigrationInput(TypedDict):
    """The price that subscriptions move to, from when on, and which subscriptions move."""

    from_price_id: str
    to_price_id: str
    effective: date
    notice_days: int
    started_before: date | None
    country: str | None
    can_decline: bool


class PriceMigrationPreviewInput(TypedDict):
    """The terms of a price migration that are to be previewed."""

    from_price_id: str
    to_price_id: str
    effective: date
    notice_days: int
    started_before: date | None
    country: str | None


class PayoutsInput(PageInput):
    """Which payouts to list, and in which form."""

    account_id: str | None
    status: Literal["pending", "paid", "partly_paid", "failed"] | None
    format: Literal["json", "csv"]


class InvoicesInput(PageInput):
    """Which invoices to list."""

    status: Literal["draft"] | None
    account_id: str | None


class SubscriptionsInput(PageInput):
    """Which subscriptions to list."""

    parked: bool | None
    account_id: str | None


class ReportInput(TypedDict):
    """The days of a report, its interval and its format."""

    start: date | None
    end: date | None
    interval: Literal["month", "day"]
    format: Literal["json", "csv"]
