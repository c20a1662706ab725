"""The doctor command."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click
from flask import current_app
from flask.cli import ScriptInfo

from streamsvc.app import create_app
from streamsvc.cli.command_app import create_command_app
from streamsvc.operations.maintenance.doctor import backlog, books, environment, findings
from streamsvc.settings import Settings, SettingsError

CHECKS = backlog, books, environment
"""The modules that register checks."""
COLORS = {findings.OK: "green", findings.SKIPPED: "cyan", findings.WARNING: "yellow", findings.ERROR: "red"}


@click.command()
@click.option("--full/--quick", default=False, help="Also audit all books and the whole audit log. Default: --quick.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def doctor(context: click.Context, full: bool, as_json: bool) -> None:
    """Check the service: invariants, backlog, settings, versions, clocks, disk, connections.

    Changes nothing. Prints a line per check. Exits with 0 if all is well, 1 if there are warnings, 2 if there are
    errors: for cron and monitoring.
    """
    results = []
    for result in _run_checks(context, full):
        results.append(result)
        if not as_json:
            echo_result(result)
    exit_code = max(findings.EXIT_CODES[result.status] for result in results)
    if as_json:
        click.echo(json.dumps({"exit_code": exit_code, "checks": [asdict(result) for result in results]}, indent=1))
    sys.exit(exit_code)


def echo_result(result: findings.CheckResult) -> None:
    """Print a line for a check, and one for its advice."""
    click.echo(f"{click.style(result.status.ljust(8), COLORS[result.status])} {result.check}: {result.message}")
    if result.advice:
        click.echo(f"{' ' * 8} {result.advice}")


def _run_checks(context: click.Context, full: bool) -> Iterator[findings.CheckResult]:
    """Run the checks in the application; settings with which it cannot be created are an error themselves."""
    info = context.ensure_object(ScriptInfo)
    if not current_app and info.create_app is not create_command_app:
        context.with_resource(info.load_app().app_context())
    elif not current_app:
        try:
            settings = Settings.from_env(creates_secret=False)
        except SettingsError as error:
            yield findings.CheckResult(findings.ERROR, str(error), "Correct it; nothing else was checked.", "settings")
            return
        if missing := settings.find_missing_file():
            message, advice = f"{missing} does not exist or is empty", "Nothing else was checked."
            advice = f"Correct STREAMSVC_DATABASE_URL, or create it with `streamsvc db upgrade`. {advice}"
            yield findings.CheckResult(findings.ERROR, message, advice, "database")
            return
        context.with_resource(create_app(settings).app_context())
    yield from findings.run_checks(full)
