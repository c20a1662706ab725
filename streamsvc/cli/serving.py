"""The serve and worker commands."""

import errno
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from streamsvc.cli.clock import require_trusted_clock
from streamsvc.cli.supervisor import Program, Supervisor, report_ready
from streamsvc.http import metrics
from streamsvc.logs import configure_logging, make_formatter
from streamsvc.operations.maintenance.health import is_schema_current
from streamsvc.operations.maintenance.worker_loop import run_worker
from streamsvc.security.counter_keys import is_secret_key_foreign
from streamsvc.settings import PREFIX, Settings, SettingsError, current_settings
from streamsvc.storage.database import is_unavailable
from streamsvc.storage.outage_log import log_outage

BACKLOG = 2048
RETRY_INTERVAL_S = 1.0
LISTEN_ERRORS = {
    errno.EADDRINUSE: f"the port is taken; stop what listens there, or choose another, such as {PREFIX}PORT=8001",
    errno.EACCES: (
        f"this user may not open ports below 1024; choose another, such as {PREFIX}PORT=8000, and put a proxy in front"
    ),
    errno.EADDRNOTAVAIL: f"this machine has no such address; correct {PREFIX}HOST",
    socket.EAI_NONAME: f"there is no such host; correct {PREFIX}HOST",
}
FOREIGN_KEY = (
    "{path} is not the key with which this database was used: restore that key, or correct "
    f"{PREFIX}DATA_DIR; if it is lost, set {PREFIX}SECRET_KEY, and set up authenticators and webhook secrets again"
)
NOT_MIGRATED = "the database schema is out of date: run `streamsvc db upgrade` first"
log = logging.getLogger("streamsvc.worker")


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option("--workers", type=int, help="Web processes.")
@click.option("--server", help="What serves HTTP: gunicorn (the default) or granian.")
@click.option("--no-worker", is_flag=True, help="Serve requests only; run `streamsvc worker` separately.")
def serve(host: str | None, port: int | None, workers: int | None, server: str | None, no_worker: bool) -> None:
    """Serve the API, and run one worker.

    A process that dies is replaced. SIGTERM finishes current requests and jobs, then stops. SIGHUP starts new
    processes, and stops the old ones once the new ones are ready. Exits with 0 when it is stopped, and with 1 if a
    process ends three times in a row before it is ready, or right after.
    """
    for name, value in (("HOST", host), ("PORT", port), ("WORKERS", workers), ("SERVER", server)):
        if value is not None:
            os.environ[PREFIX + name] = str(value)
    settings = Settings.from_env()
    configure_logging(settings)
    _require_usable_database()
    listener = open_listener(settings.host, settings.port)
    if settings.metrics:
        _reset_metrics_folder(settings)
    programs = _web_programs(settings, listener)
    if not no_worker:
        programs["worker"] = Program([sys.executable, "-m", "streamsvc.cli", "worker"], ready_bytes=1)
    sys.exit(Supervisor(programs, make_formatter(settings.log_format)).run())


def _reset_metrics_folder(settings: Settings) -> None:
    folder = metrics.use_metrics_folder(settings)
    try:
        metrics.reset_metrics_folder(folder)
    except OSError as error:
        reason = f"{folder} cannot be written: {error.strerror}; choose a folder that this user may write to"
        raise SettingsError(f"{PREFIX}DATA_DIR: {reason}") from None


def _web_programs(settings: Settings, listener: socket.socket) -> dict[str, Program]:
    """Return gunicorn, which starts the web processes, or the web processes on Granian."""
    if settings.server == "granian":
        command = [sys.executable, "-m", "streamsvc.cli.granian_process", str(listener.fileno())]
        program = Program(command, ready_bytes=1, listener=listener)
        return {f"web {number}": program for number in range(1, settings.workers + 1)}
    command = [sys.executable, "-m", "gunicorn", "-c", "python:streamsvc.cli.gunicorn_conf"]
    command += ["--bind", f"fd://{listener.fileno()}", "streamsvc.app:create_app()"]
    return {"web": Program(command, ready_bytes=settings.workers, listener=listener)}


def open_listener(host: str, port: int) -> socket.socket:
    """Listen here, not in the web processes: connections wait while these are replaced. Raises ClickException."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = LISTEN_ERRORS.get(error.errno or 0, error.strerror)
        raise click.ClickException(f"cannot listen on {host}:{port}: {reason}") from None
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@with_appcontext
def _require_usable_database() -> None:
    _require_current_schema()
    if not Settings.read(os.environ)[0].secret_key and is_secret_key_foreign():
        raise click.ClickException(FOREIGN_KEY.format(path=Path(current_settings().data_dir).resolve() / "secret.key"))


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

    configure_logging(current_settings())
    gc_tuning.tune_gc()
    if once:
        _require_current_schema()
        require_trusted_clock()
        jobs.schedule_recurring()
        click.echo(f"{jobs.run_due_jobs(clock.now(), max_jobs=1_000_000)} jobs run")
        return
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    _await_current_schema(stop)
    run_worker(stop, report_ready)


def _await_current_schema(stop: threading.Event) -> None:
    """Wait for the database until it is available or `stop` is set. Raises ClickException if its schema is older."""
    while not stop.is_set():
        try:
            return _require_current_schema()
        except SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            log_outage(log, "start of the worker", error)
            stop.wait(RETRY_INTERVAL_S)
