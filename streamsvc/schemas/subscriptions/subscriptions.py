"""Request and response bodies of plans, subscriptions and payment methods."""

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from streamsvc.rules.billing.access import STATUSES
from streamsvc.rules.stores.state import SOURCES as STORE_SOURCES
from streamsvc.rules.stores.state import SUBSCRIPTION_SOURCES
from streamsvc.schemas.base import (
    DEVICE_KINDS,
    Bool,
    Choice,
    Country,
    Currency,
    Day,
    Int,
    Moment,
    MomentOrDay,
    OneOf,
    PageQuery,
    Pattern,
    PrefixedId,
    QueryBool,
    Slug,
    StrictSchema,
    Text,
)
from streamsvc.schemas.names import Message, Name

MAX_AMOUNT_MINOR = 10**12


class Money(Int):
    """Minor units, not negative unless `minimum` is, and small enough that years of them add up safely.

    Every amount in a request is of this type.
    """

    def __init__(self, *, minimum: int = 0, **kwargs: Any):
        super().__init__(minimum=minimum, maximum=MAX_AMOUNT_MINOR, **kwargs)


class StoreId(Pattern):
    """An app store's id of a product or a base plan."""

    def __init__(self, **kwargs: Any) -> None:
        hint = "Must contain only letters, digits, dots, dashes and underscores."
        super().__init__("[A-Za-z0-9._-]+", hint, max_length=150, **kwargs)


class Features(StrictSchema):
    sometimes_absent = ("max_devices_by_kind", "max_device_removals")
    max_streams = Int(minimum=0, maximum=1000, load_default=1)
    max_height = Int(minimum=0, maximum=100_000, load_default=1080)
    max_profiles = Int(minimum=1, maximum=100, load_default=5)
    max_devices = Int(minimum=1, maximum=10_000, load_default=10)
    max_devices_by_kind = fields.Dict(
        keys=Choice(*DEVICE_KINDS),
        values=Int(minimum=0, maximum=10_000),
        metadata={"description": 'Further limits by kind of device, such as `{"tv": 2}`.'},
    )
    max_device_removals = Int(
        minimum=1,
        maximum=1000,
        metadata={"description": "How many removed devices free their places within 30 days; absent: any number."},
    )
    downloads = Bool(load_default=False)
    ads = Bool(load_default=False)


class AddonFeatures(StrictSchema):
    """Numbers count per unit and are added to those of the plan; the larger `max_height` applies."""

    sometimes_absent = ("max_streams", "max_height", "max_profiles", "max_devices", "downloads", "ads")
    max_streams = Int(minimum=0, maximum=1000)
    max_height = Int(minimum=0, maximum=100_000)
    max_profiles = Int(minimum=0, maximum=100)
    max_devices = Int(minimum=0, maximum=10_000)
    downloads = Bool(metadata={"description": "True: downloads are allowed."})
    ads = Bool(metadata={"description": "False: there are no ads."})


class Quantity(Int):
    """Units of an add-on."""

    def __init__(self, **kwargs: Any):
        super().__init__(minimum=1, maximum=1000, **kwargs)


class Intro(StrictSchema):
    amount_minor = Money(required=True)
    periods = Int(minimum=1, maximum=1000, required=True)


class PriceIn(StrictSchema):
    id = Text(
        load_default=None, allow_none=True, metadata={"description": "Ignored: prices are identified by their terms."}
    )
    currency = Currency(required=True)
    amount_minor = Money(required=True)
    interval = Choice("day", "week", "month", "year", load_default="month")
    interval_count = Int(minimum=1, maximum=366, load_default=1)
    trial_days = Int(minimum=0, maximum=730, load_default=0)
    intro = fields.Nested(Intro, load_default=None, allow_none=True)
    tax = Choice("inclusive", "exclusive", load_default="inclusive")
    countries = fields.List(
        Country(), load_default=None, allow_none=True, validate=validate.Length(1, 300), metadata={"uniqueItems": True}
    )


class StoreProductIn(StrictSchema):
    """A product of an app store that buys a plan."""

    source = Choice(*STORE_SOURCES, required=True)
    product_id = StoreId(required=True)
    base_plan_id = StoreId(
        load_default=None,
        allow_none=True,
        metadata={"description": "Google Play's base plan; null: every base plan of the product."},
    )


