"""Revenue and retention reports, as JSON or CSV."""

import csv
import io
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial

from flask import Response
from marshmallow import Schema
from marshmallow.fields import Nested

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.operations.billing.reporting.retention import retention_report
from streamsvc.operations.billing.reporting.revenue import revenue_report
from streamsvc.operations.billing.reporting.stores import store_revenue_report
from streamsvc.rules.billing.inputs import ReportInput
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.schemas.admin.reports import ReportQuery, RetentionOut, RevenueOut, StoreRevenueOut
from streamsvc.security.access import operator_only
from streamsvc.settings import current_settings
from streamsvc.storage.replica import read_latest

bp = Blueprint("admin reports", __name__, url_prefix="/v1/admin/reports", description="Revenue and retention reports.")


def describe_csv(report: Schema) -> str:
    """Describe the columns of a report's CSV file."""
    lists = {name: getattr(field, "inner", None) for name, field in report.fields.items()}
    tables = {name: inner.schema for name, inner in lists.items() if isinstance(inner, Nested)}
    columns = dict.fromkeys(column for table in tables.values() for column in table.fields)
    return (
        f"With `format=csv`: one table with the columns `table` ({', '.join(f'`{name}`' for name in tables)}), "
        f"{', '.join(f'`{name}`' for name in columns)}. Columns that a table does not have, or that no row has, are "
        "empty or left out."
    )


@bp.route("/revenue")
@bp.arguments(ReportQuery, location="query")
@operator_only("billing")
@bp.response(200, RevenueOut)
@bp.alt_response(200, schema={"type": "string"}, content_type="text/csv", description=describe_csv(RevenueOut()))
def get_revenue_report(query: ReportInput) -> Response | dict:
    """Retrieve the revenue report.

    MRR and its movements; amounts invoiced and collected, from the ledger; revenue by plan, country and tax.
    `format=csv` returns a table.
    """
    return report_response(revenue_report, query, RevenueOut())


@bp.route("/retention")
@bp.arguments(ReportQuery, location="query")
@operator_only("billing")
@bp.response(200, RetentionOut)
@bp.alt_response(200, schema={"type": "string"}, content_type="text/csv", description=describe_csv(RetentionOut()))
def get_retention_report(query: ReportInput) -> Response | dict:
    """Retrieve the retention report.

    New subscribers, voluntary and involuntary churn, trial conversion, and how long cohorts stay; `stores` counts the
    subscriptions that app stores bill. `format=csv` returns a table.
    """
    return report_response(retention_report, query, RetentionOut())


@bp.route("/store-revenue")
@bp.arguments(ReportQuery, location="query")
@operator_only("billing")
@bp.response(200, StoreRevenueOut)
@bp.alt_response(200, schema={"type": "string"}, content_type="text/csv", description=describe_csv(StoreRevenueOut()))
def get_store_revenue_report(query: ReportInput) -> Response | dict:
    """Retrieve the report of app stores.

    What customers paid to each store, what was refunded, the commission by the settings' percentages, and the rest. It
    is in none of our books, nor in the revenue report. `format=csv` returns a table.
    """
    return report_response(
        lambda start, end, interval: store_revenue_report(start, end, interval, current_settings()),
        query,
        StoreRevenueOut(),
    )


def report_response(
    compute_report: Callable[[date, date, str], dict], query: ReportInput, schema: Schema
) -> Response | dict:
    """Compute the report of the queried period and return it as JSON or CSV."""
    start, end = report_period(query)
    report = {
        "start": start,
        "end": end,
        "interval": query["interval"],
        **read_latest(partial(compute_report, start, end, query["interval"])),
    }
    return report if query["format"] == "json" else csv_response(schema.dump(report))


def report_period(query: ReportInput) -> tuple[date, date]:
    """Return the days [start, end) of the query; default: the last twelve months including today. Raises Invalid."""
    end = query["end"] or clock.now().date() + timedelta(days=1)
    last = end - timedelta(days=1)
    start = query["start"] or last.replace(year=last.year - (last.month < 12), month=last.month % 12 + 1, day=1)
    if start >= end:
        raise Invalid(errors={"from": ["Must be before `to`."]})
    return start, end


def csv_response(report: dict) -> Response:
    """Return all tables of the report as one CSV file with a common header; the first column names the table."""
    tables = {name: rows for name, rows in report.items() if isinstance(rows, list)}
    columns = list(dict.fromkeys(name for rows in tables.values() for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, ["table", *columns])
    writer.writeheader()
    for name, rows in tables.items():
        writer.writerows({"table": name, **{column: csv_cell(value) for column, value in row.items()}} for row in rows)
    return Response(text.getvalue(), content_type="text/csv; charset=utf-8")


def csv_cell(value: object) -> object:
    """Return a list as its items separated by spaces, and escape text that a spreadsheet would run as a formula."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
