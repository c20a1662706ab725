"""Faults in backups and in what a restore does."""

import sys

import sqlalchemy as sa

from bench.torture.plants.registry import plantable, replace


@plantable
def no_restore_hold():
    """Nothing holds charging after a restore."""
    from streamsvc.models import Restore

    replace(Restore, "select_open", classmethod(lambda cls: sa.select(sa.null())))


@plantable
def kept_service_epoch():
    """A restore leaves all sessions as they were."""
    from streamsvc.operations.backup import restoring

    replace(restoring, "_end_sessions", lambda count, taken_at, now: None)


@plantable
def forgetful_backup():
    """What a restore brings back lacks the watchlists and ratings."""
    from streamsvc.models import TitleRating, WatchlistItem
    from streamsvc.operations.backup import restoring
    from streamsvc.storage.database import db

    secure = restoring.secure_restored_database

    def secure_and_forget(taken_at, service_taken_at, tombstones, now):
        for model in (TitleRating, WatchlistItem):
            db.session.execute(sa.delete(model))
        return secure(taken_at, service_taken_at, tombstones, now)

    replace(restoring, "secure_restored_database", secure_and_forget)
    command = sys.modules.get("streamsvc.cli.restoring")  # while a command is imported, it may not have the name yet
    if hasattr(command, "secure_restored_database"):
        replace(command, "secure_restored_database", secure_and_forget)