class PlanIn(StrictSchema):
    code = Slug(load_default=None)
    name = Name(required=True)
    description = Text(load_default=None, allow_none=True, max_length=2000)
    addon = Bool(
        load_default=None,
        metadata={
            "description": "Sell it only as an add-on to another plan. If false, it can be sold both ways. If absent, "
            "it stays as it is; false for a new plan."
        },
    )
    features = fields.Nested(Features, load_default=lambda: Features().load({}))
    addon_features = fields.Nested(
        AddonFeatures,
        load_default=None,
        metadata={"description": "What each unit adds where it is an add-on. If absent, it stays as it is."},
    )
    includes = fields.List(
        Slug(),
        load_default=None,
        validate=validate.Length(0, 100),
        metadata={
            "description": "Codes of the add-ons that it contains. If absent, they stay as they are.",
            "uniqueItems": True,
        },
    )
    sold_with = fields.List(
        Slug(),
        load_default=None,
        validate=validate.Length(0, 100),
        metadata={
            "description": "Codes of the plans to which it can be an add-on; empty: to all. If absent, they stay as "
            "they are.",
            "uniqueItems": True,
        },
    )
    tax_category = Slug(
        load_default=None,
        metadata={
            "description": "Which of a country's tax rates its prices have. If absent, it stays as it is; `standard` "
            "for a new plan."
        },
    )
    store_products = fields.List(
        fields.Nested(StoreProductIn),
        load_default=None,
        validate=validate.Length(0, 100),
        metadata={"description": "The app stores' products that buy it. If absent, they stay as they are."},
    )
    prices = fields.List(fields.Nested(PriceIn), required=True, validate=validate.Length(0, 500))


class PriceOut(StrictSchema):
    id = PrefixedId("pri")
    currency = fields.String()
    amount_minor = fields.Integer()
    interval = OneOf("day", "week", "month", "year")
    interval_count = fields.Integer()
    trial_days = fields.Integer()
    intro = fields.Nested(Intro, allow_none=True)
    tax = OneOf("inclusive", "exclusive")
    countries = fields.List(fields.String(), allow_none=True)


class PlanSummaryOut(StrictSchema):
    code = fields.String()
    name = fields.String()
    features = fields.Nested(Features)


class PlanOut(PlanSummaryOut):
    description = fields.String(allow_none=True)
    addon = fields.Boolean(metadata={"description": "Whether it is sold only as an add-on to another plan."})
    addon_features = fields.Nested(
        AddonFeatures, metadata={"description": "What each unit adds to the plan with which it is sold."}
    )
    includes = fields.List(fields.String(), metadata={"description": "Codes of the add-ons that it contains."})
    sold_with = fields.List(
        fields.String(),
        metadata={"description": "Codes of the plans to which it can be an add-on; empty: to all."},
    )
    tax_category = fields.String()
    store_products = fields.List(
        fields.Nested(StoreProductIn), metadata={"description": "What buys it in the app stores."}
    )
    prices = fields.List(fields.Nested(PriceOut))


class PlanQuery(PageQuery):
    country = Country(load_default=None, metadata={"description": "Only prices that are on sale there."})
    currency = Currency(load_default=None, metadata={"description": "Only prices in this currency."})
    addons = QueryBool(load_default=False, metadata={"description": "List the add-ons instead of the other plans."})


class PaymentMethodIn(StrictSchema):
    """`setup_id` of a confirmed setup, or a `token` of the payment provider."""

    token = Text(load_default=None)
    setup_id = Text(load_default=None)

    @validates_schema
    def check_source(self, data: dict, **kwargs: Any) -> None:
        if (data["token"] is None) == (data["setup_id"] is None):
            raise ValidationError("Must be given unless `setup_id` is, and not together with it.", "token")


class PaymentSetupOut(StrictSchema):
    """A Stripe SetupIntent; `setup_id` and `client_secret` are null if the provider has no such step."""

    provider = fields.String()
    setup_id = fields.String(allow_none=True)
    client_secret = fields.String(allow_none=True)


class PaymentConfigOut(StrictSchema):
    """What a front end needs to show the provider's payment form. Nothing in it is secret."""

    provider = OneOf("sandbox", "stripe")
    publishable_key = fields.String(allow_none=True)
    api_version = fields.String(
        allow_none=True, metadata={"description": "The version of the provider's API that the service uses."}
    )
    script_url = fields.String(
        allow_none=True, metadata={"description": "Load the provider's script from here: it fits `api_version`."}
    )
    wallets = fields.List(fields.String(), metadata={"description": "Wallets that the form can offer."})
    sandbox = fields.Boolean(
        metadata={"description": "Whether the sandbox's test cards work: in the sandbox, without another provider."}
    )


