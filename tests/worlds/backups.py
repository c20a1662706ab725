"""Backups in tests: an app on a database of its own, the commands, and the app on what they have restored."""

import json
import os
import zipfile
from contextlib import contextmanager

import flask_migrate
from click.testing import CliRunner
from flask.cli import ScriptInfo

from streamsvc.app import create_app
from streamsvc.cli.group import group
from streamsvc.operations.backup.archive import DUMPS, MANIFEST
from streamsvc.worker.restore_hold import refresh_restore_hold
from tests import conftest
from tests.worlds.databases import return_connections
from tests.worlds.postgres import find_programs

os.environ["PATH"] = os.pathsep.join(filter(None, [str(find_programs() or ""), os.environ["PATH"]]))
"""With pg_dump and pg_restore of the version of the tests' server first."""
KEY = "a secret for the environment: without commas"
ENV = {
    "STREAMSVC_SANDBOX": "1",
    "STREAMSVC_SECRET_KEY": KEY,
    "STREAMSVC_SANDBOX_CLOCK": "2026-01-15T12:00:00Z",
    "DATABASE_URL": None,
}


def run(url, *arguments, **env):
    """Run a command with the settings of a database; returns click's result, with all output in `output`."""
    variables = {**ENV, "STREAMSVC_DATABASE_URL": url, **env}
    apps = []

    def create():
        apps.append(create_app())
        return apps[-1]

    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(group, words, env=variables, obj=ScriptInfo(create_app=create))
    return_connections()
    for app in apps:
        conftest.close_app(app)
    return result


def succeed(url, *arguments, **env):
    """Run a command that must succeed; returns its output."""
    result = run(url, *arguments, **env)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def fail(url, *arguments, **env):
    """Run a command that must fail with a message; returns it."""
    result = run(url, *arguments, **env)
    assert result.exit_code == 1, (result.output, result.exception)
    assert result.output.startswith("Error: ") or "\nError: " in result.output, (result.output, result.exception)
    return result.output


@contextmanager
def app_on(url, moment=conftest.NOON, **settings):
    """An app on this database, whose connections are closed at the end."""
    clock = conftest.Clock()
    clock.at = moment
    app = conftest.build_app(url, clock, secret_key=(KEY,), **settings)
    try:
        with app.app_context():
            refresh_restore_hold()
        yield app
    finally:
        conftest.close_app(app)


def migrate_to(url, revision):
    """Take a database back to an older revision."""
    with app_on(url) as app, app.app_context():
        flask_migrate.downgrade(revision=revision)


def rewrite(source, target, *, manifest=None, dump=None):
    """Copy a backup, with changes to its manifest or its dump: functions of a document and of bytes."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == MANIFEST and manifest:
                content = json.dumps(manifest(json.loads(content))).encode()
            if name in DUMPS.values() and dump:
                content = dump(content)
            new.writestr(name, content)


def read_manifest(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(MANIFEST))
