"""imports: imported files of titles, their progress and their rejected lines."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, UtcTime, new_id


class Import(Base):
    __tablename__ = "imports"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("imp"))
    status: Mapped[str]
    """queued, running, done or failed."""
    format: Mapped[str]
    format_guessed: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether the format was guessed from the file's content."""
    options: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, server_default="{}")
    """How the file is read: {"columns": {…}, "encoding": …, "media_base_url": …}."""
    dry_run: Mapped[bool]
    remove_missing: Mapped[bool]
    """Titles missing from the file are removed from the catalogue."""
    most_removals_percent: Mapped[int]
    lines_done: Mapped[int] = mapped_column(default=0)
    """Where an interrupted import resumes."""
    added: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    unchanged: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[int] = mapped_column(default=0)
    removed: Mapped[int] = mapped_column(default=0)
    shared_media_folders: Mapped[int] = mapped_column(default=0, server_default="0")
    """Manifests that lie in a folder with another item's: playback tokens open less there."""
    warnings: Mapped[list[dict]] = mapped_column(Json, default=list, server_default="[]")
    """What was guessed or left out, counted by field and code: [{"line": …, "file": …, "field": …, …, "count": …}]."""
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)


class ImportChunk(Base):
    """A chunk of the file, kept until the import is done."""

    __tablename__ = "import_chunks"

    import_id: Mapped[str] = mapped_column(sa.ForeignKey("imports.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[bytes]


class ImportRejection(Base):
    __tablename__ = "import_rejections"

    import_id: Mapped[str] = mapped_column(sa.ForeignKey("imports.id"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Distinguishes the errors of one line."""
    file: Mapped[str | None]
    """The path of the entry's file inside an archive."""
    external_id: Mapped[str | None]
    field: Mapped[str]
    code: Mapped[str]
    reason: Mapped[str]


class ImportedTitle(Base):
    """A title named by the file of a running import with `remove_missing`, which removes all others."""

    __tablename__ = "imported_titles"

    import_id: Mapped[str] = mapped_column(sa.ForeignKey("imports.id"), primary_key=True)
    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