class PaymentMethodOut(StrictSchema):
    id = PrefixedId("pme")
    kind = fields.String()
    brand = fields.String(allow_none=True)
    last4 = fields.String(allow_none=True)
    exp_month = fields.Integer(allow_none=True)
    exp_year = fields.Integer(allow_none=True)
    is_default = fields.Boolean()
    set_up_at = Moment(
        allow_none=True,
        metadata={"description": "When the bank authorized charges for which the customer is not present."},
    )
    created_at = Moment()


class AnchorMonth(Int):
    """A month of the year, 1 to 12; only for prices billed by the year."""

    def __init__(self, **kwargs: Any):
        super().__init__(minimum=1, maximum=12, load_default=None, allow_none=True, **kwargs)


class AddonIn(StrictSchema):
    price_id = Text(required=True)
    quantity = Quantity(load_default=1)
    ends_at = Day(
        load_default=None,
        allow_none=True,
        metadata={"description": "The first day without it. Default: it renews with the subscription."},
    )


class SubscriptionIn(StrictSchema):
    price_id = Text(required=True)
    payment_method_id = Text(load_default=None, allow_none=True)
    coupon = Text(load_default=None, allow_none=True)
    coupons = fields.List(
        Text(),
        load_default=list,
        validate=validate.Length(0, 5),
        metadata={"description": "Several coupons, in the order in which they apply, after `coupon`."},
    )
    gift_code = Text(load_default=None, allow_none=True)
    referral_code = Text(load_default=None, allow_none=True)
    device_fingerprint = Text(
        load_default=None,
        allow_none=True,
        metadata={"description": "Identifies the device across accounts: each device gets one trial."},
    )
    anchor_day = Int(minimum=1, maximum=31, load_default=None, allow_none=True)
    anchor_month = AnchorMonth(metadata={"description": "The month in which years start, with `anchor_day`."})
    start_date = Day(load_default=None, allow_none=True)
    addons = fields.List(
        Text(),
        load_default=list,
        validate=validate.Length(0, 20),
        metadata={"description": "Ids of add-on prices; they share the periods of the subscription."},
    )
    addon_items = fields.List(
        fields.Nested(AddonIn),
        load_default=list,
        validate=validate.Length(0, 20),
        metadata={"description": "More add-ons, with their quantity and their end."},
    )


class PeriodOut(StrictSchema):
    start = Day()
    end = Day()


class PendingChange(StrictSchema):
    price_id = PrefixedId("pri")
    effective = Day()


class ChangeAwaitingPayment(StrictSchema):
    price_id = PrefixedId("pri", allow_none=True, metadata={"description": "The new price, of the plan or an add-on."})
    invoice_id = PrefixedId("inv")
    payment_id = PrefixedId("pay", allow_none=True)


class PendingAnchor(StrictSchema):
    """On `effective`, when the paid time ends, the bridge up to `renews_on` is billed; later periods start there."""

    day = fields.Integer()
    month = fields.Integer(allow_none=True)
    effective = Day()
    renews_on = Day()


class DiscountOut(StrictSchema):
    coupon = fields.String()
    percent_off = fields.Float(allow_none=True)
    amount_off_minor = fields.Integer(allow_none=True)
    currency = fields.String(allow_none=True)
    duration = OneOf("once", "repeating", "forever")
    periods = fields.Integer(allow_none=True)
    periods_used = fields.Integer()


class AddonOut(StrictSchema):
    plan = fields.String(metadata={"description": "The code of the add-on's plan."})
    price = fields.Nested(PriceOut)
    quantity = fields.Integer()
    trial_end = Day(allow_none=True, metadata={"description": "The first day after its trial, if it has or had one."})
    ends = Day(allow_none=True, metadata={"description": "The first day without the add-on, if that is known."})


class ItemOut(StrictSchema):
    """The plan, an add-on, or an add-on that the plan includes."""

    code = fields.String(metadata={"description": "The code of the item's plan."})
    price_id = PrefixedId("pri", allow_none=True, metadata={"description": "Null if the plan includes it."})
    quantity = fields.Integer()
    trial_end = Day(allow_none=True)
    ends_at = Day(allow_none=True, metadata={"description": "The end date that it was given: the first day without."})
    cancel_at = Day(allow_none=True, metadata={"description": "The first day without it, if it was removed."})
    included = fields.Boolean(metadata={"description": "Whether the plan includes it without charge."})


