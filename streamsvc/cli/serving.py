"""The serve, worker and config commands."""

import logging
import os
import signal
import sys
import threading

import click
from flask.cli import with_appcontext

from streamsvc.cli.supervisor import supervise
from streamsvc.operations.maintenance.health import is_schema_current
from streamsvc.operations.maintenance.worker_loop import run_worker
from streamsvc.settings import PREFIX, Settings, current_settings, describe_settings

NOT_MIGRATED = "the database schema is out of date: run `streamsvc db upgrade` first"


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option("--workers", type=int, help="Web processes.")
@click.option("--no-worker", is_flag=True, help="Serve requests only; run `streamsvc worker` separately.")
def serve(host: str | None, port: int | None, workers: int | None, no_worker: bool) -> None:
    """Serve the API with gunicorn, and run one worker.

    A process that dies is replaced. SIGTERM finishes current requests and jobs, then stops.
    """
    for name, value in (("HOST", host), ("PORT", port), ("WORKERS", workers)):
        if value is not None:
            os.environ[PREFIX + name] = str(value)
    _require_current_schema()
    commands = {
        "web": [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            "python:streamsvc.http.gunicorn_conf",
            "streamsvc.app:create_app()",
        ]
    }
    if not no_worker:
        commands["worker"] = [sys.executable, "-m", "streamsvc.cli", "worker"]
    sys.exit(supervise(commands))


@with_appcontext
def _require_current_schema() -> None:
    if not is_schema_current():
        raise click.ClickException(NOT_MIGRATED)


@click.command()
@click.option("--once", is_flag=True, help="Run the jobs that are due now, then exit; for cron.")
@with_appcontext
def worker(once: bool) -> None:
    """Run jobs as they become due: renewals, retries, mail."""
    from streamsvc import clock
    from streamsvc.worker import gc_tuning, jobs

    _configure_logging()
    gc_tuning.tune_gc()
    if once:
        jobs.schedule_recurring()
        click.echo(f"{jobs.run_due_jobs(clock.now(), max_jobs=1_000_000)} jobs run")
        return
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    run_worker(stop)


def _configure_logging() -> None:
    level = current_settings().log_level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")


@click.command()
def config() -> None:
    """Print all settings with their current values.

    Secrets are masked.
    """
    rows = describe_settings(Settings.from_env())
    width = max(len(name) for name, *_ in rows)
    for name, value, description in rows:
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {value}\n{' ' * width}  {description}")
