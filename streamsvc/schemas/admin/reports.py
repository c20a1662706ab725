"""What operators ask of reports, and what these tell."""

from marshmallow import ValidationError, fields, validates_schema

from streamsvc.schemas.admin.subscriptions import Percent
from streamsvc.schemas.base import Day, StrictSchema, Word

MOST_DAYS = 400
MOST_YEARS = 20


class ReportQuery(StrictSchema):
    """Days in UTC; without `from`, the last twelve months up to now."""

    start = Day(data_key="from", load_default=None, metadata={"description": "The first day."})
    end = Day(data_key="to", load_default=None, metadata={"description": "The first day after."})
    interval = Word("month", "day", load_default="month")
    format = Word("json", "csv", load_default="json")

    @validates_schema
    def it_is_a_stretch_of_time(self, data, **kwargs):
        start, end = data.get("start"), data.get("end")
        if start and end:
            if start >= end:
                raise ValidationError("It lies after `from`.", "to")
            if (end - start).days > (MOST_DAYS if data.get("interval") == "day" else MOST_YEARS * 366):
                raise ValidationError(f"At most {MOST_DAYS} days, or {MOST_YEARS} years by the month.", "to")


class Row(StrictSchema):
    period = fields.String(metadata={"description": "YYYY-MM, or YYYY-MM-DD by the day."})


class MoneyRow(Row):
    currency = fields.String()


class Mrr(MoneyRow):
    """closing = opening + new + expansion + contraction + churn + reactivation; what is lost is negative."""

    opening_minor = fields.Integer()
    new_minor = fields.Integer()
    expansion_minor = fields.Integer()
    contraction_minor = fields.Integer()
    churn_minor = fields.Integer()
    reactivation_minor = fields.Integer()
    closing_minor = fields.Integer()


class Revenue(MoneyRow):
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


class PlanRevenue(MoneyRow):
    plan = fields.String(allow_none=True)
    revenue_minor = fields.Integer()


class CountryRevenue(MoneyRow):
    country = fields.String()
    revenue_minor = fields.Integer()


class Tax(CountryRevenue):
    tax_name = fields.String(allow_none=True)
    percent = Percent(attribute="tax_ppm")
    tax_minor = fields.Integer()


class Report(StrictSchema):
    start = Day(data_key="from")
    end = Day(data_key="to")
    interval = fields.String()


class RevenueOut(Report):
    mrr = fields.List(fields.Nested(Mrr))
    revenue = fields.List(fields.Nested(Revenue))
    by_plan = fields.List(fields.Nested(PlanRevenue))
    by_country = fields.List(fields.Nested(CountryRevenue))
    taxes = fields.List(fields.Nested(Tax))


class Subscribers(Row):
    """Whoever pays, and whoever pauses. closing = opening + new + reactivated - churned."""

    opening = fields.Integer()
    new = fields.Integer()
    reactivated = fields.Integer()
    churned_voluntary = fields.Integer()
    churned_involuntary = fields.Integer()
    churned = fields.Integer()
    closing = fields.Integer()
    churn_percent = fields.Float(allow_none=True)


class Trials(Row):
    ended = fields.Integer()
    converted = fields.Integer()
    conversion_percent = fields.Float(allow_none=True)


class Cohort(Row):
    size = fields.Integer()
    staying = fields.List(fields.Integer(), metadata={"description": "As each period ended, its own first."})


class RetentionOut(Report):
    subscribers = fields.List(fields.Nested(Subscribers))
    trials = fields.List(fields.Nested(Trials))
    cohorts = fields.List(fields.Nested(Cohort))
