"""Report queries and reports."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from streamsvc.rules.stores.state import SOURCES
from streamsvc.schemas.admin.subscriptions import Percent
from streamsvc.schemas.base import Choice, Day, OneOf, StrictSchema

MAX_REPORT_DAYS = 400
MAX_REPORT_YEARS = 20


class ReportQuery(StrictSchema):
    """Days are UTC; default: the last twelve months."""

    start = Day(data_key="from", load_default=None, metadata={"description": "The first day."})
    end = Day(data_key="to", load_default=None, metadata={"description": "The first day after."})
    interval = Choice("month", "day", load_default="month")
    format = Choice("json", "csv", load_default="json")

    @validates_schema
    def check_range(self, data: dict, **kwargs: Any) -> None:
        start, end = data.get("start"), data.get("end")
        if start and end:
            if start >= end:
                raise ValidationError("Must be after `from`.", "to")
            if (end - start).days > (MAX_REPORT_DAYS if data.get("interval") == "day" else MAX_REPORT_YEARS * 366):
                raise ValidationError(
                    f"Must span at most {MAX_REPORT_DAYS} days, or {MAX_REPORT_YEARS} years with interval=month.", "to"
                )


class ReportRow(StrictSchema):
    period = fields.String(metadata={"description": "YYYY-MM, or YYYY-MM-DD with interval=day."})


class MoneyRow(ReportRow):
    currency = fields.String()


class MrrRow(MoneyRow):
    """closing = opening + new + expansion + contraction + churn + reactivation; losses are negative."""

    opening_minor = fields.Integer()
    new_minor = fields.Integer()
    expansion_minor = fields.Integer()
    contraction_minor = fields.Integer()
    churn_minor = fields.Integer()
    reactivation_minor = fields.Integer()
    closing_minor = fields.Integer()


class RevenueRow(MoneyRow):
    """From the ledger: invoiced - voided - credited = revenue + tax."""

    invoiced_minor = fields.Integer()
    voided_minor = fields.Integer()
    credited_minor = fields.Integer()
    revenue_minor = fields.Integer()
    tax_minor = fields.Integer()
    collected_minor = fields.Integer()
    refunded_minor = fields.Integer()
    disputed_minor = fields.Integer()
    written_off_minor = fields.Integer()
    goodwill_minor = fields.Integer()


class PlanRevenueRow(MoneyRow):
    plan = fields.String(allow_none=True)
    revenue_minor = fields.Integer()


class CountryRevenueRow(MoneyRow):
    country = fields.String()
    revenue_minor = fields.Integer()


class TaxRow(CountryRevenueRow):
    tax_name = fields.String(allow_none=True)
    tax_category = fields.String()
    percent = Percent(attribute="tax_ppm")
    tax_minor = fields.Integer()


class Report(StrictSchema):
    start = Day(data_key="from")
    end = Day(data_key="to")
    interval = fields.String()


class RevenueOut(Report):
    mrr = fields.List(fields.Nested(MrrRow))
    revenue = fields.List(fields.Nested(RevenueRow))
    by_plan = fields.List(fields.Nested(PlanRevenueRow))
    by_country = fields.List(fields.Nested(CountryRevenueRow))
    taxes = fields.List(fields.Nested(TaxRow))


class SubscriberRow(ReportRow):
    """Paying and paused subscribers. closing = opening + new + reactivated - churned."""

    opening = fields.Integer()
    new = fields.Integer()
    reactivated = fields.Integer()
    churned_voluntary = fields.Integer()
    churned_involuntary = fields.Integer()
    churned = fields.Integer()
    closing = fields.Integer()
    churn_percent = fields.Float(allow_none=True)


class TrialRow(ReportRow):
    ended = fields.Integer()
    converted = fields.Integer()
    conversion_percent = fields.Float(allow_none=True)


class CohortRow(ReportRow):
    size = fields.Integer()
    staying = fields.List(
        fields.Integer(),
        metadata={"description": "Remaining subscribers at the end of each period, starting with the cohort's own."},
    )


class StoreSubscriberRow(ReportRow):
    """Subscriptions that an app store bills, in trials too. closing = opening + started - ended."""

    source = OneOf(*SOURCES)
    opening = fields.Integer()
    started = fields.Integer()
    ended = fields.Integer(metadata={"description": "One that its customer takes up again counts as not ended."})
    closing = fields.Integer()


class RetentionOut(Report):
    """`stores` counts what app stores bill; the other lists count what we bill."""

    subscribers = fields.List(fields.Nested(SubscriberRow))
    trials = fields.List(fields.Nested(TrialRow))
    cohorts = fields.List(fields.Nested(CohortRow))
    stores = fields.List(fields.Nested(StoreSubscriberRow))


class StoreRevenueRow(MoneyRow):
    """gross - refunded - commission = net."""

    source = OneOf(*SOURCES)
    plan = fields.String()
    payments = fields.Integer()
    refunds = fields.Integer()
    gross_minor = fields.Integer(metadata={"description": "What customers paid, taxes of the store included."})
    refunded_minor = fields.Integer()
    commission_minor = fields.Integer(metadata={"description": "By the percentages of the settings."})
    net_minor = fields.Integer()


class StoreRevenueOut(Report):
    stores = fields.List(fields.Nested(StoreRevenueRow))
