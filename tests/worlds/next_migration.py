"""A migration that comes after the newest one, in a folder of its own."""

import os

from alembic.config import Config
from alembic.script import ScriptDirectory

from streamsvc.app import MIGRATIONS

REVISIONS = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]
"""The service's own, oldest first."""
HEADER = """
import os, time
from pathlib import Path
import sqlalchemy as sa
from alembic import op
from streamsvc.storage.concurrent_indexes import create_index_concurrently

revision, down_revision = "{revision}", "{before}"

def upgrade():
"""


def write_migration(folder, body, revision="next", before=REVISIONS[-1]):
    """Write a migration with this indented body of `upgrade`."""
    (folder / f"{revision}.py").write_text(HEADER.format(revision=revision, before=before) + body)


def configuration_with(folder):
    """Alembic's configuration with the migrations in a folder besides the service's own."""
    configuration = Config(MIGRATIONS / "alembic.ini")
    configuration.set_main_option("script_location", str(MIGRATIONS))
    configuration.set_main_option("path_separator", "os")
    configuration.set_main_option("version_locations", os.pathsep.join([str(MIGRATIONS / "versions"), str(folder)]))
    return configuration