class StoreOut(StrictSchema):
    """What only a subscription has that an app store bills. `state` is in the store's words."""

    environment = OneOf("production", "sandbox")
    product_id = fields.String()
    base_plan_id = fields.String(allow_none=True)
    state = fields.String()
    renews = fields.Boolean(metadata={"description": "Whether the store renews it, as far as its customer decides."})
    period_end = Moment(allow_none=True)
    renewal_product_id = fields.String(
        allow_none=True, metadata={"description": "The product of the next period, if it is another one."}
    )
    offer = fields.String(allow_none=True)
    family_shared = fields.Boolean(metadata={"description": "Whether a family shares it; another person pays."})
    price_consent = fields.String(
        allow_none=True, metadata={"description": "`pending` or `given`, while the store raises the price."}
    )
    fetched_at = Moment(metadata={"description": "When the store last said so."})
    management_url = fields.String(metadata={"description": "Where its customer changes or cancels it."})


class SubscriptionOut(StrictSchema):
    id = PrefixedId("sub")
    status = OneOf(*STATUSES)
    source = OneOf(*SUBSCRIPTION_SOURCES, metadata={"description": "Who bills it; `manual`: an operator started it."})
    store = fields.Nested(StoreOut, allow_none=True, metadata={"description": "Null unless an app store bills it."})
    plan = fields.Nested(PlanSummaryOut)
    price = fields.Nested(PriceOut, allow_none=True, metadata={"description": "Null if an app store bills it."})
    anchor_day = fields.Integer(allow_none=True)
    anchor_month = fields.Integer(allow_none=True)
    pending_anchor = fields.Nested(
        PendingAnchor, allow_none=True, metadata={"description": "A planned move of the billing day."}
    )
    started_on = Day()
    period = fields.Nested(PeriodOut, allow_none=True)
    trial_end = Day(allow_none=True)
    cancel_at = Day(allow_none=True)
    canceled_at = Moment(allow_none=True)
    cancel_reason = fields.String(allow_none=True)
    paused_at = Moment(allow_none=True)
    resumes_at = Moment(allow_none=True)
    access_until = Moment(allow_none=True)
    past_due_since = Day(allow_none=True)
    pending_change = fields.Nested(PendingChange, allow_none=True)
    declinable_change = fields.Nested(
        PendingChange,
        allow_none=True,
        metadata={"description": "The pending change, if it is a price change that the customer may decline."},
    )
    change_awaiting_payment = fields.Nested(
        ChangeAwaitingPayment,
        allow_none=True,
        metadata={"description": "A change that takes effect once its payment succeeds, and not at all if it fails."},
    )
    discount = fields.Nested(DiscountOut, allow_none=True, metadata={"description": "The first of `discounts`."})
    discounts = fields.List(fields.Nested(DiscountOut), metadata={"description": "In the order in which they apply."})
    addons = fields.List(fields.Nested(AddonOut))
    items = fields.List(
        fields.Nested(ItemOut),
        metadata={"description": "The plan, the add-ons, and the add-ons that the plan includes."},
    )
    payment_method_id = PrefixedId("pme", allow_none=True)
    latest_invoice_id = PrefixedId("inv", allow_none=True)
    created_at = Moment()


class PlanChangeIn(StrictSchema):
    price_id = Text(required=True)
    when = Choice("auto", "now", "period_end", load_default="auto")
    anchor_day = Int(minimum=1, maximum=31, load_default=None, allow_none=True)


class AnchorIn(StrictSchema):
    day = Int(minimum=1, maximum=31, required=True)
    month = AnchorMonth()


class CancellationIn(StrictSchema):
    when = Choice("period_end", "now", load_default="period_end")
    effective_date = Day(load_default=None, allow_none=True)
    credit = Choice("none", "prorated", load_default=None, allow_none=True)
    reason = Message(load_default=None, allow_none=True)
    feedback = Message(load_default=None, allow_none=True, max_length=2000)

    @validates_schema
    def check_effective_date(self, data: dict, **kwargs: Any) -> None:
        if data.get("effective_date") and data["when"] == "period_end":
            raise ValidationError("effective_date requires when: now.", "effective_date")


class SubscriptionCouponIn(StrictSchema):
    coupon = Text(required=True)


class AddonChangeIn(StrictSchema):
    quantity = Quantity(metadata={"description": "The new number of units; absent: it stays."})
    ends_at = Day(
        allow_none=True,
        metadata={"description": "The first day without it; null: it has no end date; absent: it stays."},
    )

    @validates_schema
    def check_change(self, data: dict, **kwargs: Any) -> None:
        if not data:
            raise ValidationError("Give a quantity or ends_at.", "quantity")


class AddonRemovalQuery(StrictSchema):
    when = Choice("now", "period_end", load_default="now")


class PauseIn(StrictSchema):
    resumes_at = MomentOrDay(load_default=None, allow_none=True)
